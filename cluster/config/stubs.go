package config

import (
	"fmt"
	"net/netip"
	"strings"
)

// stubs reads the stub zones: ZONE=ADDR[,ADDR...], each address with or without a port.
func stubs(texts []string, domain string) (map[string][]netip.AddrPort, []error) {
	var errs []error
	zones := map[string][]netip.AddrPort{}
	for _, text := range texts {
		zone, list, _ := strings.Cut(text, "=")
		zone = strings.TrimSuffix(zone, ".")
		bad := func(why string) {
			errs = append(errs, fmt.Errorf("dns-stub %q: %s; must be ZONE=ADDR[,ADDR...], such as corp.example=192.0.2.53", text, why))
		}
		switch {
		case !domainForm.MatchString(zone) || len(zone) > 200:
			bad(fmt.Sprintf("%q is not a lower-case DNS name", zone))
			continue
		case zone == domain || strings.HasSuffix(zone, "."+domain):
			bad("the cluster's own zone cannot be given away")
			continue
		}
		for _, at := range strings.Split(list, ",") {
			server, err := netip.ParseAddrPort(at)
			if err != nil {
				ip, ipErr := netip.ParseAddr(at)
				server, err = netip.AddrPortFrom(ip, 53), ipErr
			}
			if err != nil || server.Port() == 0 || server.Addr().IsUnspecified() {
				bad(fmt.Sprintf("%q is not the address of a server", at))
				continue
			}
			zones[zone] = append(zones[zone], server)
		}
	}
	return zones, errs
}

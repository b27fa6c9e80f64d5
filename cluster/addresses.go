package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/network/nft"
)

// hostAddrs are this host's addresses as a node, at most one of each family: those given, and those of the default
// routes for the families that none was given of.
func hostAddrs(given []netip.Addr) []netip.Addr {
	addrs := slices.Clone(given)
	for _, outside := range []string{"192.0.2.1", "2001:db8::1"} { // nothing is sent there
		to := netip.MustParseAddr(outside)
		if slices.ContainsFunc(given, func(a netip.Addr) bool { return a.Is4() == to.Is4() }) {
			continue
		}
		routes, _ := netlink.RouteGet(to.AsSlice()) // no route: no address
		for _, r := range routes {
			if addr, ok := netip.AddrFromSlice(r.Src); ok && !addr.Unmap().IsLoopback() && !addr.IsLinkLocalUnicast() {
				addrs = append(addrs, addr.Unmap())
				break
			}
		}
	}
	return addrs
}

// nodeAddrs picks one address for each family of the cluster, in the cluster's order, the primary first.
func nodeAddrs(have []netip.Addr, services []netip.Prefix) ([]netip.Addr, error) {
	picked := make([]netip.Addr, len(services))
	for i, r := range services {
		at := slices.IndexFunc(have, func(a netip.Addr) bool { return a.Is4() == r.Addr().Is4() })
		if at < 0 {
			family, example := "IPv4", "192.0.2.1"
			if r.Addr().Is6() {
				family, example = "IPv6", "2001:db8::1"
			}
			return nil, fmt.Errorf("the cluster uses %s (Services have %s), and this host has no default route to take its %s address from; give the address with --node-ip, such as %s", family, r, family, example)
		}
		picked[i] = have[at]
	}
	return picked, nil
}

// everywhere is where the API server listens on this host: at all addresses, of every family in use.
func everywhere(s config.Settings) netip.AddrPort {
	if hasIPv6(s.Services) {
		return netip.AddrPortFrom(netip.IPv6Unspecified(), uint16(s.Port))
	}
	return netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(s.Port))
}

func hasIPv6(ranges []netip.Prefix) bool {
	return slices.ContainsFunc(ranges, func(p netip.Prefix) bool { return p.Addr().Is6() })
}

// reachAPI frees the way to an API server from rules that an earlier run left here, and returns its addresses. A name that
// cannot be resolved now has none.
func reachAPI(ctx context.Context, server string) ([]netip.AddrPort, error) {
	u, err := url.Parse(server)
	if err != nil {
		return nil, fmt.Errorf("API server %q: %w", server, err)
	}
	port, err := strconv.ParseUint(cmp.Or(u.Port(), "443"), 10, 16)
	if err != nil {
		return nil, fmt.Errorf("API server %q: port: %w", server, err)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	found, _ := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	all := make([]netip.AddrPort, len(found))
	for i, a := range found {
		all[i] = netip.AddrPortFrom(a.Unmap(), uint16(port))
	}
	return all, nft.Release(all)
}

// setSysctls makes the network namespace of this process one that forwards the families of the cluster, and does not tell the
// neighbours of a node with these addresses about the L7 engine's.
func setSysctls(services []netip.Prefix, addrs []netip.Addr, set func(key, value string) error) error {
	var settings [][2]string
	if !hasIPv6(services) || len(services) == 2 {
		quiet, err := quietLinks(addrs)
		if err != nil {
			return fmt.Errorf("links of %v: %w", addrs, err)
		}
		settings = append(settings, [2]string{"net/ipv4/ip_forward", "1"})
		for _, link := range quiet {
			settings = append(settings, [2]string{"net/ipv4/conf/" + link + "/arp_ignore", "3"})
		}
	}
	if hasIPv6(services) {
		advertised, err := advertisedLinks()
		if err != nil {
			return fmt.Errorf("IPv6 routes: %w", err)
		}
		for _, link := range advertised {
			settings = append(settings, [2]string{"net/ipv6/conf/" + link + "/accept_ra", "2"})
		}
		// A pod's gateway is an address of the pod's own link, where nobody else could have it.
		settings = append(settings, [2]string{"net/ipv6/conf/default/accept_dad", "0"}, [2]string{"net/ipv6/conf/all/forwarding", "1"})
	}
	for _, s := range settings {
		if err := set(s[0], s[1]); err != nil {
			return fmt.Errorf("sysctl %s: %w", s[0], err)
		}
	}
	return nil
}

// quietLinks are the links of a node's addresses on which the kernel would answer ARP for every address that the node has, also those
// of scope host, which are nobody else's business (arp_ignore 0; with 3 it answers for all but these). Where somebody has
// chosen another value that one is stricter.
func quietLinks(addrs []netip.Addr) ([]string, error) {
	all, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, a := range all {
		ip, _ := netip.AddrFromSlice(a.IP)
		if !slices.Contains(addrs, ip.Unmap()) {
			continue
		}
		link, err := netlink.LinkByIndex(a.LinkIndex)
		if err != nil {
			return nil, err
		}
		now, err := os.ReadFile(filepath.Join("/proc/sys/net/ipv4/conf", link.Attrs().Name, "arp_ignore"))
		if err != nil {
			return nil, err
		}
		if text := strings.TrimSpace(string(now)); text == "0" || text == "3" {
			names = append(names, link.Attrs().Name)
		}
	}
	return names, nil
}

// advertisedLinks are the links whose routers the kernel has learned by advertisement. A host that forwards would forget
// them, and with them its way out, unless told to listen all the same (accept_ra 2).
func advertisedLinks() ([]string, error) {
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V6, &netlink.Route{Protocol: unix.RTPROT_RA}, netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return nil, err
	}
	var names []string
	var errs []error
	for _, r := range routes {
		link, err := netlink.LinkByIndex(r.LinkIndex)
		if err != nil {
			errs = append(errs, err)
		} else if name := link.Attrs().Name; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names, errors.Join(errs...)
}

// joinAddrs is a list of addresses as flags have it.
func joinAddrs(addrs []netip.Addr) string {
	texts := make([]string, len(addrs))
	for i, a := range addrs {
		texts[i] = a.String()
	}
	return strings.Join(texts, ",")
}

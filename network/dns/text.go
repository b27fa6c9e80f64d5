package dns

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
)

// Text is what the server's table has under a name, for people: a line for each record as in a zone file, and in a comment what
// has no records, does not exist, or is not for this table to say. It ends in a line feed.
func (s *Server) Text(domain string) string {
	n, ok := parseName(domain)
	if z := s.zone.Load(); ok && z != nil {
		return z.text(n)
	}
	return fmt.Sprintf("; %s: no name, or no table yet\n", domain)
}

func (z *Zone) text(n name) string {
	if ip, ok := reversed([]byte(n)); ok {
		return z.pointers(n, ip)
	}
	if !z.holds(n) {
		return fmt.Sprintf("; %s is not in %s\n", n, z.domain)
	}
	at := z.find(n)
	if at == nil {
		at = z.located(n)
	}
	switch {
	case at == nil && !z.synced:
		return fmt.Sprintf("; %s: not known yet\n", n)
	case at == nil:
		return fmt.Sprintf("; %s does not exist\n", n)
	case len(at.sets) == 0:
		return fmt.Sprintf("; %s exists and has no records\n", n)
	}
	var b strings.Builder
	for _, set := range at.sets {
		wire := set.wire[:set.split]
		for range set.count {
			typ, ttl := binary.BigEndian.Uint16(wire[2:]), binary.BigEndian.Uint32(wire[6:])
			end := rrFixed + int(binary.BigEndian.Uint16(wire[10:]))
			fmt.Fprintf(&b, "%s %d IN %s\n", n, ttl, dataText(typ, wire[rrFixed:end]))
			wire = wire[end:]
		}
	}
	return b.String()
}

// pointers are the names of what has an address.
func (z *Zone) pointers(n name, ip netip.Addr) string {
	all, _ := z.addrs.get(hashAddr(ip), ip)
	if len(all) == 0 {
		return fmt.Sprintf("; %s: %s is nobody's\n", n, ip)
	}
	var b strings.Builder
	for _, to := range all {
		host := to.service
		if to.label != "" {
			host, _ = host.child(to.label)
		}
		fmt.Fprintf(&b, "%s %d IN PTR %s\n", n, ttl, host)
	}
	return b.String()
}

// dataText is a record's type and data.
func dataText(typ uint16, data []byte) string {
	switch typ {
	case typeA, typeAAAA:
		ip, _ := netip.AddrFromSlice(data)
		return map[bool]string{true: "A ", false: "AAAA "}[ip.Is4()] + ip.String()
	case typeCNAME:
		return "CNAME " + name(data).String()
	case typeNS:
		return "NS " + name(data).String()
	case typeSRV:
		u := binary.BigEndian.Uint16
		return fmt.Sprintf("SRV %d %d %d %s", u(data), u(data[2:]), u(data[4:]), name(data[6:]))
	case typeTXT:
		return fmt.Sprintf("TXT %q", data[1:1+data[0]])
	}
	return fmt.Sprintf("TYPE%d \\# %d %x", typ, len(data), data) // RFC 3597
}

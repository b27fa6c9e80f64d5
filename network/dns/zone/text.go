package zone

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
)

// Text is what is under a name, a line for each record as in a zone file, and in a comment what has no records, does not exist, or
// is not for this zone to say.
func (z *Zone) Text(n Name) string {
	if ip, ok := reversed([]byte(n)); ok {
		return z.pointers(n, ip)
	}
	if !z.Holds(n) {
		return fmt.Sprintf("; %s is not in %s\n", n, z.Domain)
	}
	at := z.Find(n)
	if at == nil {
		at = z.Located(n)
	}
	switch {
	case at == nil && !z.synced:
		return fmt.Sprintf("; %s: not known yet\n", n)
	case at == nil:
		return fmt.Sprintf("; %s does not exist\n", n)
	case len(at.Sets) == 0:
		return fmt.Sprintf("; %s exists and has no records\n", n)
	}
	var b strings.Builder
	for _, set := range at.Sets {
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
func (z *Zone) pointers(n Name, ip netip.Addr) string {
	all, _ := z.addrs.get(hashAddr(ip), ip)
	if len(all) == 0 {
		return fmt.Sprintf("; %s: %s is nobody's\n", n, ip)
	}
	var b strings.Builder
	for _, to := range all {
		host := to.service
		if to.label != "" {
			host, _ = host.Child(to.label)
		}
		fmt.Fprintf(&b, "%s %d IN PTR %s\n", n, TTL, host)
	}
	return b.String()
}

// dataText is a record's type and data.
func dataText(typ uint16, data []byte) string {
	switch typ {
	case TypeA, TypeAAAA:
		ip, _ := netip.AddrFromSlice(data)
		return map[bool]string{true: "A ", false: "AAAA "}[ip.Is4()] + ip.String()
	case TypeCNAME:
		return "CNAME " + Name(data).String()
	case TypeNS:
		return "NS " + Name(data).String()
	case TypeSRV:
		u := binary.BigEndian.Uint16
		return fmt.Sprintf("SRV %d %d %d %s", u(data), u(data[2:]), u(data[4:]), Name(data[6:]))
	case TypeTXT:
		return fmt.Sprintf("TXT %q", data[1:1+data[0]])
	}
	return fmt.Sprintf("TYPE%d \\# %d %x", typ, len(data), data) // RFC 3597
}

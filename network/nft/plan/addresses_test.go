package plan

import (
	"fmt"
	"net/netip"
)

// The addresses of the tests: node n1 with its pods, its neighbour n2, and the world outside.
var (
	nodeIP    = netip.MustParseAddr("192.0.2.1")
	podA      = netip.MustParseAddr("10.244.1.2")
	podB      = netip.MustParseAddr("10.244.1.3")
	podFar    = netip.MustParseAddr("10.244.2.2")
	podFar2   = netip.MustParseAddr("10.244.2.3")
	outsideIP = netip.MustParseAddr("198.51.100.2")
	outerIP   = netip.MustParseAddr("198.51.100.1")
)

// six is the IPv6 counterpart of a test's IPv4 address: the same digits in the
// same places, so that 10.244.1.2 becomes fd00:10:244:1::2.
func six(a netip.Addr) netip.Addr {
	b := a.As4()
	return netip.MustParseAddr(fmt.Sprintf("fd00:%d:%d:%d::%d", b[0], b[1], b[2], b[3]))
}

func sixPrefix(p netip.Prefix) netip.Prefix {
	bits := 96 + p.Bits()
	if p.Bits() <= 24 {
		bits = 16 + (p.Bits()+7)/8*16
	}
	return netip.PrefixFrom(six(p.Addr()), bits).Masked()
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func at(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// spanText is how a test writes a range of a frontend's clients.
func spanText(frontend, clients string) string {
	p := prefix(clients)
	last := p.Addr().AsSlice()
	for i := range last {
		for bit := range 8 {
			if i*8+bit >= p.Bits() {
				last[i] |= 128 >> bit
			}
		}
	}
	to, _ := netip.AddrFromSlice(last)
	return fmt.Sprintf("%s %s-%s %s", frontend, p.Addr(), frontend, to)
}

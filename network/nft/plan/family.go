package plan

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// Family is an IP version: everything in which the table of family ip and the
// table of family ip6 differ. All other code is the same for both.
type Family struct {
	V6       bool   // IPv6 rather than IPv4
	Protocol uint8  // as netfilter and sockets number it
	addrLen  uint32 // bytes of an address
	source   uint32 // offset of the source address in the header
	dest     uint32
	addrType uint32 // as the nft command numbers it
	// unreachable is the ICMP code that says that nobody listens on the port.
	unreachable byte
	shapes      [MapCount]mapShape
}

// NewFamily returns the IP version.
func NewFamily(v6 bool) *Family {
	f := &Family{Protocol: unix.NFPROTO_IPV4, addrLen: 4, source: 12, dest: 16, addrType: 7, unreachable: 3}
	if v6 {
		f = &Family{V6: true, Protocol: unix.NFPROTO_IPV6, addrLen: 16, source: 8, dest: 24, addrType: 8, unreachable: 4}
	}
	f.shapes = f.makeShapes()
	return f
}

// Has reports whether an address is of this family.
func (f *Family) Has(a netip.Addr) bool { return a.IsValid() && a.Is6() == f.V6 }

// String is the family as the nft command spells it.
func (f *Family) String() string {
	if f.V6 {
		return "ip6"
	}
	return "ip"
}

// Prefix returns the first prefix of the family, the zero prefix if there is
// none.
func (f *Family) Prefix(all []netip.Prefix) netip.Prefix {
	for _, p := range all {
		if f.Has(p.Addr()) {
			return p.Masked()
		}
	}
	return netip.Prefix{}
}

// Addr returns the first address of the family, the zero address if there is
// none.
func (f *Family) Addr(all []netip.Addr) netip.Addr {
	for _, a := range all {
		if f.Has(a) {
			return a
		}
	}
	return netip.Addr{}
}

// bytes are an address as the kernel has it. Keys hold the addresses of both
// families as sixteen bytes, of which an IPv4 address is the last four.
func (f *Family) bytes(addr *[16]byte) []byte { return addr[16-f.addrLen:] }

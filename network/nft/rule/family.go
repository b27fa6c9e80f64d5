package rule

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// Family is an IP version: everything in which a table of family ip and one of
// family ip6 differ. All other code is the same for both.
type Family struct {
	V6       bool   // IPv6 rather than IPv4
	Protocol uint8  // as netfilter and sockets number it
	AddrLen  uint32 // bytes of an address
	Source   uint32 // offset of the source address in the header
	Dest     uint32
	AddrType uint32 // as the nft command numbers it
	// The ICMP codes that say that nobody listens on the port, and that a firewall refuses the packet.
	unreachable, prohibited byte
}

// NewFamily returns the IP version.
func NewFamily(v6 bool) *Family {
	f := &Family{Protocol: unix.NFPROTO_IPV4, AddrLen: 4, Source: 12, Dest: 16, AddrType: 7, unreachable: 3, prohibited: 13}
	if v6 {
		f = &Family{V6: true, Protocol: unix.NFPROTO_IPV6, AddrLen: 16, Source: 8, Dest: 24, AddrType: 8, unreachable: 4, prohibited: 1}
	}
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

// Bytes are an address as the kernel has it. Keys hold the addresses of both
// families as sixteen bytes, of which an IPv4 address is the last four.
func (f *Family) Bytes(addr *[16]byte) []byte { return addr[16-f.AddrLen:] }

// AddrTypeName is the type of an address, as nft calls it.
func (f *Family) AddrTypeName() string {
	if f.V6 {
		return "ipv6_addr"
	}
	return "ipv4_addr"
}

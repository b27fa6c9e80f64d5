package nft

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// family is an IP version: everything in which the table of family ip and the
// table of family ip6 differ. All other code is the same for both.
type family struct {
	v6       bool
	protocol uint8  // as netfilter and sockets number it
	addrLen  uint32 // bytes of an address
	source   uint32 // offset of the source address in the header
	dest     uint32
	addrType uint32 // as the nft command numbers it
	// unreachable is the ICMP code that says that nobody listens on the port.
	unreachable byte
	// What ctnetlink calls the addresses of a tuple.
	ctSource, ctDest uint16
	shapes           [mapCount]mapShape
}

func newFamily(v6 bool) *family {
	f := &family{protocol: unix.NFPROTO_IPV4, addrLen: 4, source: 12, dest: 16, addrType: 7, unreachable: 3, ctSource: 1, ctDest: 2}
	if v6 {
		f = &family{v6: true, protocol: unix.NFPROTO_IPV6, addrLen: 16, source: 8, dest: 24, addrType: 8, unreachable: 4, ctSource: 3, ctDest: 4}
	}
	f.shapes = f.makeShapes()
	return f
}

// familiesOf returns a family for each IP version that is configured, in that
// order.
func familiesOf(cfg Config) []*family {
	addrs := cfg.NodeIPs
	if len(cfg.ServiceCIDRs) > 0 {
		addrs = nil
		for _, p := range cfg.ServiceCIDRs {
			addrs = append(addrs, p.Addr())
		}
	}
	var all []*family
	for _, a := range addrs {
		known := slices.ContainsFunc(all, func(f *family) bool { return f.has(a) })
		if a.IsValid() && !known {
			all = append(all, newFamily(a.Is6()))
		}
	}
	return all
}

// has reports whether an address is of this family.
func (f *family) has(a netip.Addr) bool { return a.IsValid() && a.Is6() == f.v6 }

// String is the family as the nft command spells it.
func (f *family) String() string {
	if f.v6 {
		return "ip6"
	}
	return "ip"
}

// prefix returns the first prefix of the family, the zero prefix if there is
// none.
func (f *family) prefix(all []netip.Prefix) netip.Prefix {
	for _, p := range all {
		if f.has(p.Addr()) {
			return p.Masked()
		}
	}
	return netip.Prefix{}
}

// addr returns the first address of the family, the zero address if there is
// none.
func (f *family) addr(all []netip.Addr) netip.Addr {
	for _, a := range all {
		if f.has(a) {
			return a
		}
	}
	return netip.Addr{}
}

// bytes are an address as the kernel has it. Keys hold the addresses of both
// families as sixteen bytes, of which an IPv4 address is the last four.
func (f *family) bytes(addr *[16]byte) []byte { return addr[16-f.addrLen:] }

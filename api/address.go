package api

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	netutils "k8s.io/utils/net"
)

// ParseAddr reads an address as Kubernetes always has: leading zeros in an IPv4 octet are decimal, and an IPv4 address mapped
// into IPv6 is an IPv4 address. An address with a zone means something else on every host, and is none.
func ParseAddr(text string) (netip.Addr, bool) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return addr.Unmap(), addr.Zone() == ""
	}
	addr, ok := netip.AddrFromSlice(netutils.ParseIPSloppy(text))
	return addr.Unmap(), ok
}

// ParsePrefix reads a range of addresses as Kubernetes always has: leading zeros in an IPv4 octet are decimal, and bits behind the
// prefix do not count.
func ParsePrefix(text string) (netip.Prefix, bool) {
	p, err := netip.ParsePrefix(text)
	if err != nil {
		_, sloppy, err := netutils.ParseCIDRSloppy(text)
		if err != nil {
			return netip.Prefix{}, false
		}
		addr, _ := netip.AddrFromSlice(sloppy.IP)
		bits, _ := sloppy.Mask.Size()
		p = netip.PrefixFrom(addr, bits)
	}
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked(), true
}

// LastAddr is the last address of a range.
func LastAddr(p netip.Prefix) netip.Addr {
	bytes := p.Addr().AsSlice()
	for i := p.Bits(); i < len(bytes)*8; i++ {
		bytes[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(bytes)
	return last
}

// Canonical is the canonical text of an address: text itself, which nearly always is.
func Canonical(addr netip.Addr, text string) string {
	var buffer [64]byte
	if written := addr.AppendTo(buffer[:0]); string(written) != text {
		return string(written)
	}
	return text
}

// Family is the family of an address.
func Family(addr netip.Addr) corev1.IPFamily {
	if addr.Unmap().Is4() {
		return corev1.IPv4Protocol
	}
	return corev1.IPv6Protocol
}

// AddressType is what slices call a family.
func AddressType(family corev1.IPFamily) discoveryv1.AddressType {
	return discoveryv1.AddressType(family)
}

// NoHost reports whether the API refuses an address in Endpoints and slices, because it means no host, or the one that asks.
func NoHost(addr netip.Addr) bool {
	return addr.IsUnspecified() || addr.IsLoopback() || addr.IsLinkLocalUnicast() || addr.IsLinkLocalMulticast()
}

// Reachable reports whether a pod can be at an address.
func Reachable(addr netip.Addr) bool {
	return !NoHost(addr) && !addr.IsMulticast() && addr != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

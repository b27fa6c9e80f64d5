package lifecycle

import (
	"math"
	"math/big"
	"net/netip"
	"slices"
)

// NodeBits is the prefix length of one node's range inside cluster: /24 for IPv4,
// /64 for IPv6 (the defaults upstream), or all of a cluster range that is smaller.
func NodeBits(cluster netip.Prefix) int {
	bits := 24
	if cluster.Addr().Is6() {
		bits = 64
	}
	return max(bits, cluster.Bits())
}

// FreeCIDR is the first range of a node's size inside cluster that overlaps none
// of taken.
func FreeCIDR(cluster netip.Prefix, taken []netip.Prefix) (netip.Prefix, bool) {
	bits := NodeBits(cluster)
	candidate := netip.PrefixFrom(cluster.Masked().Addr(), bits)
	for cluster.Overlaps(candidate) {
		clash := false
		for _, t := range taken {
			clash = clash || t.Overlaps(candidate)
		}
		if !clash {
			return candidate, true
		}
		next, ok := after(candidate)
		if !ok {
			break
		}
		candidate = next
	}
	return netip.Prefix{}, false
}

// AllocateCIDRs is what a node has, completed with a free range of each family of
// the cluster that it lacks. With nothing to add it is what it has. If a range of
// the cluster is used up, that one is returned as exhausted.
func AllocateCIDRs(cluster, have, taken []netip.Prefix) (all []netip.Prefix, exhausted netip.Prefix) {
	all = slices.Clone(have)
	for _, c := range cluster {
		if slices.ContainsFunc(have, func(p netip.Prefix) bool { return p.Addr().Is4() == c.Addr().Is4() }) {
			continue
		}
		free, ok := FreeCIDR(c, taken)
		if !ok {
			return have, c
		}
		all = append(all, free)
	}
	return all, netip.Prefix{}
}

// CIDRCount is how many CIDRs of a node's size a range has.
func CIDRCount(cluster netip.Prefix) float64 {
	return math.Exp2(float64(NodeBits(cluster) - cluster.Bits()))
}

// after is the range of the same size that follows p, if there is one.
func after(p netip.Prefix) (netip.Prefix, bool) {
	n := new(big.Int).SetBytes(p.Addr().AsSlice())
	n.Add(n, new(big.Int).Lsh(big.NewInt(1), uint(p.Addr().BitLen()-p.Bits())))
	if n.BitLen() > p.Addr().BitLen() {
		return netip.Prefix{}, false
	}
	addr, ok := netip.AddrFromSlice(n.FillBytes(make([]byte, p.Addr().BitLen()/8)))
	return netip.PrefixFrom(addr, p.Bits()), ok
}

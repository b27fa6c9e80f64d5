package nodes

import (
	"math/big"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// nodeBits is the prefix length of one node's range inside cluster: /24 for IPv4,
// /64 for IPv6 (the defaults upstream), or all of a cluster range that is smaller.
func nodeBits(cluster netip.Prefix) int {
	bits := 24
	if cluster.Addr().Is6() {
		bits = 64
	}
	return max(bits, cluster.Bits())
}

// FreeRange is the first range of a node's size inside cluster that overlaps none
// of taken.
func FreeRange(cluster netip.Prefix, taken []netip.Prefix) (netip.Prefix, bool) {
	bits := nodeBits(cluster)
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

// NodeRanges is what a node has, completed with a free range of each family of
// the cluster that it lacks. With nothing to add it is what it has. If a range of
// the cluster is used up, that one is returned as full.
func NodeRanges(cluster, have, taken []netip.Prefix) (all []netip.Prefix, full netip.Prefix) {
	all = slices.Clone(have)
	for _, c := range cluster {
		if slices.ContainsFunc(have, func(p netip.Prefix) bool { return p.Addr().Is4() == c.Addr().Is4() }) {
			continue
		}
		free, ok := FreeRange(c, taken)
		if !ok {
			return have, c
		}
		all = append(all, free)
	}
	return all, netip.Prefix{}
}

// cidrs are a node's ranges as the API has them.
func cidrs(n *corev1.Node) []netip.Prefix {
	texts := n.Spec.PodCIDRs
	if len(texts) == 0 {
		texts = []string{n.Spec.PodCIDR}
	}
	var all []netip.Prefix
	for _, text := range texts {
		if p, err := netip.ParsePrefix(text); err == nil {
			all = append(all, p)
		}
	}
	return all
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

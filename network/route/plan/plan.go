package plan

import (
	"cmp"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/api/claim"
)

// Hop is a route of ours. One with neither gateway nor source answers that
// there is no such host, wherever else a packet might have gone.
type Hop struct {
	To     netip.Prefix
	Via    netip.Addr // another node's address, for its pods
	Source netip.Addr // this node's, for what ends on our own link
}

// Fixed returns the routes that do not depend on other nodes: each range of
// Services ends on our link, and what no better route is known for in the
// ranges of pods and Services is nowhere: by a host's default route it would
// reach strangers who have the address. A confined node has no way out at all.
func Fixed(nodeIPs []netip.Addr, podCIDRs, serviceCIDRs []netip.Prefix, confined bool) []Hop {
	var hops []Hop
	ends := serviceCIDRs
	if confined {
		for _, a := range nodeIPs {
			ends = append(slices.Clone(ends), netip.PrefixFrom(a, 0).Masked())
		}
	}
	for _, to := range ends {
		at := slices.IndexFunc(nodeIPs, func(a netip.Addr) bool { return a.Is4() == to.Addr().Is4() })
		if at >= 0 {
			hops = append(hops, Hop{To: to.Masked(), Source: nodeIPs[at]})
		}
	}
	for _, to := range slices.Concat(podCIDRs, serviceCIDRs) {
		hops = append(hops, Hop{To: to.Masked()})
	}
	return hops
}

// ToNodes returns the routes to the pods of all nodes but the one named, by
// destination. A range is reached through its node's address of the same
// family. A node that has no pod range or no such address yet has none, and of
// two nodes that claim one range the first by name has it. An address at which
// no other machine can be reached counts as none.
func ToNodes(nodes []*corev1.Node, self string) []Hop {
	var hops []Hop
	taken := map[netip.Prefix]bool{}
	byName := slices.SortedFunc(slices.Values(nodes), func(a, b *corev1.Node) int { return cmp.Compare(a.Name, b.Name) })
	for _, n := range byName {
		for _, to := range api.PodRanges(n) {
			if taken[to] {
				continue
			}
			taken[to] = true
			if via, ok := internalIP(n, to.Addr().Is4()); ok && n.Name != self {
				hops = append(hops, Hop{To: to, Via: via})
			}
		}
	}
	slices.SortFunc(hops, func(a, b Hop) int { return a.To.Addr().Compare(b.To.Addr()) })
	return hops
}

func internalIP(n *corev1.Node, four bool) (netip.Addr, bool) {
	for _, ip := range api.InternalIPs(n) {
		if ip.Is4() == four && claim.Usable(ip) == nil {
			return ip, true
		}
	}
	return netip.Addr{}, false
}

// Diff returns which of the routes to want are missing and which of those that
// are there are stale. A route whose gateway changed is in both, and removal
// comes first.
func Diff(there, want []Hop) (missing, stale []Hop) {
	for _, h := range want {
		if !slices.Contains(there, h) {
			missing = append(missing, h)
		}
	}
	for _, h := range there {
		if !slices.Contains(want, h) {
			stale = append(stale, h)
		}
	}
	return missing, stale
}

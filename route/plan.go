package route

import (
	"cmp"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Hop is a route to the pods of another node.
type Hop struct {
	To  netip.Prefix // the node's pod range
	Via netip.Addr   // the node's address
}

// Plan returns the routes to the pods of all nodes but the one named, by
// destination. A range is reached through its node's address of the same
// family. A node that has no pod range or no such address yet has none, and of
// two nodes that claim one range the first by name has it.
func Plan(nodes []*corev1.Node, self string) []Hop {
	var hops []Hop
	taken := map[netip.Prefix]bool{}
	byName := slices.SortedFunc(slices.Values(nodes), func(a, b *corev1.Node) int { return cmp.Compare(a.Name, b.Name) })
	for _, n := range byName {
		for _, to := range podCIDRs(n) {
			if taken[to] {
				continue
			}
			taken[to] = true
			if via, ok := internalIP(n, to.Addr().Is4()); ok && n.Name != self {
				hops = append(hops, Hop{to, via})
			}
		}
	}
	slices.SortFunc(hops, func(a, b Hop) int { return a.To.Addr().Compare(b.To.Addr()) })
	return hops
}

func internalIP(n *corev1.Node, four bool) (netip.Addr, bool) {
	for _, a := range n.Status.Addresses {
		ip, err := netip.ParseAddr(a.Address)
		if a.Type == corev1.NodeInternalIP && err == nil && ip.Is4() == four {
			return ip, true
		}
	}
	return netip.Addr{}, false
}

func podCIDRs(n *corev1.Node) []netip.Prefix {
	texts := n.Spec.PodCIDRs
	if len(texts) == 0 {
		texts = []string{n.Spec.PodCIDR}
	}
	var all []netip.Prefix
	for _, text := range texts {
		if p, err := netip.ParsePrefix(text); err == nil {
			all = append(all, p.Masked())
		}
	}
	return all
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

package lb

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"fairlead.dev/fairlead/api"
)

// Weights (P21): slices say what their endpoints get of new connections, together or each slice for itself. What comes of it is whole
// shares of a set, as few as will do: it is by repetition that the kernel gives one backend more than another.

// sharesOf are how often each of the backends is in a set whose slices have weights; nil: all are once.
func sharesOf(all []*discoveryv1.EndpointSlice, port *corev1.ServicePort, node Node, backends []Backend) []int {
	if len(backends) < 2 || !slices.ContainsFunc(all, weighted) {
		return nil
	}
	index := make(map[netip.AddrPort]int, len(backends))
	for i, b := range backends {
		index[b.Addr] = i
	}
	groups, any := map[string]*group{}, false
	for _, s := range all {
		weight, name, given := api.Weight(s)
		for _, e := range collect([]*discoveryv1.EndpointSlice{s}, port, node) {
			if i, is := index[e.addr]; is {
				g := groups[name]
				if g == nil {
					g = &group{members: map[int]struct{}{}}
					groups[name] = g
				}
				g.weight, g.members[i] = max(g.weight, weight), struct{}{}
				any = any || given
			}
		}
	}
	if !any {
		return nil
	}
	parts := make([]uint64, len(backends))
	for _, g := range groups {
		for i := range g.members {
			parts[i] += g.weight * partsOfOne / uint64(len(g.members))
		}
	}
	return wholeShares(parts)
}

// group is slices that share a weight, the largest that one with a backend says, and their backends.
type group struct {
	weight  uint64
	members map[int]struct{}
}

func weighted(s *discoveryv1.EndpointSlice) bool {
	_, _, given := api.Weight(s)
	return given
}

const (
	// partsOfOne is into how many parts a weight of one can be divided.
	partsOfOne = 1 << 20
	// mostShares is how many shares a set has at most, unless it has more backends.
	mostShares = 1000
	// nearEnough is how many shares may be wrong by one.
	nearEnough = 100
)

// wholeShares are the fewest whole numbers that are to each other as the parts are, each within a hundredth. Where mostShares are not
// enough for that, every backend has one at least. nil: all have one.
func wholeShares(parts []uint64) []int {
	sum := uint64(0)
	for _, p := range parts {
		sum += p
	}
	shares := make([]int, len(parts))
	for total := uint64(len(parts)); ; total++ {
		if divide(shares, parts, sum, total) || total >= mostShares {
			break
		}
	}
	if !slices.ContainsFunc(shares, func(n int) bool { return n != shares[0] }) {
		return nil
	}
	return shares
}

// divide gives each its share of a total, in whole numbers from one, and reports whether that is near enough for all.
func divide(shares []int, parts []uint64, sum, total uint64) bool {
	all := true
	for i, p := range parts {
		exact := total * p // sum times as much
		n := max(1, (2*exact+sum)/(2*sum))
		off := max(n*sum, exact) - min(n*sum, exact)
		shares[i], all = int(n), all && off*nearEnough <= exact
	}
	return all
}

// Places are the backends of a set, each as often as it has shares, and those that are there several times evenly between the others.
func (s *Set) Places() []Backend {
	if s.Shares == nil {
		return s.Backends
	}
	type place struct{ of, at, last int }
	var all []place
	for i, n := range s.Shares {
		for k := range n {
			all = append(all, place{i, 2*k + 1, 2 * n})
		}
	}
	slices.SortStableFunc(all, func(a, b place) int { return a.at*b.last - b.at*a.last })
	places := make([]Backend, len(all))
	for i, p := range all {
		places[i] = s.Backends[p.of]
	}
	return places
}

package lb

import (
	"net/netip"
	"strconv"

	discoveryv1 "k8s.io/api/discovery/v1"
)

// weightOf is what a slice says of its weight.
func weightOf(s *discoveryv1.EndpointSlice) (weight float64, group string, weighted bool) {
	n, err := strconv.Atoi(s.Annotations["fairlead.dev/weight"])
	if err != nil || n < 0 || n > 1000000 || s.Annotations["fairlead.dev/weight"][0] == '+' {
		return 1, "slice " + s.Name, false
	}
	if name, is := s.Annotations["fairlead.dev/weight-group"]; is && name != "" {
		return float64(n), "group " + name, true
	}
	return float64(n), "slice " + s.Name, true
}

// shares divides new connections: each group's weight among those of its endpoints that get any.
func shares(copies []specEndpoint, backends map[netip.AddrPort]bool) map[netip.AddrPort]float64 {
	weights, members, any := map[string]float64{}, map[string]map[netip.AddrPort]bool{}, false
	for _, c := range copies {
		if !backends[c.at] {
			continue
		}
		any = any || c.weighted
		weights[c.group] = max(weights[c.group], c.weight)
		if members[c.group] == nil {
			members[c.group] = map[netip.AddrPort]bool{}
		}
		members[c.group][c.at] = true
	}
	if !any {
		return nil
	}
	all, total := map[netip.AddrPort]float64{}, 0.0
	for group, weight := range weights {
		total += weight
		for at := range members[group] {
			all[at] += weight / float64(len(members[group]))
		}
	}
	for at := range all {
		all[at] /= total
	}
	return all
}

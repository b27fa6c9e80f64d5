package plan

import (
	"cmp"
	"hash/fnv"
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// Node is a node that may announce addresses.
type Node struct {
	Name string
	// Settled says that it has answered for a while: one that comes and goes gets nothing from others that they could keep.
	Settled bool
}

// Announce is an address that one node is to announce.
type Announce struct {
	Addr netip.Addr
	// Only are the nodes that may, if Limited.
	Only    []string
	Limited bool
	// Cannot are nodes that have tried and could not.
	Cannot []string
}

func (a Announce) allows(node string) bool {
	return (!a.Limited || slices.Contains(a.Only, node)) && !slices.Contains(a.Cannot, node)
}

// Elect chooses for each address the node that announces it; an address that no node may announce is not in the result. What a node
// has it keeps while it lives and may; the rest goes where the fewest are, and a node that has two more than another that is
// settled gives it one.
func Elect(wanted []Announce, alive []Node, held map[netip.Addr]string) map[netip.Addr]string {
	elected, load := map[netip.Addr]string{}, map[string]int{}
	for _, n := range alive {
		load[n.Name] = 0
	}
	var open []Announce
	for _, a := range wanted {
		node := held[a.Addr]
		if _, lives := load[node]; lives && a.allows(node) {
			elected[a.Addr] = node
			load[node]++
		} else {
			open = append(open, a)
		}
	}
	for _, a := range open {
		if node, ok := least(a, slices.Collect(maps.Keys(load)), load); ok {
			elected[a.Addr] = node
			load[node]++
		}
	}
	var settled []string
	for _, n := range alive {
		if n.Settled {
			settled = append(settled, n.Name)
		}
	}
	for _, a := range wanted {
		from, has := elected[a.Addr]
		to, ok := least(a, settled, load)
		if has && ok && load[from] > load[to]+1 {
			elected[a.Addr] = to
			load[from]--
			load[to]++
		}
	}
	return elected
}

// least is the node, of those that may announce an address, with the fewest of them.
func least(a Announce, nodes []string, load map[string]int) (string, bool) {
	may := slices.DeleteFunc(slices.Clone(nodes), func(n string) bool { return !a.allows(n) })
	if len(may) == 0 {
		return "", false
	}
	return slices.MinFunc(may, func(x, y string) int {
		return cmp.Or(cmp.Compare(load[x], load[y]), cmp.Compare(weight(a.Addr, x), weight(a.Addr, y)), cmp.Compare(x, y))
	}), true
}

// weight orders nodes differently for each address.
func weight(a netip.Addr, node string) uint64 {
	h := fnv.New64a()
	h.Write(a.AsSlice())
	h.Write([]byte(node))
	return h.Sum64()
}

// LocalNodes are the nodes with an endpoint that a Service with externalTrafficPolicy Local is served by: a ready one, or where there
// is none in the cluster, one that serves while it terminates (rule P14).
func LocalNodes(endpointSlices []*discoveryv1.EndpointSlice) []string {
	var ready, serving []string
	for _, s := range endpointSlices {
		for i := range s.Endpoints {
			e := &s.Endpoints[i]
			switch {
			case e.NodeName == nil:
			case e.Conditions.Ready == nil || *e.Conditions.Ready:
				ready = append(ready, *e.NodeName)
			case e.Conditions.Serving != nil && *e.Conditions.Serving:
				serving = append(serving, *e.NodeName)
			}
		}
	}
	if len(ready) == 0 {
		ready = serving
	}
	slices.Sort(ready)
	return slices.Compact(ready)
}

// MayAnnounce reports whether a node is one that the world outside is to send packets to.
func MayAnnounce(n *corev1.Node) bool {
	_, excluded := n.Labels[corev1.LabelNodeExcludeBalancers]
	return !excluded && n.DeletionTimestamp == nil
}

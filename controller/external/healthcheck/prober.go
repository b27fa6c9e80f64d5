package healthcheck

import (
	"hash/fnv"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// chooseProber chooses the node that probes a Service: the present one as long as it can, else the one of the highest rank,
// which spreads Services over nodes. Of nodes that did not answer lately (avoided) one is taken only when no other is left. It
// is empty when there is no node.
func chooseProber(svc types.NamespacedName, present string, nodes map[string]*corev1.Node, avoided map[string]bool) string {
	if nodes[present] != nil && !avoided[present] {
		return present
	}
	best, high := "", uint64(0)
	for _, avoid := range []bool{false, true} {
		for _, name := range slices.Sorted(maps.Keys(nodes)) {
			if avoided[name] != avoid {
				continue
			}
			if r := rank(svc, name); best == "" || r > high {
				best, high = name, r
			}
		}
		if best != "" {
			break
		}
	}
	return best
}

// rank orders the nodes differently for each Service (rendezvous hashing).
func rank(svc types.NamespacedName, node string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(svc.String() + "\x00" + node)) // never fails
	x := h.Sum64()
	x ^= x >> 33 // the last bytes of what is hashed change few of the high bits
	x *= 0xff51afd7ed558ccd
	return x ^ x>>33
}

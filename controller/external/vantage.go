package external

import (
	"hash/fnv"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// ready reports whether pods could run on a node now, so that its traffic says something about that of the cluster.
func ready(n *corev1.Node) bool {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue && n.DeletionTimestamp == nil
		}
	}
	return false
}

// vantage chooses the node that probes a Service: the present one as long as it can, else the one of the highest rank,
// which spreads Services over nodes. Of nodes that did not answer lately (silent) one is taken only when no other is left.
// It is empty when there is no node.
func vantage(svc types.NamespacedName, present string, nodes map[string]*corev1.Node, silent map[string]bool) string {
	if nodes[present] != nil && !silent[present] {
		return present
	}
	best, high := "", uint64(0)
	for _, quiet := range []bool{false, true} {
		for _, name := range slices.Sorted(maps.Keys(nodes)) {
			if silent[name] != quiet {
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

// rank orders the nodes differently for each Service.
func rank(svc types.NamespacedName, node string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(svc.String() + "\x00" + node)) // never fails
	x := h.Sum64()
	x ^= x >> 33 // the last bytes of what is hashed change few of the high bits
	x *= 0xff51afd7ed558ccd
	return x ^ x>>33
}

package health

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// SyncLag says how far the kernel's rules are behind what this node knows.
type SyncLag struct {
	Updated time.Time // when they last were what they should be; zero: never
	Pending time.Time // since when something is not in them; zero: nothing is
}

// patience is how long a change may take before the rules count as stale: twice kube-proxy's sync period, as there.
const patience = time.Minute

// Healthy reports whether the rules forward what they should: they were written once, and nothing has been waiting
// for longer than a minute (rule P93).
func (f SyncLag) Healthy(now time.Time) bool {
	return !f.Updated.IsZero() && (f.Pending.IsZero() || now.Sub(f.Pending) < patience)
}

// toBeDeleted is the taint that the cluster autoscaler puts on a node before it removes it.
const toBeDeleted = "ToBeDeletedByClusterAutoscaler"

// Eligible reports whether load balancers should use a node for Services with externalTrafficPolicy Cluster: one that is
// going, or that is gone (nil), is drained first (KEP-3836).
func Eligible(node *corev1.Node) bool {
	if node == nil || node.DeletionTimestamp != nil {
		return false
	}
	for _, t := range node.Spec.Taints {
		if t.Key == toBeDeleted {
			return false
		}
	}
	return true
}

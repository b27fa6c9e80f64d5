package plan

import (
	"cmp"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/api"
)

// deletionCostKey is the annotation by which a user makes a pod a better (lower)
// or worse (higher) choice when its set shrinks.
const deletionCostKey = corev1.PodDeletionCost

// victims returns the n pods that a shrinking set gives up first, in that order
// (rule D23): pods without a node, then Pending before Unknown before Running,
// not ready before ready, lower deletion cost, more pods of the same workload on
// their node, the most recently ready, more restarts, the youngest; names decide
// the rest so that the order is total. related are the pods of the whole workload
// (all ReplicaSets of a Deployment), pods included.
func victims(pods, related []*corev1.Pod, n int) []*corev1.Pod {
	onNode := map[string]int{}
	for _, p := range related {
		if active(p) && p.Spec.NodeName != "" {
			onNode[p.Spec.NodeName]++
		}
	}
	order := slices.Clone(pods)
	slices.SortFunc(order, func(a, b *corev1.Pod) int {
		return cmp.Or(
			before(a.Spec.NodeName == "", b.Spec.NodeName == ""),
			cmp.Compare(phaseRank(a), phaseRank(b)),
			before(!api.PodReady(a), !api.PodReady(b)),
			cmp.Compare(deletionCost(a), deletionCost(b)),
			cmp.Compare(onNode[b.Spec.NodeName], onNode[a.Spec.NodeName]),
			compareReadySince(a, b),
			cmp.Compare(restarts(b), restarts(a)),
			b.CreationTimestamp.Compare(a.CreationTimestamp.Time),
			cmp.Compare(a.Name, b.Name),
		)
	})
	return order[:min(n, len(order))]
}

// before orders the one for which a fact holds first.
func before(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// phaseRank orders phases by how little is lost with the pod.
func phaseRank(p *corev1.Pod) int {
	switch p.Status.Phase {
	case corev1.PodPending, "":
		return 0
	case corev1.PodUnknown:
		return 1
	}
	return 2
}

// deletionCost is the pod's deletion cost; an unreadable one counts as 0.
func deletionCost(p *corev1.Pod) int32 {
	cost, err := strconv.ParseInt(p.Annotations[deletionCostKey], 10, 32)
	if err != nil {
		return 0
	}
	return int32(cost)
}

// compareReadySince orders the pod that became ready last first; pods that are
// not ready are equal.
func compareReadySince(a, b *corev1.Pod) int {
	readyA, sinceA := api.PodReadiness(a)
	readyB, sinceB := api.PodReadiness(b)
	if !readyA || !readyB {
		return 0
	}
	return sinceB.Truncate(time.Second).Compare(sinceA.Truncate(time.Second))
}

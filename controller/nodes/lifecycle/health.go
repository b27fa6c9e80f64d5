package lifecycle

import (
	"cmp"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/api"
)

// MonitorGracePeriod is how long an agent may be silent before its node counts as
// unreachable (node-monitor-grace-period upstream).
const MonitorGracePeriod = 40 * time.Second

// NodePlan is what one look at a node changes.
type NodePlan struct {
	Conditions []corev1.NodeCondition // to write, by type
	Taints     []corev1.Taint         // the whole list, if TaintsChanged
	// TaintsChanged tells an empty list to write from nothing to write.
	TaintsChanged bool
	// Unreachable: the agent is silent, so the node's pods cannot be ready.
	Unreachable bool
	// Recheck is the time until the agent has been silent for too long; 0 means
	// it already has.
	Recheck time.Duration
}

// PlanNode judges a node whose agent was last observed at observed (node lifecycle
// controller upstream, rule R35).
func PlanNode(n *corev1.Node, observed, now time.Time) NodePlan {
	var plan NodePlan
	conditions := n.Status.Conditions
	if left := observed.Add(MonitorGracePeriod).Sub(now); left > 0 {
		plan.Recheck = left
	} else {
		plan.Unreachable = true
		plan.Conditions = unknown(conditions, now)
		conditions = slices.Concat(plan.Conditions, conditions) // the first of a type counts
	}
	want := taints(n, conditions, now)
	if !apiequality.Semantic.DeepEqual(want, n.Spec.Taints) {
		plan.Taints, plan.TaintsChanged = want, true
	}
	return plan
}

// unknown are the conditions an agent would report, as Unknown; only those that do
// not say so yet.
func unknown(have []corev1.NodeCondition, now time.Time) []corev1.NodeCondition {
	var out []corev1.NodeCondition
	for _, t := range []corev1.NodeConditionType{corev1.NodeReady, corev1.NodeMemoryPressure, corev1.NodeDiskPressure, corev1.NodePIDPressure} {
		next := corev1.NodeCondition{
			Type: t, Status: corev1.ConditionUnknown, Reason: "NodeStatusNeverUpdated", Message: "Kubelet never posted node status.",
			LastTransitionTime: metav1.NewTime(now),
		}
		if old := api.NodeCondition(have, t); old != nil {
			if old.Status == corev1.ConditionUnknown {
				continue
			}
			next.LastHeartbeatTime = old.LastHeartbeatTime
			next.Reason, next.Message = "NodeStatusUnknown", "Kubelet stopped posting node status."
		}
		out = append(out, next)
	}
	return out
}

// ConditionStatus is the status of a condition, Unknown when it is not in the list.
func ConditionStatus(list []corev1.NodeCondition, t corev1.NodeConditionType) corev1.ConditionStatus {
	if c := api.NodeCondition(list, t); c != nil {
		return c.Status
	}
	return corev1.ConditionUnknown
}

// derived are the taints that follow from a node's state; all other taints are the
// user's and stay.
var derived = []string{
	corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable, corev1.TaintNodeUnschedulable, corev1.TaintNodeMemoryPressure,
	corev1.TaintNodeDiskPressure, corev1.TaintNodePIDPressure, corev1.TaintNodeNetworkUnavailable,
}

// taints are the taints the node should have: the user's, then those derived from
// conditions. Taints it has already keep their place and their time.
func taints(n *corev1.Node, conditions []corev1.NodeCondition, now time.Time) []corev1.Taint {
	var want []corev1.Taint
	add := func(key string, effects ...corev1.TaintEffect) {
		for _, e := range effects {
			t := corev1.Taint{Key: key, Effect: e}
			if e == corev1.TaintEffectNoExecute {
				at := metav1.NewTime(now)
				t.TimeAdded = &at
			}
			want = append(want, t)
		}
	}
	switch ConditionStatus(conditions, corev1.NodeReady) {
	case corev1.ConditionTrue:
	case corev1.ConditionFalse:
		add(corev1.TaintNodeNotReady, corev1.TaintEffectNoSchedule, corev1.TaintEffectNoExecute)
	default:
		add(corev1.TaintNodeUnreachable, corev1.TaintEffectNoSchedule, corev1.TaintEffectNoExecute)
	}
	if n.Spec.Unschedulable {
		add(corev1.TaintNodeUnschedulable, corev1.TaintEffectNoSchedule)
	}
	for t, key := range map[corev1.NodeConditionType]string{
		corev1.NodeMemoryPressure: corev1.TaintNodeMemoryPressure, corev1.NodeDiskPressure: corev1.TaintNodeDiskPressure,
		corev1.NodePIDPressure: corev1.TaintNodePIDPressure, corev1.NodeNetworkUnavailable: corev1.TaintNodeNetworkUnavailable,
	} {
		if ConditionStatus(conditions, t) == corev1.ConditionTrue {
			add(key, corev1.TaintEffectNoSchedule)
		}
	}
	return joinTaints(n.Spec.Taints, want)
}

// Evicts reports whether taints make pods leave because their node is not ready or unreachable.
func Evicts(taints []corev1.Taint) bool {
	return slices.ContainsFunc(taints, func(t corev1.Taint) bool {
		return t.Effect == corev1.TaintEffectNoExecute && (t.Key == corev1.TaintNodeNotReady || t.Key == corev1.TaintNodeUnreachable)
	})
}

// joinTaints keeps of have the user's taints and the wanted ones, and appends the
// wanted ones that are missing, ordered by key.
func joinTaints(have, want []corev1.Taint) []corev1.Taint {
	var out []corev1.Taint
	for _, t := range have {
		if !slices.Contains(derived, t.Key) || slices.ContainsFunc(want, same(t)) {
			out = append(out, t)
		}
	}
	slices.SortFunc(want, func(a, b corev1.Taint) int {
		return cmp.Or(cmp.Compare(a.Key, b.Key), cmp.Compare(b.Effect, a.Effect))
	})
	for _, t := range want {
		if !slices.ContainsFunc(out, same(t)) {
			out = append(out, t)
		}
	}
	return out
}

// same matches the taints of t's key and effect, which are a taint's identity.
func same(t corev1.Taint) func(corev1.Taint) bool {
	return func(other corev1.Taint) bool { return t.MatchTaint(&other) }
}

package lifecycle

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
)

const (
	// defaultToleration is how long a pod that says nothing stays on a node that is not
	// ready or unreachable (default-not-ready-toleration-seconds upstream).
	defaultToleration = 300 * time.Second
	// OrphanQuarantine is how long a pod may name a node that does not exist before it
	// is removed (pod garbage collector upstream).
	OrphanQuarantine = 40 * time.Second
	// minimumStay is how old a pod is at least when it is evicted. One that is put on a tainted
	// node without asking the scheduler would else be deleted and made again without a pause.
	minimumStay = 5 * time.Second
)

// PlanEviction decides when the pod has to leave a node with these taints (now or before: at
// once), or (stays) not at all. aNodeIsReady guards against a mistake: while no node
// is ready there is nowhere to go, and it may well be the control plane that is cut
// off, so pods are not evicted for their node's silence (full disruption upstream).
//
// The taint's time counts only from when this process has been observing: the node may have recovered while nobody looked.
func PlanEviction(pod *corev1.Pod, taints []corev1.Taint, aNodeIsReady bool, observing, now time.Time) (at time.Time, stays bool) {
	stays = true
	for i := range taints {
		t := &taints[i]
		if t.Effect != corev1.TaintEffectNoExecute {
			continue
		}
		implied := t.Key == corev1.TaintNodeNotReady || t.Key == corev1.TaintNodeUnreachable
		if implied && !aNodeIsReady {
			continue
		}
		limit, forever := toleration(pod, t, implied)
		if forever {
			continue
		}
		since := now
		if t.TimeAdded != nil {
			since = t.TimeAdded.Time
		}
		if since.After(now) || implied && since.Before(observing) {
			since = observing
		}
		if leaves := since.Add(limit); stays || leaves.Before(at) {
			at = leaves
		}
		stays = false
	}
	if earliest := pod.CreationTimestamp.Add(minimumStay); !stays && at.Before(earliest) {
		at = earliest
	}
	return at, stays
}

// toleration is how long the pod tolerates the taint: the shortest of the
// tolerations that match, as upstream takes it.
func toleration(pod *corev1.Pod, taint *corev1.Taint, implied bool) (limit time.Duration, forever bool) {
	matched := false
	forever = true
	for i := range pod.Spec.Tolerations {
		tol := &pod.Spec.Tolerations[i]
		if !tol.ToleratesTaint(klog.Logger{}, taint, true) {
			continue
		}
		matched = true
		if tol.TolerationSeconds == nil {
			continue
		}
		s := max(0, time.Duration(*tol.TolerationSeconds)*time.Second)
		if forever || s < limit {
			limit, forever = s, false
		}
	}
	switch {
	case matched:
		return limit, forever
	case implied:
		return defaultToleration, false
	}
	return 0, false
}

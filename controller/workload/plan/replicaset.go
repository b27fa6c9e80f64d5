package plan

import (
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"fairlead.dev/fairlead/api"
)

// burst bounds the pods created or deleted for one ReplicaSet in one pass, as
// upstream does, so that one large set does not starve the others.
const burst = 500

// ReplicaSetChanges is what one pass over a ReplicaSet does.
type ReplicaSetChanges struct {
	Adopt   []*corev1.Pod // matching orphans that become ours (rule D21)
	Release []*corev1.Pod // our pods whose labels no longer match (rule D21)
	Create  int           // pods to create
	Delete  []*corev1.Pod // pods to delete, best victim first (rule D23)

	// Status is the set's status from the pods as they are now, before any of
	// the above. Conditions are the set's present ones.
	Status appsv1.ReplicaSetStatus
	// Recheck is the time until a ready pod becomes available; 0 means nothing
	// changes by time alone.
	Recheck time.Duration
}

// ReplicaSet compares rs with pods (those controlled by it and the orphans of
// its namespace; others are ignored). related are the active pods of the same
// workload, which decide which pods are doubled up on a node.
func ReplicaSet(rs *appsv1.ReplicaSet, pods, related []*corev1.Pod, now time.Time) (ReplicaSetChanges, error) {
	selector, err := metav1.LabelSelectorAsSelector(rs.Spec.Selector)
	if err != nil {
		return ReplicaSetChanges{}, fmt.Errorf("replicaset %s/%s: spec.selector: %w", rs.Namespace, rs.Name, err)
	}
	var plan ReplicaSetChanges
	var mine, terminating []*corev1.Pod
	for _, p := range pods {
		switch claim(rs, selector, p) {
		case keep:
			if active(p) {
				mine = append(mine, p)
			} else if !api.Finished(p) {
				terminating = append(terminating, p)
			}
		case adopt:
			plan.Adopt = append(plan.Adopt, p)
			mine = append(mine, p)
		case release:
			plan.Release = append(plan.Release, p)
		case ignore:
		}
	}
	plan.Status, plan.Recheck = replicaSetStatus(rs, mine, now)
	count := int32(len(terminating))
	plan.Status.TerminatingReplicas = &count
	if rs.DeletionTimestamp != nil {
		return plan, nil
	}
	switch diff := len(mine) - int(Replicas(rs)); {
	case diff < 0:
		plan.Create = min(-diff, burst)
	case diff > 0:
		plan.Delete = victims(mine, related, min(diff, burst))
	}
	return plan, nil
}

// Replicas is spec.replicas with its default (rule D30).
func Replicas(rs *appsv1.ReplicaSet) int32 {
	if rs.Spec.Replicas == nil {
		return 1
	}
	return *rs.Spec.Replicas
}

// replicaSetStatus counts mine. The conditions are carried over.
func replicaSetStatus(rs *appsv1.ReplicaSet, mine []*corev1.Pod, now time.Time) (appsv1.ReplicaSetStatus, time.Duration) {
	template := labels.SelectorFromSet(rs.Spec.Template.Labels)
	status := appsv1.ReplicaSetStatus{
		Replicas:           int32(len(mine)),
		ObservedGeneration: rs.Generation,
		Conditions:         rs.Status.Conditions,
	}
	var recheck time.Duration
	for _, p := range mine {
		if template.Matches(labels.Set(p.Labels)) {
			status.FullyLabeledReplicas++
		}
		if api.PodReady(p) {
			status.ReadyReplicas++
		}
		available, wait := availability(p, rs.Spec.MinReadySeconds, now)
		if available {
			status.AvailableReplicas++
		} else if wait > 0 && (recheck == 0 || wait < recheck) {
			recheck = wait
		}
	}
	return status, recheck
}

// WithReplicaFailure returns conditions with ReplicaFailure=True for failure, or
// without it when failure is nil. reason is FailedCreate or FailedDelete.
func WithReplicaFailure(conditions []appsv1.ReplicaSetCondition, reason string, failure error, now time.Time) []appsv1.ReplicaSetCondition {
	var out []appsv1.ReplicaSetCondition
	var since metav1.Time
	for _, c := range conditions {
		if c.Type != appsv1.ReplicaSetReplicaFailure {
			out = append(out, c)
			continue
		}
		since = c.LastTransitionTime
	}
	if failure == nil {
		return out
	}
	if since.IsZero() {
		since = metav1.NewTime(now)
	}
	return append(out, appsv1.ReplicaSetCondition{
		Type: appsv1.ReplicaSetReplicaFailure, Status: corev1.ConditionTrue,
		LastTransitionTime: since, Reason: reason, Message: failure.Error(),
	})
}

// NewPod is one pod of rs from its template, to be named by the server
// (rule D21: "<rs>-" and five characters).
func NewPod(rs *appsv1.ReplicaSet) *corev1.Pod {
	t := rs.Spec.Template.DeepCopy()
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			GenerateName: rs.Name + "-", Namespace: rs.Namespace,
			Labels: t.Labels, Annotations: t.Annotations, Finalizers: t.Finalizers,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(rs, ReplicaSetKind)},
		},
		Spec: t.Spec,
	}
}

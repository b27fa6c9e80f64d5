package plan

import (
	"fmt"
	"math"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Reasons of Deployment conditions (rule D34); kubectl rollout status reads
// ProgressDeadlineExceeded.
const (
	reasonAvailable       = "MinimumReplicasAvailable"
	reasonUnavailable     = "MinimumReplicasUnavailable"
	reasonCreated         = "NewReplicaSetCreated"
	reasonFound           = "FoundNewReplicaSet"
	ReasonCreateError     = "ReplicaSetCreateError"
	reasonUpdated         = "ReplicaSetUpdated"
	reasonComplete        = "NewReplicaSetAvailable"
	reasonDeadline        = "ProgressDeadlineExceeded"
	reasonPaused          = "DeploymentPaused"
	reasonResumed         = "DeploymentResumed"
	availableMessage      = "Deployment has minimum availability."
	unavailableMessage    = "Deployment does not have minimum availability."
	noProgressDeadline    = math.MaxInt32
	progressDeadlineSlack = time.Second // timestamps have whole seconds
)

// count is the status by the sets' own statuses. Conditions are carried over.
func (r *rollout) count() appsv1.DeploymentStatus {
	status := appsv1.DeploymentStatus{
		ObservedGeneration: r.d.Generation,
		CollisionCount:     r.d.Status.CollisionCount,
	}
	status.Conditions = append(status.Conditions, r.d.Status.Conditions...)
	var terminating int32
	for _, rs := range r.all() {
		status.Replicas += rs.Status.Replicas
		status.ReadyReplicas += rs.Status.ReadyReplicas
		status.AvailableReplicas += rs.Status.AvailableReplicas
		if rs.Status.TerminatingReplicas != nil {
			terminating += *rs.Status.TerminatingReplicas
		}
	}
	status.TerminatingReplicas = &terminating
	if r.current != nil {
		status.UpdatedReplicas = r.current.Status.Replicas
	}
	return status
}

// finish completes the status: what the sizes of this pass leave unavailable, and
// the conditions Available and ReplicaFailure.
func (r *rollout) finish() appsv1.DeploymentStatus {
	var wanted int32
	for _, rs := range r.all() {
		wanted += Replicas(rs)
	}
	r.status.UnavailableReplicas = max(0, wanted-r.status.AvailableReplicas)
	if r.status.AvailableReplicas >= r.replicas-r.maxUnavailable {
		r.set(appsv1.DeploymentAvailable, corev1.ConditionTrue, reasonAvailable, availableMessage)
	} else {
		r.set(appsv1.DeploymentAvailable, corev1.ConditionFalse, reasonUnavailable, unavailableMessage)
	}
	if f := r.replicaFailure(); f != nil {
		r.set(appsv1.DeploymentReplicaFailure, f.Status, f.Reason, f.Message)
	} else {
		r.remove(appsv1.DeploymentReplicaFailure)
	}
	return r.status
}

// replicaFailure is the condition of the current set, or else of an old one, that
// says pods cannot be created or deleted.
func (r *rollout) replicaFailure() *appsv1.ReplicaSetCondition {
	for _, rs := range r.all() {
		for i := range rs.Status.Conditions {
			if rs.Status.Conditions[i].Type == appsv1.ReplicaSetReplicaFailure {
				return &rs.Status.Conditions[i]
			}
		}
	}
	return nil
}

// complete reports whether the present template is fully rolled out.
func (r *rollout) complete() bool {
	return r.current != nil && r.status.UpdatedReplicas == r.replicas &&
		r.status.Replicas == r.replicas && r.status.AvailableReplicas == r.replicas
}

// hasDeadline reports whether progress is watched at all.
func (r *rollout) hasDeadline() bool {
	s := r.d.Spec.ProgressDeadlineSeconds
	return s != nil && *s != noProgressDeadline
}

// notePause records that the Deployment was paused or resumed (rule D36), so that
// the pause does not count against the deadline.
func (r *rollout) notePause() {
	if !r.hasDeadline() {
		return
	}
	cond := r.condition(appsv1.DeploymentProgressing)
	paused := cond != nil && cond.Reason == reasonPaused
	switch {
	case cond != nil && cond.Reason == reasonDeadline:
	case r.d.Spec.Paused && !paused:
		r.set(appsv1.DeploymentProgressing, corev1.ConditionUnknown, reasonPaused, "Deployment is paused")
	case !r.d.Spec.Paused && paused:
		r.set(appsv1.DeploymentProgressing, corev1.ConditionUnknown, reasonResumed, "Deployment is resumed")
	}
}

// noteProgress sets the Progressing condition. created is the set this pass
// creates, or nil.
func (r *rollout) noteProgress(created *appsv1.ReplicaSet) {
	if !r.hasDeadline() {
		r.remove(appsv1.DeploymentProgressing)
		return
	}
	cond := r.condition(appsv1.DeploymentProgressing)
	switch {
	case created != nil:
		r.set(appsv1.DeploymentProgressing, corev1.ConditionTrue, reasonCreated,
			fmt.Sprintf("Created new replica set %q", created.Name))
	case cond != nil && cond.Reason == reasonComplete && r.status.Replicas == r.status.UpdatedReplicas:
		// Pods that fail after a complete rollout do not begin a new one.
	case r.complete():
		r.set(appsv1.DeploymentProgressing, corev1.ConditionTrue, reasonComplete, r.subject()+" has successfully progressed.")
	case r.progressed():
		r.renew(cond)
	case cond == nil && r.current != nil:
		r.set(appsv1.DeploymentProgressing, corev1.ConditionTrue, reasonFound,
			fmt.Sprintf("Found new replica set %q", r.current.Name))
	case r.timedOut(cond):
		r.set(appsv1.DeploymentProgressing, corev1.ConditionFalse, reasonDeadline, r.subject()+" has timed out progressing.")
	}
}

// subject names what progresses in messages.
func (r *rollout) subject() string {
	if r.current != nil {
		return fmt.Sprintf("ReplicaSet %q", r.current.Name)
	}
	return fmt.Sprintf("Deployment %q", r.d.Name)
}

// progressed reports whether the counts moved forward since the last status.
func (r *rollout) progressed() bool {
	was, is := &r.d.Status, &r.status
	return is.UpdatedReplicas > was.UpdatedReplicas ||
		is.Replicas-is.UpdatedReplicas < was.Replicas-was.UpdatedReplicas ||
		is.ReadyReplicas > was.ReadyReplicas || is.AvailableReplicas > was.AvailableReplicas
}

// renew sets ReplicaSetUpdated with a fresh update time, from which the deadline
// runs anew.
func (r *rollout) renew(cond *appsv1.DeploymentCondition) {
	since := metav1.NewTime(r.now)
	if cond != nil && cond.Status == corev1.ConditionTrue {
		since = cond.LastTransitionTime
	}
	r.remove(appsv1.DeploymentProgressing)
	r.status.Conditions = append(r.status.Conditions, appsv1.DeploymentCondition{
		Type: appsv1.DeploymentProgressing, Status: corev1.ConditionTrue, Reason: reasonUpdated,
		Message: r.subject() + " is progressing.", LastUpdateTime: metav1.NewTime(r.now), LastTransitionTime: since,
	})
}

// timedOut reports whether nothing moved for progressDeadlineSeconds. A rollout
// that was complete does not time out when its pods fail later.
func (r *rollout) timedOut(cond *appsv1.DeploymentCondition) bool {
	if cond == nil || cond.Reason == reasonComplete {
		return false
	}
	return cond.Reason == reasonDeadline || r.untilDeadline(cond) <= 0
}

func (r *rollout) untilDeadline(cond *appsv1.DeploymentCondition) time.Duration {
	limit := time.Duration(*r.d.Spec.ProgressDeadlineSeconds)*time.Second + progressDeadlineSlack
	return cond.LastUpdateTime.Add(limit).Sub(r.now)
}

// recheck is the time until the deadline could pass.
func (r *rollout) recheck() time.Duration {
	cond := r.condition(appsv1.DeploymentProgressing)
	if !r.hasDeadline() || cond == nil || r.d.Spec.Paused || r.d.DeletionTimestamp != nil ||
		cond.Reason == reasonComplete || cond.Reason == reasonDeadline {
		return 0
	}
	return max(0, r.untilDeadline(cond))
}

func (r *rollout) condition(t appsv1.DeploymentConditionType) *appsv1.DeploymentCondition {
	for i := range r.status.Conditions {
		if r.status.Conditions[i].Type == t {
			return &r.status.Conditions[i]
		}
	}
	return nil
}

// set writes a condition. One with the same status and reason stays as it is; the
// transition time moves only when the status does.
func (r *rollout) set(t appsv1.DeploymentConditionType, status corev1.ConditionStatus, reason, message string) {
	now := metav1.NewTime(r.now)
	cond := appsv1.DeploymentCondition{Type: t, Status: status, Reason: reason, Message: message, LastUpdateTime: now, LastTransitionTime: now}
	if old := r.condition(t); old != nil {
		if old.Status == status && old.Reason == reason {
			return
		}
		if old.Status == status {
			cond.LastTransitionTime = old.LastTransitionTime
		}
	}
	r.remove(t)
	r.status.Conditions = append(r.status.Conditions, cond)
}

func (r *rollout) remove(t appsv1.DeploymentConditionType) {
	var out []appsv1.DeploymentCondition
	for _, c := range r.status.Conditions {
		if c.Type != t {
			out = append(out, c)
		}
	}
	r.status.Conditions = out
}

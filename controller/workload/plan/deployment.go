package plan

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DeploymentChanges is what one pass over a Deployment does, in this order.
type DeploymentChanges struct {
	Adopt   []*appsv1.ReplicaSet // matching orphans that become ours
	Release []*appsv1.ReplicaSet // ours whose labels no longer match
	Create  *appsv1.ReplicaSet   // the ReplicaSet of the present template
	Update  []ReplicaSetUpdate   // scale up, then scale down, then annotations
	Delete  []*appsv1.ReplicaSet // beyond revisionHistoryLimit

	// Revision is what the Deployment's annotation
	// deployment.kubernetes.io/revision must say; empty leaves it alone.
	Revision string
	// Status is the whole status to write if it differs.
	Status appsv1.DeploymentStatus
	// Recheck is the time until the progress deadline; 0 means nothing changes
	// by time alone.
	Recheck time.Duration
}

// ReplicaSetUpdate is a ReplicaSet as it should be, and the size it had.
type ReplicaSetUpdate struct {
	Set  *appsv1.ReplicaSet
	From int32
}

// Deployment compares d with sets (those it controls and the orphans of its
// namespace; others are ignored). pods are the pods of those sets, and are only
// looked at for strategy Recreate (rule D35).
func Deployment(d *appsv1.Deployment, sets []*appsv1.ReplicaSet, pods []*corev1.Pod, now time.Time) (DeploymentChanges, error) {
	selector, err := metav1.LabelSelectorAsSelector(d.Spec.Selector)
	if err != nil {
		return DeploymentChanges{}, fmt.Errorf("deployment %s/%s: spec.selector: %w", d.Namespace, d.Name, err)
	}
	var plan DeploymentChanges
	var owned []*appsv1.ReplicaSet
	for _, rs := range sets {
		switch claim(d, selector, rs) {
		case keep:
			owned = append(owned, rs)
		case adopt:
			plan.Adopt = append(plan.Adopt, rs)
			owned = append(owned, rs)
		case release:
			plan.Release = append(plan.Release, rs)
		case ignore:
		}
	}
	r := newRollout(d, owned, now)
	if d.DeletionTimestamp == nil {
		r.run(&plan, pods)
	}
	plan.Update = r.updates()
	plan.Status = r.finish()
	plan.Recheck = r.recheck()
	return plan, nil
}

// run decides what happens in this pass and records it in the rollout's working
// copies and in plan.
func (r *rollout) run(plan *DeploymentChanges, pods []*corev1.Pod) {
	r.notePause()
	plan.Revision = r.syncRevision()
	recreate := r.d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType
	switch {
	case r.d.Spec.Paused:
		r.rescale()
		plan.Delete = r.history()
		return
	case !recreate && r.resized():
		r.rescale()
		return
	case recreate && !r.recreate(pods):
	case r.current == nil:
		plan.Create = r.newReplicaSet()
		plan.Revision = plan.Create.Annotations[RevisionKey]
	default:
		r.roll()
	}
	r.noteProgress(plan.Create)
	if r.complete() {
		plan.Delete = r.history()
	}
}

// rollout is a Deployment with working copies of its ReplicaSets. Deciding
// changes the copies; what differs from the originals at the end is the plan.
type rollout struct {
	d   *appsv1.Deployment
	now time.Time

	current  *appsv1.ReplicaSet   // of the present template; nil before its creation
	olds     []*appsv1.ReplicaSet // the others, oldest first
	original map[*appsv1.ReplicaSet]*appsv1.ReplicaSet

	replicas       int32 // wanted
	maxSurge       int32 // pods allowed above replicas
	maxUnavailable int32 // pods allowed to be missing below replicas

	status appsv1.DeploymentStatus
}

func newRollout(d *appsv1.Deployment, owned []*appsv1.ReplicaSet, now time.Time) *rollout {
	r := &rollout{d: d, now: now, replicas: 1, original: map[*appsv1.ReplicaSet]*appsv1.ReplicaSet{}}
	if d.Spec.Replicas != nil {
		r.replicas = *d.Spec.Replicas
	}
	r.maxSurge, r.maxUnavailable = limits(d, r.replicas)
	for _, rs := range byAge(owned) {
		work := rs.DeepCopy()
		r.original[work] = rs
		if r.current == nil && SameTemplate(&work.Spec.Template, &d.Spec.Template) {
			r.current = work
		} else {
			r.olds = append(r.olds, work)
		}
	}
	r.status = r.count()
	return r
}

// byAge returns sets oldest first; equal ages by name. The oldest set with the
// present template is the one that is kept when there are several.
func byAge(sets []*appsv1.ReplicaSet) []*appsv1.ReplicaSet {
	out := slices.Clone(sets)
	slices.SortFunc(out, func(a, b *appsv1.ReplicaSet) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// all are the working copies, the current one first.
func (r *rollout) all() []*appsv1.ReplicaSet {
	if r.current == nil {
		return r.olds
	}
	return append([]*appsv1.ReplicaSet{r.current}, r.olds...)
}

// updates lists the copies that differ from their originals: growing sets first,
// so that a failure half-way leaves more pods rather than fewer.
func (r *rollout) updates() []ReplicaSetUpdate {
	var grow, rest []ReplicaSetUpdate
	for _, rs := range r.all() {
		was := r.original[rs]
		u := ReplicaSetUpdate{Set: rs, From: Replicas(was)}
		switch {
		case Replicas(rs) > u.From:
			grow = append(grow, u)
		case !apiequality.Semantic.DeepEqual(rs, was):
			rest = append(rest, u)
		}
	}
	return append(grow, rest...)
}

// newReplicaSet is the ReplicaSet of the present template (rule D31).
func (r *rollout) newReplicaSet() *appsv1.ReplicaSet {
	hash := templateHash(&r.d.Spec.Template, r.d.Status.CollisionCount)
	template := *r.d.Spec.Template.DeepCopy()
	template.Labels = withLabel(template.Labels, appsv1.DefaultDeploymentUniqueLabelKey, hash)
	selector := r.d.Spec.Selector.DeepCopy()
	selector.MatchLabels = withLabel(selector.MatchLabels, appsv1.DefaultDeploymentUniqueLabelKey, hash)
	rs := &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{
			Name: r.d.Name + "-" + hash, Namespace: r.d.Namespace, Labels: template.Labels,
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(r.d, DeploymentKind)},
		},
		Spec: appsv1.ReplicaSetSpec{
			MinReadySeconds: r.d.Spec.MinReadySeconds, Selector: selector, Template: template,
		},
	}
	rs.Spec.Replicas = new(int32)
	r.annotate(rs, r.nextRevision())
	r.resize(rs, r.room(0))
	return rs
}

func withLabel(labels map[string]string, key, value string) map[string]string {
	out := make(map[string]string, len(labels)+1)
	for k, v := range labels {
		out[k] = v
	}
	out[key] = value
	return out
}

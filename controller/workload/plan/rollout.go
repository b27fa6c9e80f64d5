package plan

import (
	"cmp"
	"math"
	"slices"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"fairlead.dev/fairlead/api"
)

// limits resolves maxSurge (rounded up) and maxUnavailable (rounded down) against
// replicas; both 0 would never move, so then one pod may be missing (rule D30).
// Other strategies than RollingUpdate allow neither.
func limits(d *appsv1.Deployment, replicas int32) (surge, unavailable int32) {
	if d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
		return 0, 0
	}
	quarter := intstr.FromString("25%")
	maxSurge, maxUnavailable := &quarter, &quarter
	if u := d.Spec.Strategy.RollingUpdate; u != nil {
		maxSurge = cmp.Or(u.MaxSurge, maxSurge)
		maxUnavailable = cmp.Or(u.MaxUnavailable, maxUnavailable)
	}
	// Values that validation refuses count as 0.
	up, _ := intstr.GetScaledValueFromIntOrPercent(maxSurge, int(replicas), true)
	down, _ := intstr.GetScaledValueFromIntOrPercent(maxUnavailable, int(replicas), false)
	if up == 0 && down == 0 {
		down = 1
	}
	return int32(up), min(int32(down), replicas)
}

// pods is the number of pods the sets ask for together.
func (r *rollout) pods() int32 {
	var n int32
	for _, rs := range r.all() {
		n += Replicas(rs)
	}
	return n
}

// availableOf is how many pods of rs are known to be available and wanted: the
// status may still count pods that a smaller size has given up.
func availableOf(rs *appsv1.ReplicaSet) int32 {
	return min(rs.Status.AvailableReplicas, Replicas(rs))
}

// resize sets a working copy's size and the annotations from which a later
// proportional scaling starts.
func (r *rollout) resize(rs *appsv1.ReplicaSet, n int32) {
	rs.Spec.Replicas = &n
	metav1.SetMetaDataAnnotation(&rs.ObjectMeta, desiredKey, strconv.Itoa(int(r.replicas)))
	metav1.SetMetaDataAnnotation(&rs.ObjectMeta, maxKey, strconv.Itoa(int(r.replicas+r.maxSurge)))
}

// room is the size the current set, now of size has, may grow to (it never
// shrinks here). Pods that a smaller set has not given up yet still take room, so
// that maxSurge holds for pods and not only for sizes.
func (r *rollout) room(has int32) int32 {
	if r.d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
		return r.replicas
	}
	free := r.replicas + r.maxSurge
	for _, rs := range r.all() {
		free -= max(Replicas(rs), rs.Status.Replicas)
	}
	return has + max(0, min(free, r.replicas-has))
}

// roll moves pods from the old sets to the current one within maxSurge and
// maxUnavailable (rule D30, deployment controller upstream).
func (r *rollout) roll() {
	switch has := Replicas(r.current); {
	case has > r.replicas:
		r.resize(r.current, r.replicas)
	case has < r.replicas:
		if want := r.room(has); want != has {
			r.resize(r.current, want)
		}
	}
	if !r.observed() {
		return
	}
	needed := r.replicas - r.maxUnavailable
	missing := Replicas(r.current) - availableOf(r.current)
	spare := r.pods() - needed - missing
	if spare <= 0 {
		return
	}
	spare -= r.dropUnavailable(spare)
	r.dropAvailable(min(spare, r.available()-needed))
}

// observed reports whether every set's status answers to its present size. Until
// then a status may count pods that are already given up, and taking away more
// would break maxUnavailable.
func (r *rollout) observed() bool {
	for _, rs := range r.all() {
		if rs.Status.ObservedGeneration < rs.Generation {
			return false
		}
	}
	return true
}

// available is the number of pods available over all sets.
func (r *rollout) available() int32 {
	var n int32
	for _, rs := range r.all() {
		n += availableOf(rs)
	}
	return n
}

// dropUnavailable shrinks old sets, oldest first, by pods that serve nobody
// anyway, so that a broken old revision does not hold up the new one. It returns
// how many of at most n it dropped.
func (r *rollout) dropUnavailable(n int32) int32 {
	var dropped int32
	for _, rs := range r.olds {
		size := Replicas(rs)
		if k := min(n-dropped, size-availableOf(rs)); k > 0 {
			r.resize(rs, size-k)
			dropped += k
		}
	}
	return dropped
}

// dropAvailable shrinks old sets, oldest first, by at most n pods.
func (r *rollout) dropAvailable(n int32) {
	for _, rs := range r.olds {
		size := Replicas(rs)
		if k := min(n, size); k > 0 {
			r.resize(rs, size-k)
			n -= k
		}
	}
}

// recreate shrinks all old sets to nothing and reports whether all their pods,
// also the terminating ones, are gone (rule D35).
func (r *rollout) recreate(pods []*corev1.Pod) bool {
	gone := true
	for _, rs := range r.olds {
		if Replicas(rs) > 0 {
			r.resize(rs, 0)
			gone = false
		}
		for _, p := range pods {
			if metav1.IsControlledBy(p, rs) && !api.Finished(p) {
				gone = false
			}
		}
	}
	return gone
}

// resized reports whether spec.replicas changed since the sets got their sizes.
func (r *rollout) resized() bool {
	for _, rs := range r.all() {
		if Replicas(rs) == 0 {
			continue
		}
		if desired, ok := annotationInt(rs, desiredKey); ok && desired != r.replicas {
			return true
		}
	}
	return false
}

// rescale applies a new spec.replicas (rule D32). One set with pods simply takes
// it; when the current set already has everything the old ones go; in the middle
// of a rolling update every set grows or shrinks in proportion to its size.
func (r *rollout) rescale() {
	active := slices.DeleteFunc(slices.Clone(r.all()), func(rs *appsv1.ReplicaSet) bool { return Replicas(rs) == 0 })
	if len(active) <= 1 {
		one := r.current
		if len(active) == 1 {
			one = active[0]
		} else if one == nil && len(r.olds) > 0 {
			one = r.olds[len(r.olds)-1]
		}
		if one != nil {
			r.resize(one, r.replicas)
		}
		return
	}
	if c := r.current; c != nil && Replicas(c) == r.replicas && c.Status.AvailableReplicas == r.replicas {
		for _, rs := range active {
			if rs != c {
				r.resize(rs, 0)
			}
		}
		r.resize(c, r.replicas)
		return
	}
	if r.d.Spec.Strategy.Type != appsv1.RecreateDeploymentStrategyType {
		r.proportion(active)
	}
}

// proportion shares the pods to add or remove among the active sets by size; the
// largest takes what rounding leaves. Growing favours younger sets, shrinking
// takes from older ones first.
func (r *rollout) proportion(active []*appsv1.ReplicaSet) {
	allowed := r.replicas + r.maxSurge
	if r.replicas == 0 {
		allowed = 0
	}
	change := allowed - r.pods()
	slices.SortStableFunc(active, func(a, b *appsv1.ReplicaSet) int {
		age := a.CreationTimestamp.Compare(b.CreationTimestamp.Time)
		if change > 0 {
			age = -age
		}
		return cmp.Or(cmp.Compare(Replicas(b), Replicas(a)), age)
	})
	sizes := make([]int32, len(active))
	left := change
	for i, rs := range active {
		share := r.share(rs)
		if change > 0 {
			share = max(0, min(share, left))
		} else {
			share = min(0, max(share, left))
		}
		sizes[i] = Replicas(rs) + share
		left -= share
	}
	sizes[0] = max(0, sizes[0]+left)
	for i, rs := range active {
		r.resize(rs, sizes[i])
	}
}

// share is how much rs would change if all sets kept their part of the whole.
func (r *rollout) share(rs *appsv1.ReplicaSet) int32 {
	size := Replicas(rs)
	if r.replicas == 0 {
		return -size
	}
	before, ok := annotationInt(rs, maxKey)
	if !ok || before == 0 {
		before = max(r.d.Status.Replicas, 1)
	}
	scaled := float64(size) * float64(r.replicas+r.maxSurge) / float64(before)
	return int32(math.Round(scaled)) - size
}

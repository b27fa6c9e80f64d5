package plan

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
)

// world is a Deployment, its ReplicaSets and their pods, driven only by plans and
// by pods that become ready and go.
type world struct {
	t    *testing.T
	rand *rand.Rand
	d    *appsv1.Deployment
	sets []*appsv1.ReplicaSet
	pods []*corev1.Pod
	now  time.Time
	seq  int
}

func (w *world) planDeployment() {
	plan, err := Deployment(w.d, w.sets, w.pods, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	if plan.Create != nil {
		w.seq++
		rs := plan.Create.DeepCopy()
		rs.UID, rs.Generation = types.UID(fmt.Sprint("rs", w.seq)), 1
		rs.CreationTimestamp.Time = w.now
		w.sets = append(w.sets, rs)
	}
	for _, u := range plan.Update {
		for i, rs := range w.sets {
			if rs.UID == u.Set.UID {
				w.sets[i] = u.Set.DeepCopy()
				w.sets[i].Generation++
			}
		}
	}
	for _, gone := range plan.Delete {
		for i, rs := range w.sets {
			if rs.UID == gone.UID {
				w.sets = append(w.sets[:i:i], w.sets[i+1:]...)
				break
			}
		}
	}
	w.d.Status = plan.Status
	if plan.Revision != "" {
		w.d.Annotations = map[string]string{RevisionKey: plan.Revision}
	}
}

func (w *world) planSet(i int) {
	rs := w.sets[i]
	plan, err := ReplicaSet(rs, w.pods, w.pods, w.now)
	if err != nil {
		w.t.Fatal(err)
	}
	for range plan.Create {
		w.seq++
		p := NewPod(rs)
		p.Name = fmt.Sprint("p", w.seq)
		p.UID = types.UID(p.Name)
		p.CreationTimestamp.Time = w.now
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse}}
		w.pods = append(w.pods, p)
	}
	for _, p := range plan.Delete {
		p.DeletionTimestamp = ptr(at(1))
	}
	if plan, err = ReplicaSet(rs, w.pods, w.pods, w.now); err != nil { // as the loop does
		w.t.Fatal(err)
	}
	rs = rs.DeepCopy()
	rs.Status = plan.Status
	w.sets[i] = rs
}

// step lets something random happen.
func (w *world) step() {
	w.now = w.now.Add(time.Second)
	switch k := w.rand.IntN(10); {
	case k < 3:
		w.planDeployment()
	case k < 6 && len(w.sets) > 0:
		w.planSet(w.rand.IntN(len(w.sets)))
	case k < 9 && len(w.pods) > 0:
		i := w.rand.IntN(len(w.pods))
		p := w.pods[i]
		if p.DeletionTimestamp != nil {
			w.pods = append(w.pods[:i:i], w.pods[i+1:]...)
			return
		}
		p.Spec.NodeName, p.Status.Phase = fmt.Sprint("n", w.rand.IntN(3)), corev1.PodRunning
		p.Status.Conditions[0].Status = corev1.ConditionTrue
		p.Status.Conditions[0].LastTransitionTime.Time = w.now
		for i, rs := range w.sets { // the status follows at once, as events do
			if ref := p.OwnerReferences[0]; ref.UID == rs.UID {
				w.planSet(i)
			}
		}
	}
}

func (w *world) counts() (active_, available int32) {
	for _, p := range w.pods {
		if !active(p) {
			continue
		}
		active_++
		if api.PodReady(p) {
			available++
		}
	}
	return active_, available
}

// settle runs until the rollout is complete.
func (w *world) settle(check func()) {
	for range 5000 {
		w.step()
		check()
		if r := newRollout(w.d, w.sets, w.now); r.complete() && r.pods() == r.replicas && w.d.Status.UpdatedReplicas == r.replicas {
			return
		}
	}
	w.t.Fatalf("does not converge: %+v, %d sets, %d pods", w.d.Status, len(w.sets), len(w.pods))
}

// Whatever the order of events, a rollout ends, and on its way there are never more
// pods than replicas + maxSurge nor fewer available than replicas - maxUnavailable
// (rules D30, D40), also when the template changes in the middle of it.
func TestD40_RolloutStaysWithinLimits(t *testing.T) {
	for seed := range uint64(60) {
		w := &world{t: t, rand: rand.New(rand.NewPCG(seed, 1)), now: epoch}
		n := int32(w.rand.IntN(8) + 1)
		w.d = deployment(n, "v0")
		strategy(w.d, fmt.Sprint(w.rand.IntN(4)), fmt.Sprint(w.rand.IntN(4)))
		w.settle(func() {})
		surge, unavailable := limits(w.d, n)
		for v := range 3 {
			w.d.Spec.Template.Spec.Containers[0].Image = fmt.Sprintf("v%d", w.rand.IntN(4))
			w.d.Generation++
			check := func() {
				if pods, available := w.counts(); pods > n+surge || available < n-unavailable {
					t.Fatalf("seed %d, update %d: %d pods, %d available; replicas %d, surge %d, unavailable %d", seed, v, pods, available, n, surge, unavailable)
				}
			}
			for range w.rand.IntN(60) {
				w.step()
				check()
			}
			if w.rand.IntN(2) == 0 {
				w.settle(check)
			}
		}
		w.settle(func() {})
	}
}

// Scaling at any time, also in the middle of an update, converges to the last wish.
func TestD32_ScalingConverges(t *testing.T) {
	for seed := range uint64(60) {
		w := &world{t: t, rand: rand.New(rand.NewPCG(seed, 2)), now: epoch}
		w.d = deployment(3, "v0")
		if w.rand.IntN(4) == 0 {
			w.d.Spec.Strategy = appsv1.DeploymentStrategy{Type: appsv1.RecreateDeploymentStrategyType}
		}
		for range 6 {
			w.d.Spec.Replicas = ptr(int32(w.rand.IntN(10)))
			w.d.Spec.Template.Spec.Containers[0].Image = fmt.Sprintf("v%d", w.rand.IntN(3))
			w.d.Generation++
			for range w.rand.IntN(80) {
				w.step()
			}
		}
		w.settle(func() {})
		if pods, available := w.counts(); pods != *w.d.Spec.Replicas || available != pods {
			t.Fatalf("seed %d: %d pods, %d available, want %d", seed, pods, available, *w.d.Spec.Replicas)
		}
	}
}

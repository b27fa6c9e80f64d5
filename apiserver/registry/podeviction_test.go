package registry_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// runningPod makes a pod of the application "web" that runs, ready or not.
func (s *server) runningPod(t *testing.T, name string, ready corev1.ConditionStatus) {
	t.Helper()
	pod := s.pod(t, name, "nodeName: n1, containers: [{name: a, image: x}]")
	pod.Labels = map[string]string{"app": "web"}
	pod, err := s.CoreV1().Pods("default").Update(t.Context(), pod, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod.Status.Phase = corev1.PodRunning
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready}}
	if _, err := s.CoreV1().Pods("default").UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// budget makes one of the application "web" as its controller would leave it.
func (s *server) budget(t *testing.T, name string, change func(*policyv1.PodDisruptionBudget)) {
	t.Helper()
	b := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"}, Spec: policyv1.PodDisruptionBudgetSpec{
		MinAvailable: &intstr.IntOrString{IntVal: 1}, Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
	}}
	b.Status = policyv1.PodDisruptionBudgetStatus{ObservedGeneration: 1, DesiredHealthy: 1, CurrentHealthy: 1, ExpectedPods: 1}
	change(b)
	status := b.Status
	b, err := s.PolicyV1().PodDisruptionBudgets("default").Create(t.Context(), b, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b.Status = status
	if _, err := s.PolicyV1().PodDisruptionBudgets("default").UpdateStatus(t.Context(), b, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func (s *server) evict(t *testing.T, name string, options *metav1.DeleteOptions) error {
	return s.PolicyV1().Evictions("default").Evict(t.Context(), &policyv1.Eviction{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"}, DeleteOptions: options,
	})
}

// TestD12_EvictionHeedsBudgets: a budget that allows nothing keeps a ready pod, in upstream's words; one that allows something is
// charged for it.
func TestD12_EvictionHeedsBudgets(t *testing.T) {
	always := policyv1.AlwaysAllow
	for _, test := range []struct {
		name   string
		ready  corev1.ConditionStatus
		budget func(*policyv1.PodDisruptionBudget)
		want   string // in the answer; "": evicted
	}{
		{"nothing allowed", "True", func(*policyv1.PodDisruptionBudget) {}, "The disruption budget b needs 1 healthy pods and has 1 currently"},
		{"not seen yet", "True", func(b *policyv1.PodDisruptionBudget) {
			b.Status.ObservedGeneration = 0
			b.Status.DisruptionsAllowed = 1
		}, "The disruption budget b is still being processed by the server."},
		{"not counted", "True", func(b *policyv1.PodDisruptionBudget) {
			b.Status.Conditions = []metav1.Condition{{Type: policyv1.DisruptionAllowedCondition, Status: "False", Reason: policyv1.SyncFailedReason, Message: "because", LastTransitionTime: metav1.Now()}}
		}, "The disruption budget b does not allow evicting pods currently because it failed sync: because"},
		{"allowed", "True", func(b *policyv1.PodDisruptionBudget) { b.Status.DisruptionsAllowed = 1 }, ""},
		{"of others", "True", func(b *policyv1.PodDisruptionBudget) { b.Spec.Selector.MatchLabels["app"] = "other" }, ""},
		{"unhealthy, and too few are", "False", func(b *policyv1.PodDisruptionBudget) { b.Status.CurrentHealthy = 0 }, "The disruption budget b needs 1 healthy pods and has 0 currently"},
		{"unhealthy, and enough are", "False", func(*policyv1.PodDisruptionBudget) {}, ""},
		{"unhealthy, always", "False", func(b *policyv1.PodDisruptionBudget) {
			b.Status.CurrentHealthy, b.Spec.UnhealthyPodEvictionPolicy = 0, &always
		}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := start(t)
			s.runningPod(t, "a", test.ready)
			s.budget(t, "b", test.budget)
			err := s.evict(t, "a", nil)
			if test.want == "" && err != nil || test.want != "" && !apierrors.IsTooManyRequests(err) {
				t.Fatalf("%v", err)
			}
			if status, ok := err.(apierrors.APIStatus); ok && !strings.Contains(fmt.Sprint(status.Status().Details.Causes), test.want) {
				t.Errorf("%+v, want %s", status.Status(), test.want)
			}
		})
	}
}

// TestD12_EvictionsSpendABudgetOnce: of many at once as many are let through as the budget allows, and a trial spends nothing.
func TestD12_EvictionsSpendABudgetOnce(t *testing.T) {
	s := start(t)
	const pods, allowed = 8, 3
	for i := range pods {
		s.runningPod(t, fmt.Sprint("a", i), "True")
	}
	s.budget(t, "b", func(b *policyv1.PodDisruptionBudget) { b.Status.DisruptionsAllowed = allowed })
	if err := s.evict(t, "a0", &metav1.DeleteOptions{DryRun: []string{"All"}}); err != nil {
		t.Fatal(err)
	}
	other, stale := types.UID("other"), "1"
	for _, only := range []metav1.Preconditions{{UID: &other}, {ResourceVersion: &stale}} {
		s.allow(t, allowed)
		if err := s.evict(t, "a0", &metav1.DeleteOptions{Preconditions: &only}); !apierrors.IsConflict(err) {
			t.Errorf("%+v: %v", only, err)
		}
	}
	s.allow(t, allowed)
	var group sync.WaitGroup
	var gone atomic.Int32
	for i := range pods {
		group.Go(func() {
			if err := s.evict(t, fmt.Sprint("a", i), nil); err == nil {
				gone.Add(1)
			} else if !apierrors.IsTooManyRequests(err) {
				t.Error(err)
			}
		})
	}
	group.Wait()
	b, err := s.PolicyV1().PodDisruptionBudgets("default").Get(t.Context(), "b", metav1.GetOptions{})
	if err != nil || gone.Load() != allowed || b.Status.DisruptionsAllowed != 0 || len(b.Status.DisruptedPods) != allowed {
		t.Errorf("%d evicted of %d allowed, %v: %+v", gone.Load(), allowed, err, b.Status)
	}
	s.runningPod(t, "c", "True")
	s.budget(t, "second", func(b *policyv1.PodDisruptionBudget) {})
	if err := s.evict(t, "c", nil); err == nil || !strings.Contains(err.Error(), "more than one PodDisruptionBudget") {
		t.Error(err)
	}
}

// allow sets what the budget b allows, as its controller does after it has counted.
func (s *server) allow(t *testing.T, allowed int32) {
	t.Helper()
	b, err := s.PolicyV1().PodDisruptionBudgets("default").Get(t.Context(), "b", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b.Status.DisruptionsAllowed, b.Status.DisruptedPods = allowed, nil
	if _, err := s.PolicyV1().PodDisruptionBudgets("default").UpdateStatus(t.Context(), b, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

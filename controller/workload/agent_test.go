package workload_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"

	"fairlead.dev/fairlead/controller/workload"
	"fairlead.dev/fairlead/internal/apitest"
	"fairlead.dev/fairlead/kube"
)

// controllers starts the controllers with caches of their own.
func controllers(t *testing.T, client kubernetes.Interface) (stop func()) {
	t.Helper()
	shared := informers.NewSharedInformerFactory(client, 0)
	return apitest.Control(t, shared, workload.New(client, shared, slog.New(slog.DiscardHandler)).Run)
}

// agent plays the nodes of one namespace: pods become ready, terminating pods go.
type agent struct {
	t         *testing.T
	client    kubernetes.Interface
	namespace string

	mu     sync.Mutex // guards below
	pods   map[types.UID]*corev1.Pod
	made   int  // pods ever seen
	frozen bool // pods do not become ready
	most   int  // the largest number of pods alive at once
	fewest int  // the smallest number of ready pods
}

func newAgent(t *testing.T, client kubernetes.Interface, namespace string) *agent {
	t.Helper()
	a := &agent{t: t, client: client, namespace: namespace, pods: map[types.UID]*corev1.Pod{}}
	shared := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithNamespace(namespace))
	var work sync.WaitGroup
	kube.Watch(shared.Core().V1().Pods().Informer(), func(old, p *corev1.Pod, _ bool) {
		if p == nil {
			a.note(old, true)
			return
		}
		a.note(p, false)
		work.Go(func() { a.serve(p) })
	})
	t.Cleanup(work.Wait) // after the informer has ended
	apitest.Control(t, shared)
	return a
}

// note keeps the counts.
func (a *agent) note(p *corev1.Pod, gone bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, known := a.pods[p.UID]; !known {
		a.made++
	}
	a.pods[p.UID] = p
	if gone {
		a.pods[p.UID] = nil
	}
	alive, ready := a.count()
	a.most, a.fewest = max(a.most, alive), min(a.fewest, ready)
}

func (a *agent) count() (alive, ready int) {
	for _, p := range a.pods {
		if p == nil || p.DeletionTimestamp != nil {
			continue
		}
		alive++
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
				ready++
			}
		}
	}
	return alive, ready
}

// begin starts a new observation and returns the number of pods made so far.
func (a *agent) begin() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.most, a.fewest = a.count()
	return a.made
}

func (a *agent) observed() (made, most, fewest int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.made, a.most, a.fewest
}

func (a *agent) freeze(frozen bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.frozen = frozen
}

// serve does for the pod what a node would.
func (a *agent) serve(p *corev1.Pod) {
	a.mu.Lock()
	frozen := a.frozen
	a.mu.Unlock()
	now := int64(0)
	pods := a.client.CoreV1().Pods(p.Namespace)
	var err error
	switch {
	case p.DeletionTimestamp != nil:
		err = pods.Delete(context.Background(), p.Name, metav1.DeleteOptions{GracePeriodSeconds: &now, Preconditions: metav1.NewUIDPreconditions(string(p.UID))})
	case p.Spec.NodeName == "": // bound pods are deleted with grace, as rule D22 needs
		err = pods.Bind(context.Background(), &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Name: p.Name, Namespace: p.Namespace, UID: p.UID},
			Target:     corev1.ObjectReference{Kind: "Node", Name: "node1"},
		}, metav1.CreateOptions{})
	case p.Status.Phase != corev1.PodRunning && !frozen:
		patch, merr := json.Marshal(map[string]any{"status": map[string]any{"phase": corev1.PodRunning, "conditions": []corev1.PodCondition{
			{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()},
		}}})
		if merr != nil {
			a.t.Error(merr)
			return
		}
		_, err = pods.Patch(context.Background(), p.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	}
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		a.t.Errorf("agent: %v", err)
	}
}

// rolledOut says what keeps the Deployment from being complete, as kubectl rollout
// status decides it (rule D38).
func rolledOut(t *testing.T, client kubernetes.Interface, namespace, name string) string {
	d, err := client.AppsV1().Deployments(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s, want := d.Status, *d.Spec.Replicas
	progress := ""
	for _, c := range s.Conditions {
		if c.Type == appsv1.DeploymentProgressing {
			progress = c.Reason
		}
	}
	if s.ObservedGeneration < d.Generation || s.UpdatedReplicas != want || s.Replicas != want || s.AvailableReplicas != want || progress != "NewReplicaSetAvailable" {
		return fmt.Sprintf("deployment %s: generation %d, want %d replicas, status %+v", name, d.Generation, want, s)
	}
	return ""
}

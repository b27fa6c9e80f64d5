package world_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"fairlead.dev/fairlead/internal/apitest"
	"fairlead.dev/fairlead/network/world"
)

// TestRun follows a real API server: what is there at the start, what comes,
// changes and goes, and what went while the World was not watching.
func TestRun(t *testing.T) {
	client, err := kubernetes.NewForConfig(apitest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	services := client.CoreV1().Services("default")
	create := func(name string) {
		t.Helper()
		s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{corev1.LastAppliedConfigAnnotation: "{}", "kept": "yes"}},
			Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}
		if _, err := services.Create(ctx, s, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		e := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: name + "-1", Labels: map[string]string{discoveryv1.LabelServiceName: name}},
			AddressType: discoveryv1.AddressTypeIPv4, Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.244.1.2"}}}}
		if _, err := client.DiscoveryV1().EndpointSlices("default").Create(ctx, e, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(name string) {
		t.Helper()
		if err := services.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	create("before")

	w := world.New()
	subscription := w.Subscribe(world.Services)
	stop := run(t, w, client)
	select {
	case <-w.Synced():
	case <-time.After(20 * time.Second):
		t.Fatal("not synced")
	}
	svc, slices := w.Service(types.NamespacedName{Namespace: "default", Name: "before"})
	if svc == nil || len(slices) != 1 {
		t.Fatalf("synced without what was there: %v %v", svc, slices)
	}
	if svc.ManagedFields != nil || len(svc.Annotations) != 1 {
		t.Errorf("kept for nothing: %v %v", svc.ManagedFields, svc.Annotations)
	}
	if !w.HasNamespace("default") || w.HasNamespace("nowhere") {
		t.Error("namespaces are wrong")
	}
	follow := func(what string, ok func() bool) {
		t.Helper()
		ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		for !ok() {
			if _, err := subscription.Next(ctx); err != nil {
				t.Fatalf("waited in vain for %s", what)
			}
		}
	}
	has := func(name string) bool {
		s, slices := w.Service(types.NamespacedName{Namespace: "default", Name: name})
		return s != nil && len(slices) == 1
	}
	for i := range 10 {
		create(fmt.Sprint("s", i))
	}
	follow("ten Services", func() bool { return len(w.Services()) >= 11 && has("s9") })
	remove("s3")
	follow("s3 to go", func() bool { return !has("s3") })

	stop()
	remove("s4")
	create("after")
	stop = run(t, w, client)
	defer stop()
	follow("what happened meanwhile", func() bool { return !has("s4") && has("after") })
}

// run starts the World's watches and returns a function that ends them.
func run(t *testing.T, w *world.World, client kubernetes.Interface) func() {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx, client) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
}

// TestFollow: a World that follows some kinds is complete without the others.
func TestFollow(t *testing.T) {
	client, err := kubernetes.NewForConfig(apitest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	w := world.New()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Follow(ctx, client, world.Services, world.EndpointSlices) }()
	select {
	case <-w.Synced():
	case <-time.After(20 * time.Second):
		t.Fatal("not synced")
	}
	if svc, slices := w.Service(types.NamespacedName{Namespace: "default", Name: "kubernetes"}); svc == nil || len(slices) != 1 {
		t.Errorf("the API's own Service: %v %v", svc, slices)
	}
	if w.HasNamespace("default") || len(w.Nodes()) != 0 {
		t.Error("kinds that are not followed are there")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

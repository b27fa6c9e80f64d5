package endpoints

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/controller/endpoints/sample"
)

func key(namespace, name string) types.NamespacedName {
	return types.NamespacedName{Namespace: namespace, Name: name}
}

func TestE2_NoSelectorMatchesNoPod(t *testing.T) {
	pod := sample.Pod("a", "10.0.0.1")
	pods := informers.NewSharedInformerFactory(nil, 0).Core().V1().Pods().Informer()
	slices := informers.NewSharedInformerFactory(nil, 0).Discovery().V1().EndpointSlices().Informer()
	if err := Index(pods, slices); err != nil {
		t.Fatal(err)
	}
	if err := pods.GetStore().Add(pod); err != nil {
		t.Fatal(err)
	}
	var s Selectors
	s.Set(key("default", "web"), map[string]string{"app": "web"})
	for _, none := range []map[string]string{nil, {}} {
		if api.Selects(sample.Service(func(s *corev1.Service) { s.Spec.Selector = none })) {
			t.Errorf("a Service with the selector %#v selects", none)
		}
		if got := Pods(pods.GetIndexer(), "default", none); len(got) != 0 {
			t.Errorf("%#v: %d pods", none, len(got))
		}
		s.Set(key("default", "web"), none) // it had one
		if got := s.Matching("default", pod.Labels); len(got) != 0 {
			t.Errorf("%#v: the pod belongs to %v", none, got)
		}
		if len(s.namespaces) != 0 {
			t.Errorf("%#v: the Service stays in the index", none)
		}
	}
}

// The index agrees with asking every Service, whatever was set and removed before.
func TestSelectorsAgreeWithAScan(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	labels := func(n int) map[string]string {
		m := map[string]string{}
		for range n {
			m[fmt.Sprint("k", random.IntN(4))] = fmt.Sprint("v", random.IntN(3))
		}
		return m
	}
	var s Selectors
	all := map[types.NamespacedName]map[string]string{}
	for step := range 3000 {
		k := key(fmt.Sprint("ns", random.IntN(2)), fmt.Sprint("svc", random.IntN(20)))
		if selector := labels(random.IntN(4)); len(selector) > 0 {
			s.Set(k, selector)
			all[k] = selector
		} else {
			s.Set(k, nil)
			delete(all, k)
		}
		namespace, pod := fmt.Sprint("ns", random.IntN(2)), labels(4)
		var want []string
		for k, selector := range all {
			if k.Namespace == namespace && api.Matches(selector, pod) {
				want = append(want, k.Name)
			}
		}
		slices.Sort(want)
		if got := slices.Sorted(maps.Keys(s.Matching(namespace, pod))); !slices.Equal(got, want) {
			t.Fatalf("step %d: pod %v: got %v, want %v", step, pod, got, want)
		}
	}
	for k := range all {
		s.Set(k, nil)
	}
	if len(s.namespaces) != 0 {
		t.Errorf("%d namespaces are left", len(s.namespaces))
	}
}

// A pod event looks only at the Services that are filed under one of the pod's labels.
func TestSelectorsAreFiledUnderTheRarestLabel(t *testing.T) {
	var s Selectors
	for i := range 1000 {
		s.Set(key("a", fmt.Sprint("svc", i)), map[string]string{"app": "shop", "component": fmt.Sprint(i)})
	}
	common := len(s.namespaces["a"].byPair[label{"app", "shop"}])
	if common > 1 {
		t.Errorf("%d of 1000 Services are filed under the label they all share", common)
	}
}

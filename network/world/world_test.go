package world

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

func service(name string) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
}

func endpointSlice(name, of string) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
		Namespace: "default", Name: name,
		Labels: map[string]string{discoveryv1.LabelServiceName: of},
	}}
}

func names(s []*discoveryv1.EndpointSlice) string {
	out := ""
	for _, x := range s {
		out += x.Name + " "
	}
	return out
}

func TestSlicesAreFiledUnderTheirService(t *testing.T) {
	w := New()
	web := types.NamespacedName{Namespace: "default", Name: "web"}
	w.Put(endpointSlice("b", "web"))
	w.Put(endpointSlice("a", "web"))
	if s, sl := w.Service(web); s != nil || names(sl) != "a b " {
		t.Errorf("slices without Service: %v, %q", s, names(sl))
	}
	if got := w.Services(); len(got) != 0 {
		t.Errorf("Services lists %v though only slices exist", got)
	}
	w.Put(service("web"))
	w.Put(endpointSlice("c", "web"))
	_, before := w.Service(web)
	w.Put(endpointSlice("b", "api")) // moves
	if _, sl := w.Service(web); names(sl) != "a c " {
		t.Errorf("after b moved: %q", names(sl))
	}
	if names(before) != "a b c " {
		t.Errorf("a reader's slices changed under it: %q", names(before))
	}
	if _, sl := w.Service(types.NamespacedName{Namespace: "default", Name: "api"}); names(sl) != "b " {
		t.Errorf("b was not filed under its new Service: %q", names(sl))
	}
	w.Delete(service("web"))
	w.Delete(endpointSlice("a", "web"))
	w.Delete(endpointSlice("c", "web"))
	if len(w.services.objects) != 0 || len(w.slices.objects) != 1 || len(w.slices.filed) != 1 {
		t.Errorf("empty entries stay: %v %v %v", w.services.objects, w.slices.objects, w.slices.filed)
	}
}

func TestSubscriptionCoalesces(t *testing.T) {
	w := New()
	w.Put(service("before"))
	s := w.Subscribe(Services, Namespaces, Nodes)
	defer s.Close()
	for range 100 {
		w.Put(service("web"))
		w.Put(endpointSlice("web-1", "web"))
	}
	w.Put(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default"}})
	c, err := s.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Of(Services)) != 2 || len(c.Of(Namespaces)) != 1 || len(c.Of(Nodes)) != 0 {
		t.Errorf("got %v, want before and web once each, one namespace, no nodes", c)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if c, err := s.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("nothing changed, yet Next returned %v, %v", c, err)
	}
	w.Delete(endpointSlice("web-1", ""))
	if c, err := s.Next(t.Context()); err != nil || len(c.Of(Services)) != 1 {
		t.Errorf("deleting a slice: %v, %v", c, err)
	}
}

func TestNodeHeartbeatIsNoChange(t *testing.T) {
	w := New()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}, Spec: corev1.NodeSpec{PodCIDR: "10.244.1.0/24"}}
	w.Put(n)
	s := w.Subscribe(Services, Namespaces, Nodes)
	defer s.Close()
	if c := s.Take(); len(c.Of(Nodes)) != 1 {
		t.Error("the first node was not reported")
	}
	beat := n.DeepCopy()
	beat.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	w.Put(beat)
	if c := s.Take(); len(c.Of(Nodes)) != 0 {
		t.Error("a heartbeat was reported as a change")
	}
	if w.Node("n1") != beat {
		t.Error("the newest node object is not the one kept")
	}
	moved := beat.DeepCopy()
	moved.Spec.PodCIDR = "10.244.2.0/24"
	w.Put(moved)
	if c := s.Take(); len(c.Of(Nodes)) != 1 {
		t.Error("a new pod CIDR was not reported")
	}
}

// P5: nothing is complete before every kind has been listed once.
func TestP5_SyncedAfterAllLists(t *testing.T) {
	w := New()
	open := func() bool {
		select {
		case <-w.Synced():
			return false
		default:
			return true
		}
	}
	for _, k := range w.all() {
		if !open() {
			t.Fatalf("synced before %s were listed", k)
		}
		w.replace(k, nil, "")
	}
	if open() {
		t.Error("not synced after all lists")
	}
	w.replace(Nodes, nil, "") // a relist must not close it twice
}

// A relist tells readers of what vanished while nobody watched.
func TestReplacePrunes(t *testing.T) {
	w := New()
	w.Put(service("gone"))
	w.Put(service("stays"))
	w.Put(endpointSlice("gone-1", "gone"))
	s := w.Subscribe(Services, Namespaces, Nodes)
	defer s.Close()
	s.Take()
	w.replace(Services, []runtime.Object{service("stays")}, "")
	w.replace(EndpointSlices, nil, "")
	c := s.Take()
	if _, ok := c.Of(Services)[types.NamespacedName{Namespace: "default", Name: "gone"}]; !ok {
		t.Errorf("the vanished Service was not reported: %v", c)
	}
	if got := w.Services(); len(got) != 1 || got[0].Name != "stays" {
		t.Errorf("Services = %v", got)
	}
}

// However puts and deletes interleave, a reader that re-reads what Changes
// names ends with the same picture as one that reads everything.
func TestFollowerConverges(t *testing.T) {
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 1))
	w := New()
	s := w.Subscribe(Services, Namespaces, Nodes)
	defer s.Close()
	seen := map[types.NamespacedName]string{}
	read := func(n types.NamespacedName) string {
		svc, sl := w.Service(n)
		if svc == nil && len(sl) == 0 {
			return ""
		}
		return fmt.Sprint(svc != nil, names(sl))
	}
	follow := func() {
		for n := range s.Take().Of(Services) {
			seen[n] = read(n)
		}
	}
	for range 2000 {
		name, of := fmt.Sprint("s", rnd.IntN(5)), fmt.Sprint("s", rnd.IntN(6)-1)
		switch rnd.IntN(5) {
		case 0:
			w.Put(service(name))
		case 1:
			w.Delete(service(name))
		case 2:
			w.Put(endpointSlice(fmt.Sprint("e", rnd.IntN(9)), of))
		case 3:
			w.Delete(endpointSlice(fmt.Sprint("e", rnd.IntN(9)), of))
		case 4:
			follow()
		}
	}
	follow()
	for i := -1; i < 6; i++ {
		n := types.NamespacedName{Namespace: "default", Name: fmt.Sprint("s", i)}
		if got, want := seen[n], read(n); got != want {
			t.Errorf("seed %d: %s: the follower saw %q, the World holds %q", seed, n, got, want)
		}
	}
}

package world

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"fairlead.dev/fairlead/internal/apitest"
)

// TestShare follows a real API server through informers: no request is made that they would not have made, and the objects are
// those in their caches.
func TestShare(t *testing.T) {
	cfg := apitest.Start(t)
	var mu sync.Mutex
	watches := map[string]int{}
	cfg.Wrap(func(rt http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodGet && r.URL.Query().Get("watch") != "" {
				mu.Lock()
				watches[r.URL.Path]++
				mu.Unlock()
			}
			return rt.RoundTrip(r)
		})
	})
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	services := client.CoreV1().Services("default")
	create := func(name string) {
		t.Helper()
		s := service(name)
		s.Spec.Ports = []corev1.ServicePort{{Port: 80}}
		if _, err := services.Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	create("before")
	shared := informers.NewSharedInformerFactory(client, 0)
	w := New()
	w.Share(shared)
	s := w.Subscribe(Services, Namespaces, Nodes)
	s.EveryRevision()
	store := shared.Core().V1().Services().Informer().GetStore()
	shared.Discovery().V1().EndpointSlices().Informer()
	select {
	case <-w.Synced():
		t.Fatal("synced before the informers were started")
	default:
	}
	shared.Start(t.Context().Done())
	shared.WaitForCacheSync(t.Context().Done())
	<-w.Synced() // what is in the caches is in the World

	is := func(name string) {
		t.Helper()
		var cached any
		for range 1000 { // a cache comes after the World
			cached, _, _ = store.GetByKey("default/" + name)
			if got, _ := w.Service(types.NamespacedName{Namespace: "default", Name: name}); got != nil && any(got) == cached {
				if got.ManagedFields != nil {
					t.Errorf("%s: kept for nothing: %v", name, got.ManagedFields)
				}
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("%s: the World's is not the one in the cache: %v", name, cached)
	}
	is("before")
	create("after")
	is("after")
	if got, slices := w.Service(types.NamespacedName{Namespace: "default", Name: "kubernetes"}); got == nil || len(slices) != 1 || !w.HasNamespace("default") {
		t.Errorf("the API's own Service: %v %v", got, slices)
	}
	if err := services.Delete(t.Context(), "after", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	for got := true; got; {
		<-s.Wake()
		svc, _ := w.Service(types.NamespacedName{Namespace: "default", Name: "after"})
		got = svc != nil
	}
	if s.Take().UpTo[Services] == 0 {
		t.Error("nothing is known of how far the World is")
	}
	mu.Lock()
	defer mu.Unlock()
	if fmt.Sprint(watches) != "map[/api/v1/namespaces:1 /api/v1/nodes:1 /api/v1/services:1 /apis/discovery.k8s.io/v1/endpointslices:1 /apis/fairlead.dev/v1/addresspools:1 /apis/fairlead.dev/v1/bgppeers:1 /apis/networking.k8s.io/v1/ingressclasses:1 /apis/networking.k8s.io/v1/ingresses:1]" {
		t.Errorf("watches: %v", watches)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

// RoundTrip is part of http.RoundTripper.
func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// An informer that was made before would not tell the World of anything.
func TestShareComesFirst(t *testing.T) {
	shared := informers.NewSharedInformerFactory(kubernetes.New(nil), 0)
	shared.Core().V1().Nodes().Informer()
	defer func() {
		if said := fmt.Sprint(recover()); !strings.Contains(said, "informer of nodes") {
			t.Errorf("said %q", said)
		}
	}()
	New().Share(shared)
}

// source is an API server as an informer sees it.
type source struct {
	pages []*corev1.ServiceList
	watch *watch.FakeWatcher
}

func (s *source) listWatch() *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(context.Context, metav1.ListOptions) (runtime.Object, error) {
			if len(s.pages) == 0 {
				return nil, errors.New("no more")
			}
			page := s.pages[0]
			s.pages = s.pages[1:]
			return page, nil
		},
		WatchFuncWithContext: func(context.Context, metav1.ListOptions) (watch.Interface, error) { return s.watch, nil },
	}
}

func at(version string, o *corev1.Service) *corev1.Service {
	o.ResourceVersion = version
	return o
}

func has(w *World) string {
	var names []string
	for _, name := range w.Services() {
		names = append(names, name.Name)
	}
	return strings.Join(names, " ")
}

// A watch that begins with a list: nothing is deleted before the list is complete, and one that breaks off means nothing.
func TestShareTakesAListFromAWatch(t *testing.T) {
	w := New()
	w.Put(at("3", service("old")))
	tee := &tee{world: w, table: w.services}
	begin := func() (*watch.FakeWatcher, watch.Interface) {
		t.Helper()
		from, yes := &source{watch: watch.NewFake()}, true
		to, err := tee.around(from.listWatch()).WatchWithContext(t.Context(), metav1.ListOptions{SendInitialEvents: &yes})
		if err != nil {
			t.Fatal(err)
		}
		return from.watch, to
	}
	step := func(act func(runtime.Object), to watch.Interface, o runtime.Object, want string) {
		t.Helper()
		act(o)
		if e := <-to.ResultChan(); e.Object != o {
			t.Errorf("the informer got %v", e)
		}
		if got := has(w); got != want {
			t.Errorf("the World has %q, want %q", got, want)
		}
	}
	from, to := begin()
	step(from.Add, to, at("5", service("a")), "old")
	from.Stop()
	if e, open := <-to.ResultChan(); open {
		t.Errorf("after the end: %v", e)
	}
	mark := &corev1.Service{ObjectMeta: metav1.ObjectMeta{ResourceVersion: "8", Annotations: map[string]string{metav1.InitialEventsAnnotationKey: "true"}}}
	bookmark := func(o runtime.Object) { from.Action(watch.Bookmark, o) }
	from, to = begin()
	step(from.Add, to, at("6", service("b")), "old")
	step(from.Add, to, at("6", service("c")), "old")
	step(from.Delete, to, at("7", service("c")), "old")
	step(bookmark, to, &corev1.Service{ObjectMeta: metav1.ObjectMeta{ResourceVersion: "7"}}, "old")
	step(bookmark, to, mark, "b")
	if w.upTo[Services] != 8 || w.missing[Services] {
		t.Errorf("after a list: up to %v, missing %v", w.upTo, w.missing)
	}
	step(from.Add, to, at("9", service("d")), "b d")
	step(bookmark, to, mark, "b d")
	step(from.Delete, to, at("10", service("b")), "d")
	step(from.Error, to, &metav1.Status{}, "d")
	if w.upTo[Services] != 10 {
		t.Errorf("after a deletion: up to %v", w.upTo)
	}
}

// An informer that stops in the middle of a change leaves nothing running.
func TestShareStops(t *testing.T) {
	w := New()
	from := &source{watch: watch.NewFake()}
	to, err := (&tee{world: w, table: w.services}).around(from.listWatch()).WatchWithContext(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	from.watch.Add(service("a"))
	for has(w) != "a" { // now it waits for the informer to take it
		time.Sleep(time.Millisecond)
	}
	to.Stop()
	to.Stop()
	for range to.ResultChan() { // it ends, with or without that change
	}
}

// A list in pages counts when its last page is there; one that is begun anew counts from there.
func TestShareTakesPages(t *testing.T) {
	w := New()
	w.Put(service("old"))
	page := func(next string, names ...string) *corev1.ServiceList {
		l := &corev1.ServiceList{ListMeta: metav1.ListMeta{Continue: next, ResourceVersion: "12"}}
		for _, n := range names {
			l.Items = append(l.Items, *service(n))
		}
		return l
	}
	from := &source{pages: []*corev1.ServiceList{page("2", "x"), page("2", "a", "b"), page("", "c")}}
	lw := (&tee{world: w, table: w.services}).around(from.listWatch())
	for i, want := range []string{"old", "old", "a b c"} {
		o := metav1.ListOptions{}
		if i == 2 {
			o.Continue = "2"
		}
		if _, err := lw.ListWithContext(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if got := has(w); got != want {
			t.Errorf("after page %d: %q, want %q", i, got, want)
		}
	}
	if _, err := lw.ListWithContext(t.Context(), metav1.ListOptions{}); err == nil || has(w) != "a b c" || w.upTo[Services] != 12 {
		t.Errorf("a list that failed: %v, %q, up to %v", err, has(w), w.upTo)
	}
}

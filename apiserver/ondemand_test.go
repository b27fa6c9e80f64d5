package apiserver_test

import (
	"fmt"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"fairlead.dev/fairlead/internal/apitest"
)

// Whoever watches misses nothing of what was written between their list and their watch, whether or not there was a watch cache.
func TestTheFirstWatchMissesNothing(t *testing.T) {
	templates := clientOf(t, apitest.Start(t)).CoreV1().PodTemplates("default")
	write := func(name string) {
		t.Helper()
		if _, err := templates.Create(t.Context(), template(name), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	write("a")
	list, err := templates.List(t.Context(), metav1.ListOptions{})
	if err != nil || len(list.Items) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	write("b")
	// The second finds a cache that is younger than its list.
	for _, want := range []string{"the first watch", "a later one"} {
		w, err := templates.Watch(t.Context(), metav1.ListOptions{ResourceVersion: list.ResourceVersion})
		if err != nil {
			t.Fatal(err)
		}
		if e := next(t, w); e.Type != watch.Added || e.Object.(*corev1.PodTemplate).Name != "b" {
			t.Errorf("%s: %+v", want, e)
		}
		write(strings.ReplaceAll(want, " ", "-"))
		if e := next(t, w); e.Type != watch.Added {
			t.Errorf("%s: %+v", want, e)
		}
		w.Stop()
	}
	cached, err := templates.List(t.Context(), metav1.ListOptions{ResourceVersion: "0"})
	if err != nil || len(cached.Items) < 3 {
		t.Errorf("from the cache: %d, %v", len(cached.Items), err)
	}
}

// A server that nobody uses has no watch cache: what it watches, nobody else does.
func TestAnIdleServerHasNoWatchCache(t *testing.T) {
	apitest.Start(t)
	if n := caches(t); n != 0 {
		t.Errorf("%d watch caches", n)
	}
}

// Two that watch a kind are served without a watch cache, and miss nothing when a third one calls for it.
func TestTwoWatchesNeedNoCache(t *testing.T) {
	templates := clientOf(t, apitest.Start(t)).CoreV1().PodTemplates("default")
	if _, err := templates.Create(t.Context(), template("first"), metav1.CreateOptions{}); err != nil { // it wakes parts of admission
		t.Fatal(err)
	}
	asleep := caches(t)
	open := func(bookmarks bool) watch.Interface {
		t.Helper()
		list, err := templates.List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		w, err := templates.Watch(t.Context(), metav1.ListOptions{ResourceVersion: list.ResourceVersion, AllowWatchBookmarks: bookmarks})
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	written := 0
	all := func(watches ...watch.Interface) {
		t.Helper()
		written++
		name := fmt.Sprint("t", written)
		if _, err := templates.Create(t.Context(), template(name), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		for i, w := range watches {
			if e := next(t, w); e.Type != watch.Added || e.Object.(*corev1.PodTemplate).Name != name {
				t.Errorf("watch %d: %+v", i, e)
			}
		}
	}
	one, two := open(true), open(true)
	all(one, two)
	if n := caches(t); n != asleep {
		t.Errorf("%d watch caches with two watches, %d before", n, asleep)
	}
	three := open(true)
	all(one, two, three)
	if n := caches(t); n <= asleep {
		t.Errorf("%d watch caches with three watches, %d before", n, asleep)
	}
	one.Stop()
	all(two, three)
	two.Stop()
	three.Stop()
}

// caches is how many watch caches there are in this process.
func caches(t *testing.T) int {
	t.Helper()
	var stacks strings.Builder
	if err := pprof.Lookup("goroutine").WriteTo(&stacks, 2); err != nil {
		t.Fatal(err)
	}
	return strings.Count(stacks.String(), "cacher.(*Cacher).dispatchEvents(")
}

func template(name string) *corev1.PodTemplate {
	return &corev1.PodTemplate{ObjectMeta: metav1.ObjectMeta{Name: name}, Template: corev1.PodTemplateSpec{
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "x"}}},
	}}
}

func next(t *testing.T, w watch.Interface) watch.Event {
	t.Helper()
	select {
	case e := <-w.ResultChan():
		return e
	case <-time.After(time.Minute):
		t.Fatal("nothing comes")
		return watch.Event{}
	}
}

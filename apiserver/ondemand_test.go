package apiserver_test

import (
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
		_, err := templates.Create(t.Context(), &corev1.PodTemplate{ObjectMeta: metav1.ObjectMeta{Name: name}, Template: corev1.PodTemplateSpec{
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "x"}}},
		}}, metav1.CreateOptions{})
		if err != nil {
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

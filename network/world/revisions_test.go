package world

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestUpTo: a reader is told how far what it sees goes, also by changes that do not concern it.
func TestUpTo(t *testing.T) {
	w := New()
	s := w.Subscribe(Services)
	s.EveryRevision()
	defer s.Close()
	at := func(version string) *corev1.Service {
		o := service("web")
		o.ResourceVersion = version
		return o
	}
	expect := func(what string, want Revisions) {
		t.Helper()
		select {
		case <-s.Wake():
		default:
			t.Fatalf("%s: the reader was not woken", what)
		}
		if got := s.Take().UpTo; got != want {
			t.Fatalf("%s: up to %v, want %v", what, got, want)
		}
	}
	w.Put(at("7"))
	expect("created", Revisions{Services: 7})
	w.Delete(at("9"))
	expect("deleted", Revisions{Services: 9})
	w.replace(Services, nil, "12")
	expect("listed", Revisions{Services: 12})
	nobodys := endpointSlice("stray", "")
	nobodys.ResourceVersion = "13"
	w.Put(nobodys)
	expect("a slice of no Service", Revisions{Services: 12, EndpointSlices: 13})
	w.Put(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default", ResourceVersion: "14"}})
	expect("a namespace", Revisions{Services: 12, EndpointSlices: 13, Namespaces: 14})
	w.Put(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default", ResourceVersion: "15"}})
	expect("the same namespace", Revisions{Services: 12, EndpointSlices: 13, Namespaces: 15})
	w.Put(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", ResourceVersion: "16"}})
	expect("a node", Revisions{Services: 12, EndpointSlices: 13, Namespaces: 15, Nodes: 16})

	if (Revisions{1, 2, 3, 4}).Cover(Revisions{1, 3, 2, 1}) || (Revisions{1, 2, 3, 4}).Cover(Revisions{Nodes: 5}) || !(Revisions{1, 2, 3, 4}).Cover(Revisions{1, 2, 0, 4}) {
		t.Error("Cover is wrong")
	}
}

package world

import (
	"fmt"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// TestIngresses: what a reader is told of, and what not: its own status is no news.
func TestIngresses(t *testing.T) {
	w := New()
	ingress := func(namespace, name string) *networkingv1.Ingress {
		return &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(namespace + name)}}
	}
	w.Put(ingress("b", "a"))
	w.Put(ingress("a", "z"))
	w.Put(ingress("a", "b"))
	w.Put(&networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: "y"}})
	w.Put(&networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: "x"}})
	order := ""
	for _, ing := range w.Ingresses() {
		order += fmt.Sprint(types.NamespacedName{Namespace: ing.Namespace, Name: ing.Name}, " ")
	}
	for _, c := range w.IngressClasses() {
		order += c.Name + " "
	}
	if order != "a/b a/z b/a x y " {
		t.Errorf("in order: %s", order)
	}
	s := w.Subscribe(Ingresses, IngressClasses)
	defer s.Close()
	if c := s.Take(); len(c.Of(Ingresses)) != 3 || len(c.Of(IngressClasses)) != 2 || len(c.Of(Services)) != 0 {
		t.Errorf("at first %v", c)
	}
	name := types.NamespacedName{Namespace: "a", Name: "b"}
	for what, test := range map[string]struct {
		change func(*networkingv1.Ingress)
		told   bool
	}{
		"status": {func(i *networkingv1.Ingress) {
			i.Status.LoadBalancer.Ingress = []networkingv1.IngressLoadBalancerIngress{{IP: "192.0.2.1"}}
		}, false},
		"labels":      {func(i *networkingv1.Ingress) { i.Labels = map[string]string{"a": "b"} }, false},
		"annotations": {func(i *networkingv1.Ingress) { i.Annotations = map[string]string{"a": "b"} }, true},
		"spec":        {func(i *networkingv1.Ingress) { i.Spec.IngressClassName = ptr.To("x") }, true},
		"made anew":   {func(i *networkingv1.Ingress) { i.UID = "other" }, true},
	} {
		w.Put(ingress("a", "b"))
		s.Take()
		changed := ingress("a", "b")
		test.change(changed)
		w.Put(changed)
		if told := !s.Take().IsEmpty(); told != test.told {
			t.Errorf("%s: told %v, want %v", what, told, test.told)
		}
		if w.Ingress(name) != changed {
			t.Errorf("%s: the World does not have the newest", what)
		}
	}
	w.Delete(ingress("a", "b"))
	w.Delete(&networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: "x"}})
	if c := s.Take(); len(c.Of(Ingresses)) != 1 || len(c.Of(IngressClasses)) != 1 {
		t.Errorf("deleted: %v", c)
	}
	if w.Ingress(name) != nil || w.IngressClass("x") != nil || w.IngressClass("y") == nil {
		t.Error("what was deleted is still there")
	}
}

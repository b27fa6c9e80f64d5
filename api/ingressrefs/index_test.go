package ingressrefs

import (
	"fmt"
	"slices"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Whatever Ingresses come, change and go, what is named is what those that are left name, and a change of it is reported.
func TestIndex(t *testing.T) {
	x := NewIndex()
	for i, step := range []struct {
		ingress, secret, headers string // without secret and headers: it goes
		others                   bool
		want                     string
		users                    int
	}{
		{"a", "one", "", true, "[shop/one] []", 1},
		{"b", "one", "", false, "[shop/one] []", 2},
		{"b", "one", "h", true, "[shop/one] [shop/h]", 2},
		{"c", " ", "", false, "[shop/one] [shop/h]", 2},
		{"a", "two", "", true, "[shop/one shop/two] [shop/h]", 2},
		{"a", "two", "", false, "[shop/one shop/two] [shop/h]", 2},
		{"a", "two", "h", false, "[shop/one shop/two] [shop/h]", 2},
		{"b", "", "", true, "[shop/two] [shop/h]", 1},
		{"b", "", "", false, "[shop/two] [shop/h]", 1},
		{"a", "", "", true, "[] []", 0},
		{"c", "", "", false, "[] []", 0},
	} {
		name := types.NamespacedName{Namespace: "shop", Name: step.ingress}
		var ing *networkingv1.Ingress
		if step.secret+step.headers != "" {
			ing = &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Annotations: map[string]string{AnnotationAuthSecret: step.secret, AnnotationHeaders: step.headers}}}
		}
		if got := x.Put(name, ing); got != step.others {
			t.Errorf("step %d: others %v", i, got)
		}
		secrets, configMaps := x.Names()
		if got := fmt.Sprint(secrets, configMaps); got != step.want {
			t.Errorf("step %d: %s, want %s", i, got, step.want)
		}
		if got := len(slices.Collect(x.Users)); got != step.users || x.Has(name) != (ing != nil) {
			t.Errorf("step %d: %d name anything, want %d; it counts: %v", i, got, step.users, x.Has(name))
		}
	}
	if x.Len() != 0 {
		t.Errorf("%d are left", x.Len())
	}
}

package api

import (
	"testing"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func TestClassOf(t *testing.T) {
	annotated := map[string]string{AnnotationIngressClass: "old"}
	for name, test := range map[string]struct {
		field       *string
		annotations map[string]string
		want        string
	}{
		"neither": {nil, nil, ""}, "annotation": {nil, annotated, "old"}, "field": {ptr.To("new"), nil, "new"}, "both": {ptr.To("new"), annotated, "new"},
	} {
		ing := &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Annotations: test.annotations}, Spec: networkingv1.IngressSpec{IngressClassName: test.field}}
		if got := ClassOf(ing); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

func TestI46_ServesClass(t *testing.T) {
	class := func(controller string) *networkingv1.IngressClass {
		return &networkingv1.IngressClass{Spec: networkingv1.IngressClassSpec{Controller: controller}}
	}
	if ServesClass(nil) || ServesClass(class("k8s.io/ingress-nginx")) || !ServesClass(class("fairlead.dev/ingress")) {
		t.Error("served are the classes whose controller is fairlead.dev/ingress, and no others")
	}
}

func TestI20_DefaultClass(t *testing.T) {
	epoch := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	class := func(name, marked string, age int) networkingv1.IngressClass {
		return networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{
			Name: name, CreationTimestamp: metav1.NewTime(epoch.Add(-time.Duration(age) * time.Second)),
			Annotations: map[string]string{networkingv1.AnnotationIsDefaultIngressClass: marked},
		}}
	}
	for name, test := range map[string]struct {
		classes []networkingv1.IngressClass
		want    string
	}{
		"none":           {nil, ""},
		"none is marked": {[]networkingv1.IngressClass{class("a", "", 1), class("b", "false", 1)}, ""},
		"one":            {[]networkingv1.IngressClass{class("a", "", 1), class("b", "true", 1)}, "b"},
		"the newest":     {[]networkingv1.IngressClass{class("a", "true", 9), class("c", "true", 1), class("b", "true", 5)}, "c"},
		"as old":         {[]networkingv1.IngressClass{class("b", "true", 1), class("a", "true", 1), class("c", "true", 1)}, "a"},
	} {
		got := ""
		if c := DefaultClass(test.classes); c != nil {
			got = c.Name
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

package apiserver

import (
	"context"

	networkingv1 "k8s.io/api/networking/v1"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	"k8s.io/apiserver/pkg/admission"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"

	"fairlead.dev/fairlead/api"
)

// ingressGuard is upstream's admission plugin DefaultIngressClass: an Ingress that is created without a class, and without the
// annotation that was there before the field, gets the default one (rules I20, I21).
type ingressGuard struct {
	*admission.Handler
	classes rest.Lister
}

var _ admission.MutationInterface = &ingressGuard{}

func newIngressGuard(classes rest.Lister) *ingressGuard {
	return &ingressGuard{admission.NewHandler(admission.Create), classes}
}

// Admit is part of admission.MutationInterface: its turn comes before validation. It asks for the classes that there are now, so
// that one made a moment ago counts.
func (g *ingressGuard) Admit(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	ing, ok := a.GetObject().(*networkingv1.Ingress)
	if !ok || a.GetSubresource() != "" || ing.Spec.IngressClassName != nil {
		return nil
	}
	if _, ok := ing.Annotations[api.AnnotationIngressClass]; ok {
		return nil
	}
	list, err := g.classes.List(genericapirequest.WithNamespace(ctx, ""), &metainternalversion.ListOptions{})
	if err != nil {
		return admission.NewForbidden(a, err)
	}
	if class := api.DefaultClass(list.(*networkingv1.IngressClassList).Items); class != nil {
		ing.Spec.IngressClassName = &class.Name
	}
	return nil
}

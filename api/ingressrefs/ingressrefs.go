// Package ingressrefs lists the Secrets that an Ingress names: what a node must read to serve it, and all of its namespace that a
// node may read because of it. It only computes.
package ingressrefs

import (
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
)

// Annotations that name a Secret, as ingress-nginx has them.
const (
	// AnnotationAuthSecret names that with the users of basic authentication.
	AnnotationAuthSecret = "nginx.ingress.kubernetes.io/auth-secret"
	// AnnotationBackendSecret names that with the authorities of backends, and the certificate that is shown to them.
	AnnotationBackendSecret = "nginx.ingress.kubernetes.io/proxy-ssl-secret"
)

// Secrets are the Secrets that an Ingress names, each once, in order of their names. All are of its own namespace: one that an
// annotation names elsewhere is not among them, or whoever may write an Ingress could have other people's Secrets read.
func Secrets(ing *networkingv1.Ingress) []types.NamespacedName {
	var all []types.NamespacedName
	for i := range ing.Spec.TLS {
		all = append(all, types.NamespacedName{Namespace: ing.Namespace, Name: ing.Spec.TLS[i].SecretName})
	}
	for _, annotation := range []string{AnnotationAuthSecret, AnnotationBackendSecret} {
		if name, ok := Annotated(ing, annotation); ok {
			all = append(all, name)
		}
	}
	all = slices.DeleteFunc(all, func(n types.NamespacedName) bool { return n.Name == "" })
	slices.SortFunc(all, api.CompareNames)
	return slices.Compact(all)
}

// Annotated is the Secret that one of the annotations names, written as NAME or NAMESPACE/NAME; false if there is none, or it is of
// another namespace.
func Annotated(ing *networkingv1.Ingress, annotation string) (name types.NamespacedName, ok bool) {
	text := strings.TrimSpace(ing.Annotations[annotation])
	if namespace, rest, qualified := strings.Cut(text, "/"); qualified {
		if namespace != ing.Namespace {
			return types.NamespacedName{}, false
		}
		text = rest
	}
	return types.NamespacedName{Namespace: ing.Namespace, Name: text}, text != ""
}

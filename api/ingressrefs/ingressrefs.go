// Package ingressrefs lists the Secrets and ConfigMaps that an Ingress names: what a node must read to serve it, and all of its
// namespace that a node may read because of it. It only computes.
package ingressrefs

import (
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
)

// Annotations that name a Secret or a ConfigMap, as ingress-nginx has them.
const (
	// AnnotationAuthSecret names that with the users of basic authentication.
	AnnotationAuthSecret = "nginx.ingress.kubernetes.io/auth-secret"
	// AnnotationBackendSecret names that with the authorities of backends, and the certificate that is shown to them.
	AnnotationBackendSecret = "nginx.ingress.kubernetes.io/proxy-ssl-secret"
	// AnnotationClientSecret names that with the authorities of clients' certificates.
	AnnotationClientSecret = "nginx.ingress.kubernetes.io/auth-tls-secret"
	// AnnotationHeaders names the ConfigMap with headers of answers.
	AnnotationHeaders = "nginx.ingress.kubernetes.io/custom-headers"
)

// Secrets are the Secrets that an Ingress names, each once, in order of their names. All are of its own namespace: one that an
// annotation names elsewhere is not among them, or whoever may write an Ingress could have other people's Secrets read.
func Secrets(ing *networkingv1.Ingress) []types.NamespacedName {
	var all []types.NamespacedName
	for i := range ing.Spec.TLS {
		all = append(all, types.NamespacedName{Namespace: ing.Namespace, Name: ing.Spec.TLS[i].SecretName})
	}
	all = append(all, annotated(ing, AnnotationAuthSecret, AnnotationBackendSecret, AnnotationClientSecret)...)
	all = slices.DeleteFunc(all, func(n types.NamespacedName) bool { return n.Name == "" })
	slices.SortFunc(all, api.CompareNames)
	return slices.Compact(all)
}

// ConfigMaps are the ConfigMaps that an Ingress names, likewise.
func ConfigMaps(ing *networkingv1.Ingress) []types.NamespacedName {
	return annotated(ing, AnnotationHeaders)
}

func annotated(ing *networkingv1.Ingress, annotations ...string) []types.NamespacedName {
	var all []types.NamespacedName
	for _, annotation := range annotations {
		if name, ok := Annotated(ing, annotation); ok {
			all = append(all, name)
		}
	}
	return all
}

// Annotated is the Secret or ConfigMap that one of the annotations names, written as NAME or NAMESPACE/NAME; false if there is none, or it is of
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

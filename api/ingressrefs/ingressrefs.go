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

// AnnotationAuthSecret names the Secret with the users of basic authentication, as ingress-nginx has it.
const AnnotationAuthSecret = "nginx.ingress.kubernetes.io/auth-secret"

// Secrets are the Secrets that an Ingress names, each once, in order of their names. All are of its own namespace: one that the
// annotation names elsewhere is not among them, or whoever may write an Ingress could have other people's Secrets read.
func Secrets(ing *networkingv1.Ingress) []types.NamespacedName {
	var all []types.NamespacedName
	for i := range ing.Spec.TLS {
		all = append(all, types.NamespacedName{Namespace: ing.Namespace, Name: ing.Spec.TLS[i].SecretName})
	}
	if name, ok := Auth(ing); ok {
		all = append(all, name)
	}
	all = slices.DeleteFunc(all, func(n types.NamespacedName) bool { return n.Name == "" })
	slices.SortFunc(all, api.CompareNames)
	return slices.Compact(all)
}

// Auth is the Secret with the users of an Ingress, written as NAME or NAMESPACE/NAME; false if there is none, or it is of another
// namespace.
func Auth(ing *networkingv1.Ingress) (name types.NamespacedName, ok bool) {
	text := ing.Annotations[AnnotationAuthSecret]
	if namespace, rest, qualified := strings.Cut(text, "/"); qualified {
		if namespace != ing.Namespace {
			return types.NamespacedName{}, false
		}
		text = rest
	}
	return types.NamespacedName{Namespace: ing.Namespace, Name: text}, text != ""
}

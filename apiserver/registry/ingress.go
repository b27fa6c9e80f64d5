package registry

import (
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	networking "k8s.io/kubernetes/pkg/apis/networking"
	convert "k8s.io/kubernetes/pkg/apis/networking/v1"
	"k8s.io/kubernetes/pkg/registry/networking/ingress"
	"k8s.io/kubernetes/pkg/registry/networking/ingressclass"

	"fairlead.dev/fairlead/api/ingressrefs"
)

func ingresses() *kind[*networkingv1.Ingress] {
	return adopt(foreign[*networkingv1.Ingress, *networking.Ingress]{
		strategy: ingress.Strategy, status: ingress.StatusStrategy,
		in: convert.Convert_v1_Ingress_To_networking_Ingress, out: convert.Convert_networking_Ingress_To_v1_Ingress,
	}, kind[*networkingv1.Ingress]{
		group: networkingv1.GroupName, plural: "ingresses", singular: "ingress", short: []string{"ing"},
		list: func() runtime.Object { return &networkingv1.IngressList{} },
		indexes: map[string]func(*networkingv1.Ingress) []string{
			IngressSecretIndex:    namesOf(ingressrefs.Secrets),
			IngressConfigMapIndex: namesOf(ingressrefs.ConfigMaps),
		},
	})
}

func ingressClasses() *kind[*networkingv1.IngressClass] {
	return adopt(foreign[*networkingv1.IngressClass, *networking.IngressClass]{
		strategy: ingressclass.Strategy,
		in:       convert.Convert_v1_IngressClass_To_networking_IngressClass, out: convert.Convert_networking_IngressClass_To_v1_IngressClass,
	}, kind[*networkingv1.IngressClass]{
		group: networkingv1.GroupName, plural: "ingressclasses", singular: "ingressclass",
		list: func() runtime.Object { return &networkingv1.IngressClassList{} },
	})
}

// The indexes of Ingresses by the Secrets and ConfigMaps that they name, each as NAMESPACE/NAME: nodes may read these. They are no
// fields that a selector of a request can name.
const (
	IngressSecretIndex    = "fairlead.dev/secret"
	IngressConfigMapIndex = "fairlead.dev/configmap"
)

// namesOf has an index of what an Ingress names.
func namesOf(refs func(*networkingv1.Ingress) []types.NamespacedName) func(*networkingv1.Ingress) []string {
	return func(ing *networkingv1.Ingress) []string {
		var names []string
		for _, name := range refs(ing) {
			names = append(names, name.String())
		}
		return names
	}
}

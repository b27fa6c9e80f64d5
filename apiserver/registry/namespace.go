package registry

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	core "k8s.io/kubernetes/pkg/apis/core"
	convert "k8s.io/kubernetes/pkg/apis/core/v1"
	"k8s.io/kubernetes/pkg/registry/core/namespace"
)

var namespaceRules = foreign[*corev1.Namespace, *core.Namespace]{
	strategy: namespace.Strategy, status: namespace.StatusStrategy,
	in: convert.Convert_v1_Namespace_To_core_Namespace, out: convert.Convert_core_Namespace_To_v1_Namespace,
}

func namespaces() *kind[*corev1.Namespace] {
	return adopt(namespaceRules, kind[*corev1.Namespace]{
		plural: "namespaces", singular: "namespace", short: []string{"ns"}, returns: true,
		list:       func() runtime.Object { return &corev1.NamespaceList{} },
		selectable: func(ns *corev1.Namespace, set fields.Set) { set["status.phase"] = string(ns.Status.Phase) },
		canonicalize: func(ns *corev1.Namespace) {
			namespaceRules.change(ns, func(i *core.Namespace) { namespace.Strategy.Canonicalize(i) })
		},
	})
}

// finalize is the row of namespaces for the finalize subresource, which alone may change spec.finalizers.
func finalize() *kind[*corev1.Namespace] {
	return namespaceRules.part(namespaces(), namespace.FinalizeStrategy)
}

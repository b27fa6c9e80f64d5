package registry

import (
	"context"

	corev1 "k8s.io/api/core/v1"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func namespaces() *kind[*corev1.Namespace] {
	return &kind[*corev1.Namespace]{
		plural: "namespaces", singular: "namespace", short: []string{"ns"}, cluster: true,
		prepareStatus: func(_ context.Context, obj, old *corev1.Namespace) { obj.Spec = old.Spec },
		new:           func() *corev1.Namespace { return &corev1.Namespace{} },
		list:          func() runtime.Object { return &corev1.NamespaceList{} },
		columns:       []metav1.TableColumnDefinition{name(), age()},
		row:           func(o *corev1.Namespace) []any { return []any{o.Name, since(o.CreationTimestamp)} },
	}
}

package registry

import (
	"context"

	corev1 "k8s.io/api/core/v1"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func nodes() *kind[*corev1.Node] {
	return &kind[*corev1.Node]{
		plural: "nodes", singular: "node", short: []string{"no"}, cluster: true,
		prepareStatus: func(_ context.Context, obj, old *corev1.Node) { obj.Spec = old.Spec },
		new:           func() *corev1.Node { return &corev1.Node{} },
		list:          func() runtime.Object { return &corev1.NodeList{} },
		columns:       []metav1.TableColumnDefinition{name(), age()},
		row:           func(o *corev1.Node) []any { return []any{o.Name, since(o.CreationTimestamp)} },
	}
}

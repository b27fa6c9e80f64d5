package registry

import (
	corev1 "k8s.io/api/core/v1"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func endpoints() *kind[*corev1.Endpoints] {
	return &kind[*corev1.Endpoints]{
		plural: "endpoints", singular: "endpoints", short: []string{"ep"}, createOnUpdate: true,
		new:     func() *corev1.Endpoints { return &corev1.Endpoints{} },
		list:    func() runtime.Object { return &corev1.EndpointsList{} },
		columns: []metav1.TableColumnDefinition{name(), age()},
		row:     func(o *corev1.Endpoints) []any { return []any{o.Name, since(o.CreationTimestamp)} },
	}
}

package registry

import (
	corev1 "k8s.io/api/core/v1"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func configMaps() *kind[*corev1.ConfigMap] {
	return &kind[*corev1.ConfigMap]{
		plural: "configmaps", singular: "configmap", short: []string{"cm"},
		new:     func() *corev1.ConfigMap { return &corev1.ConfigMap{} },
		list:    func() runtime.Object { return &corev1.ConfigMapList{} },
		columns: []metav1.TableColumnDefinition{name(), age()},
		row:     func(o *corev1.ConfigMap) []any { return []any{o.Name, since(o.CreationTimestamp)} },
	}
}

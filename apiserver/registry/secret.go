package registry

import (
	corev1 "k8s.io/api/core/v1"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func secrets() *kind[*corev1.Secret] {
	return &kind[*corev1.Secret]{
		plural: "secrets", singular: "secret",
		new:     func() *corev1.Secret { return &corev1.Secret{} },
		list:    func() runtime.Object { return &corev1.SecretList{} },
		columns: []metav1.TableColumnDefinition{name(), age()},
		row:     func(o *corev1.Secret) []any { return []any{o.Name, since(o.CreationTimestamp)} },
	}
}

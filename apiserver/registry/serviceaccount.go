package registry

import (
	corev1 "k8s.io/api/core/v1"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func serviceAccounts() *kind[*corev1.ServiceAccount] {
	return &kind[*corev1.ServiceAccount]{
		plural: "serviceaccounts", singular: "serviceaccount", short: []string{"sa"}, returns: true,
		new:     func() *corev1.ServiceAccount { return &corev1.ServiceAccount{} },
		list:    func() runtime.Object { return &corev1.ServiceAccountList{} },
		columns: []metav1.TableColumnDefinition{name(), age()},
		row:     func(o *corev1.ServiceAccount) []any { return []any{o.Name, since(o.CreationTimestamp)} },
	}
}

package registry

import (
	"context"

	corev1 "k8s.io/api/core/v1"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func services() *kind[*corev1.Service] {
	return &kind[*corev1.Service]{
		plural: "services", singular: "service", short: []string{"svc"}, categories: []string{"all"}, returns: true, createOnUpdate: true,
		prepareStatus: func(_ context.Context, obj, old *corev1.Service) { obj.Spec = old.Spec },
		new:           func() *corev1.Service { return &corev1.Service{} },
		list:          func() runtime.Object { return &corev1.ServiceList{} },
		columns:       []metav1.TableColumnDefinition{name(), age()},
		row:           func(o *corev1.Service) []any { return []any{o.Name, since(o.CreationTimestamp)} },
	}
}

package registry

import (
	"context"

	corev1 "k8s.io/api/core/v1"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func pods() *kind[*corev1.Pod] {
	return &kind[*corev1.Pod]{
		plural: "pods", singular: "pod", short: []string{"po"}, categories: []string{"all"}, returns: true,
		prepareStatus: func(_ context.Context, obj, old *corev1.Pod) { obj.Spec = old.Spec },
		new:           func() *corev1.Pod { return &corev1.Pod{} },
		list:          func() runtime.Object { return &corev1.PodList{} },
		columns:       []metav1.TableColumnDefinition{name(), age()},
		row:           func(o *corev1.Pod) []any { return []any{o.Name, since(o.CreationTimestamp)} },
	}
}

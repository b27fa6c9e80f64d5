package registry

import (
	corev1 "k8s.io/api/core/v1"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func events() *kind[*corev1.Event] {
	return &kind[*corev1.Event]{
		plural: "events", singular: "event", short: []string{"ev"}, ttl: 3600, createOnUpdate: true,
		new:     func() *corev1.Event { return &corev1.Event{} },
		list:    func() runtime.Object { return &corev1.EventList{} },
		columns: []metav1.TableColumnDefinition{name(), age()},
		row:     func(o *corev1.Event) []any { return []any{o.Name, since(o.CreationTimestamp)} },
	}
}

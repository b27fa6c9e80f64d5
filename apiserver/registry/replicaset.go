package registry

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func replicaSets() *kind[*appsv1.ReplicaSet] {
	return &kind[*appsv1.ReplicaSet]{
		group: appsv1.GroupName, plural: "replicasets", singular: "replicaset", short: []string{"rs"}, categories: []string{"all"},
		prepareStatus: func(_ context.Context, obj, old *appsv1.ReplicaSet) { obj.Spec = old.Spec },
		new:           func() *appsv1.ReplicaSet { return &appsv1.ReplicaSet{} },
		list:          func() runtime.Object { return &appsv1.ReplicaSetList{} },
		columns:       []metav1.TableColumnDefinition{name(), age()},
		row:           func(o *appsv1.ReplicaSet) []any { return []any{o.Name, since(o.CreationTimestamp)} },
	}
}

package registry

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func deployments() *kind[*appsv1.Deployment] {
	return &kind[*appsv1.Deployment]{
		group: appsv1.GroupName, plural: "deployments", singular: "deployment", short: []string{"deploy"}, categories: []string{"all"},
		prepareStatus: func(_ context.Context, obj, old *appsv1.Deployment) { obj.Spec = old.Spec },
		new:           func() *appsv1.Deployment { return &appsv1.Deployment{} },
		list:          func() runtime.Object { return &appsv1.DeploymentList{} },
		columns:       []metav1.TableColumnDefinition{name(), age()},
		row:           func(o *appsv1.Deployment) []any { return []any{o.Name, since(o.CreationTimestamp)} },
	}
}

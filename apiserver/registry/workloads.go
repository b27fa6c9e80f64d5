package registry

import (
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	apps "k8s.io/kubernetes/pkg/apis/apps"
	convert "k8s.io/kubernetes/pkg/apis/apps/v1"
	"k8s.io/kubernetes/pkg/registry/apps/deployment"
	"k8s.io/kubernetes/pkg/registry/apps/replicaset"
)

func deployments() *kind[*appsv1.Deployment] {
	return ofPods(adopt(foreign[*appsv1.Deployment, *apps.Deployment]{
		strategy: deployment.Strategy, status: deployment.StatusStrategy, new: func() *apps.Deployment { return &apps.Deployment{} },
		in: convert.Convert_v1_Deployment_To_apps_Deployment, out: convert.Convert_apps_Deployment_To_v1_Deployment,
	}, kind[*appsv1.Deployment]{
		group: appsv1.GroupName, plural: "deployments", singular: "deployment", short: []string{"deploy"}, categories: []string{"all"},
		new: func() *appsv1.Deployment { return &appsv1.Deployment{} }, list: func() runtime.Object { return &appsv1.DeploymentList{} },
	}), func(d *appsv1.Deployment) *corev1.PodSpec { return &d.Spec.Template.Spec }, "spec", "template", "spec")
}

func replicaSets() *kind[*appsv1.ReplicaSet] {
	return ofPods(adopt(foreign[*appsv1.ReplicaSet, *apps.ReplicaSet]{
		strategy: replicaset.Strategy, status: replicaset.StatusStrategy, new: func() *apps.ReplicaSet { return &apps.ReplicaSet{} },
		in: convert.Convert_v1_ReplicaSet_To_apps_ReplicaSet, out: convert.Convert_apps_ReplicaSet_To_v1_ReplicaSet,
	}, kind[*appsv1.ReplicaSet]{
		group: appsv1.GroupName, plural: "replicasets", singular: "replicaset", short: []string{"rs"}, categories: []string{"all"},
		new: func() *appsv1.ReplicaSet { return &appsv1.ReplicaSet{} }, list: func() runtime.Object { return &appsv1.ReplicaSetList{} },
		selectable: func(rs *appsv1.ReplicaSet, set fields.Set) {
			set["status.replicas"] = strconv.Itoa(int(rs.Status.Replicas))
		},
	}), func(rs *appsv1.ReplicaSet) *corev1.PodSpec { return &rs.Spec.Template.Spec }, "spec", "template", "spec")
}

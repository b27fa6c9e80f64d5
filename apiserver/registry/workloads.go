package registry

import (
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
	apps "k8s.io/kubernetes/pkg/apis/apps"
	convert "k8s.io/kubernetes/pkg/apis/apps/v1"
	core "k8s.io/kubernetes/pkg/apis/core"
	convertcore "k8s.io/kubernetes/pkg/apis/core/v1"
	policy "k8s.io/kubernetes/pkg/apis/policy"
	convertpolicy "k8s.io/kubernetes/pkg/apis/policy/v1"
	"k8s.io/kubernetes/pkg/registry/apps/controllerrevision"
	"k8s.io/kubernetes/pkg/registry/apps/daemonset"
	"k8s.io/kubernetes/pkg/registry/apps/deployment"
	"k8s.io/kubernetes/pkg/registry/apps/replicaset"
	"k8s.io/kubernetes/pkg/registry/apps/statefulset"
	"k8s.io/kubernetes/pkg/registry/core/podtemplate"
	"k8s.io/kubernetes/pkg/registry/core/replicationcontroller"
	"k8s.io/kubernetes/pkg/registry/policy/poddisruptionbudget"
)

func deployments() *kind[*appsv1.Deployment] {
	return ofPods(adopt(foreign[*appsv1.Deployment, *apps.Deployment]{
		strategy: deployment.Strategy, status: deployment.StatusStrategy,
		in: convert.Convert_v1_Deployment_To_apps_Deployment, out: convert.Convert_apps_Deployment_To_v1_Deployment,
	}, kind[*appsv1.Deployment]{
		group: appsv1.GroupName, plural: "deployments", singular: "deployment", short: []string{"deploy"}, categories: []string{"all"},
		list: func() runtime.Object { return &appsv1.DeploymentList{} },
	}), func(d *appsv1.Deployment) *corev1.PodSpec { return &d.Spec.Template.Spec }, "spec", "template", "spec")
}

func replicaSets() *kind[*appsv1.ReplicaSet] {
	return ofPods(adopt(foreign[*appsv1.ReplicaSet, *apps.ReplicaSet]{
		strategy: replicaset.Strategy, status: replicaset.StatusStrategy,
		in: convert.Convert_v1_ReplicaSet_To_apps_ReplicaSet, out: convert.Convert_apps_ReplicaSet_To_v1_ReplicaSet,
	}, kind[*appsv1.ReplicaSet]{
		group: appsv1.GroupName, plural: "replicasets", singular: "replicaset", short: []string{"rs"}, categories: []string{"all"},
		list: func() runtime.Object { return &appsv1.ReplicaSetList{} },
		selectable: func(rs *appsv1.ReplicaSet, set fields.Set) {
			set["status.replicas"] = strconv.Itoa(int(rs.Status.Replicas))
		},
	}), func(rs *appsv1.ReplicaSet) *corev1.PodSpec { return &rs.Spec.Template.Spec }, "spec", "template", "spec")
}

func statefulSets() *kind[*appsv1.StatefulSet] {
	return ofPods(adopt(foreign[*appsv1.StatefulSet, *apps.StatefulSet]{
		strategy: statefulset.Strategy, status: statefulset.StatusStrategy,
		in: convert.Convert_v1_StatefulSet_To_apps_StatefulSet, out: convert.Convert_apps_StatefulSet_To_v1_StatefulSet,
	}, kind[*appsv1.StatefulSet]{
		group: appsv1.GroupName, plural: "statefulsets", singular: "statefulset", short: []string{"sts"}, categories: []string{"all"},
		list: func() runtime.Object { return &appsv1.StatefulSetList{} },
	}), func(s *appsv1.StatefulSet) *corev1.PodSpec { return &s.Spec.Template.Spec }, "spec", "template", "spec")
}

func daemonSets() *kind[*appsv1.DaemonSet] {
	return ofPods(adopt(foreign[*appsv1.DaemonSet, *apps.DaemonSet]{
		strategy: daemonset.Strategy, status: daemonset.StatusStrategy,
		in: convert.Convert_v1_DaemonSet_To_apps_DaemonSet, out: convert.Convert_apps_DaemonSet_To_v1_DaemonSet,
	}, kind[*appsv1.DaemonSet]{
		group: appsv1.GroupName, plural: "daemonsets", singular: "daemonset", short: []string{"ds"}, categories: []string{"all"},
		list: func() runtime.Object { return &appsv1.DaemonSetList{} },
	}), func(d *appsv1.DaemonSet) *corev1.PodSpec { return &d.Spec.Template.Spec }, "spec", "template", "spec")
}

func replicationControllers() *kind[*corev1.ReplicationController] {
	return ofPods(adopt(foreign[*corev1.ReplicationController, *core.ReplicationController]{
		strategy: replicationcontroller.Strategy, status: replicationcontroller.StatusStrategy,
		in:  convertcore.Convert_v1_ReplicationController_To_core_ReplicationController,
		out: convertcore.Convert_core_ReplicationController_To_v1_ReplicationController,
	}, kind[*corev1.ReplicationController]{
		plural: "replicationcontrollers", singular: "replicationcontroller", short: []string{"rc"}, categories: []string{"all"},
		list: func() runtime.Object { return &corev1.ReplicationControllerList{} },
		selectable: func(rc *corev1.ReplicationController, set fields.Set) {
			set["status.replicas"] = strconv.Itoa(int(rc.Status.Replicas))
		},
	}), func(rc *corev1.ReplicationController) *corev1.PodSpec {
		if rc.Spec.Template == nil {
			return &corev1.PodSpec{}
		}
		return &rc.Spec.Template.Spec
	}, "spec", "template", "spec")
}

func podTemplates() *kind[*corev1.PodTemplate] {
	return ofPods(adopt(foreign[*corev1.PodTemplate, *core.PodTemplate]{
		strategy: podtemplate.Strategy,
		in:       convertcore.Convert_v1_PodTemplate_To_core_PodTemplate, out: convertcore.Convert_core_PodTemplate_To_v1_PodTemplate,
	}, kind[*corev1.PodTemplate]{
		plural: "podtemplates", singular: "podtemplate", returns: true,
		list: func() runtime.Object { return &corev1.PodTemplateList{} },
	}), func(t *corev1.PodTemplate) *corev1.PodSpec { return &t.Template.Spec }, "template", "spec")
}

func controllerRevisions() *kind[*appsv1.ControllerRevision] {
	return adopt(foreign[*appsv1.ControllerRevision, *apps.ControllerRevision]{
		strategy: controllerrevision.Strategy,
		in:       convert.Convert_v1_ControllerRevision_To_apps_ControllerRevision, out: convert.Convert_apps_ControllerRevision_To_v1_ControllerRevision,
	}, kind[*appsv1.ControllerRevision]{
		group: appsv1.GroupName, plural: "controllerrevisions", singular: "controllerrevision",
		list: func() runtime.Object { return &appsv1.ControllerRevisionList{} },
	})
}

func podDisruptionBudgets() *kind[*policyv1.PodDisruptionBudget] {
	return adopt(foreign[*policyv1.PodDisruptionBudget, *policy.PodDisruptionBudget]{
		strategy: poddisruptionbudget.Strategy, status: poddisruptionbudget.StatusStrategy,
		in:  convertpolicy.Convert_v1_PodDisruptionBudget_To_policy_PodDisruptionBudget,
		out: convertpolicy.Convert_policy_PodDisruptionBudget_To_v1_PodDisruptionBudget,
	}, kind[*policyv1.PodDisruptionBudget]{
		group: policyv1.GroupName, plural: "poddisruptionbudgets", singular: "poddisruptionbudget", short: []string{"pdb"},
		list: func() runtime.Object { return &policyv1.PodDisruptionBudgetList{} },
	})
}

func (b *builder) policy() map[string]rest.Storage {
	resources := map[string]rest.Storage{}
	put(resources, b.budgets)
	return resources
}

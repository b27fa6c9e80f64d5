package registry

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	core "k8s.io/kubernetes/pkg/apis/core"
	convert "k8s.io/kubernetes/pkg/apis/core/v1"
	"k8s.io/kubernetes/pkg/registry/core/node"
)

func nodes() *kind[*corev1.Node] {
	k := adopt(foreign[*corev1.Node, *core.Node]{
		strategy: node.Strategy, status: node.StatusStrategy,
		in: convert.Convert_v1_Node_To_core_Node, out: convert.Convert_core_Node_To_v1_Node,
	}, kind[*corev1.Node]{
		plural: "nodes", singular: "node", short: []string{"no"},
		list:       func() runtime.Object { return &corev1.NodeList{} },
		selectable: func(n *corev1.Node, set fields.Set) { set["spec.unschedulable"] = boolString(n.Spec.Unschedulable) },
	})
	k.validateUpdate = rangesMayGrow(k.validateUpdate)
	return refusingToo(k, refuseUndoneNode)
}

// rangesMayGrow lets a node that has addresses for pods of one family get a range of the other, as a cluster becomes dual-stack.
// Upstream wants the node registered anew for that.
func rangesMayGrow(validate func(ctx context.Context, n, old *corev1.Node) field.ErrorList) func(ctx context.Context, n, old *corev1.Node) field.ErrorList {
	return func(ctx context.Context, n, old *corev1.Node) field.ErrorList {
		had, has := old.Spec.PodCIDRs, n.Spec.PodCIDRs
		if len(had) == 1 && len(has) == 2 && has[0] == had[0] {
			grown := *old
			grown.Spec.PodCIDRs = has
			old = &grown
		}
		return validate(ctx, n, old)
	}
}

// refuseUndoneNode refuses the fields that nothing here carries out. One that a node has already may stay, so that the rest of the
// node can change.
func refuseUndoneNode(n, old *corev1.Node) field.ErrorList {
	var errs field.ErrorList
	if old == nil {
		old = &corev1.Node{}
	}
	path := field.NewPath("spec")
	//lint:ignore SA1019 what is refused
	if n.Spec.ConfigSource != nil && !equality.Semantic.DeepEqual(n.Spec.ConfigSource, old.Spec.ConfigSource) {
		errs = append(errs, field.Forbidden(path.Child("configSource"), "dynamic configuration of nodes is not supported"))
	}
	if n.Spec.PodPreemptionPolicy != nil && !equality.Semantic.DeepEqual(n.Spec.PodPreemptionPolicy, old.Spec.PodPreemptionPolicy) {
		errs = append(errs, field.Forbidden(path.Child("podPreemptionPolicy"), "preemption is not supported"))
	}
	return errs
}

func boolString(b bool) string {
	if b {
		return "true"
	}
	return "false"
}

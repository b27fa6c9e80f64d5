package registry

import (
	"context"
	"errors"
	"slices"

	nodev1 "k8s.io/api/node/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/kubernetes/pkg/apis/node"
	convertnode "k8s.io/kubernetes/pkg/apis/node/v1"
	"k8s.io/kubernetes/pkg/apis/scheduling"
	convert "k8s.io/kubernetes/pkg/apis/scheduling/v1"
	"k8s.io/kubernetes/pkg/registry/node/runtimeclass"
	"k8s.io/kubernetes/pkg/registry/scheduling/priorityclass"
)

// scheduling is the group of the classes that say how important a pod is.
func (b *builder) scheduling() map[string]rest.Storage {
	resources := map[string]rest.Storage{}
	if classes := build(b, priorityClasses()); b.err == nil {
		resources["priorityclasses"] = priorityClassStore{classes}
	}
	return resources
}

// node is the group of the classes that say what runs a pod.
func (b *builder) node() map[string]rest.Storage {
	resources := map[string]rest.Storage{}
	put(resources, build(b, runtimeClasses()))
	return resources
}

func priorityClasses() *kind[*schedulingv1.PriorityClass] {
	return adopt(foreign[*schedulingv1.PriorityClass, *scheduling.PriorityClass]{
		strategy: priorityclass.Strategy,
		in:       convert.Convert_v1_PriorityClass_To_scheduling_PriorityClass, out: convert.Convert_scheduling_PriorityClass_To_v1_PriorityClass,
	}, kind[*schedulingv1.PriorityClass]{
		group: schedulingv1.GroupName, plural: "priorityclasses", singular: "priorityclass", short: []string{"pc"},
		list: func() runtime.Object { return &schedulingv1.PriorityClassList{} },
	})
}

func runtimeClasses() *kind[*nodev1.RuntimeClass] {
	return adopt(foreign[*nodev1.RuntimeClass, *node.RuntimeClass]{
		strategy: runtimeclass.Strategy,
		in:       convertnode.Convert_v1_RuntimeClass_To_node_RuntimeClass, out: convertnode.Convert_node_RuntimeClass_To_v1_RuntimeClass,
	}, kind[*nodev1.RuntimeClass]{
		group: nodev1.GroupName, plural: "runtimeclasses", singular: "runtimeclass",
		list: func() runtime.Object { return &nodev1.RuntimeClassList{} },
	})
}

// SystemPriorityClasses are those that every cluster has.
func SystemPriorityClasses() []*schedulingv1.PriorityClass { return convert.SystemPriorityClasses() }

// priorityClassStore keeps the classes of the system.
type priorityClassStore struct {
	store[*schedulingv1.PriorityClass]
}

// Delete is part of rest.GracefulDeleter.
func (s priorityClassStore) Delete(ctx context.Context, name string, validate rest.ValidateObjectFunc, options *metav1.DeleteOptions) (runtime.Object, bool, error) {
	if slices.Contains(convert.SystemPriorityClassNames(), name) {
		return nil, false, apierrors.NewForbidden(schedulingv1.Resource("priorityclasses"), name, errors.New("this is a system priority class and cannot be deleted"))
	}
	return s.store.Delete(ctx, name, validate, options)
}

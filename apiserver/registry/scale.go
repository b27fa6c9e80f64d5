package registry

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// scale is the scale subresource of a workload (rule D25): its number of replicas as an autoscaling/v1 Scale, the same
// for every kind that has one.
type scale[T object] struct {
	store store[T]
	parts func(T) scaleParts
}

// scaleParts are the fields of a workload a Scale shows and sets.
type scaleParts struct {
	replicas *int32
	current  int32
	selector *metav1.LabelSelector
}

var (
	_ rest.Patcher                  = scale[object]{}
	_ rest.GroupVersionKindProvider = scale[object]{}
	_ rest.TableConvertor           = scale[object]{}
)

func deploymentScale(s store[*appsv1.Deployment]) scale[*appsv1.Deployment] {
	return scale[*appsv1.Deployment]{s, func(d *appsv1.Deployment) scaleParts {
		return scaleParts{d.Spec.Replicas, d.Status.Replicas, d.Spec.Selector}
	}}
}

func replicaSetScale(s store[*appsv1.ReplicaSet]) scale[*appsv1.ReplicaSet] {
	return scale[*appsv1.ReplicaSet]{s, func(rs *appsv1.ReplicaSet) scaleParts {
		return scaleParts{rs.Spec.Replicas, rs.Status.Replicas, rs.Spec.Selector}
	}}
}

func statefulSetScale(s store[*appsv1.StatefulSet]) scale[*appsv1.StatefulSet] {
	return scale[*appsv1.StatefulSet]{s, func(set *appsv1.StatefulSet) scaleParts {
		return scaleParts{set.Spec.Replicas, set.Status.Replicas, set.Spec.Selector}
	}}
}

func controllerScale(s store[*corev1.ReplicationController]) scale[*corev1.ReplicationController] {
	return scale[*corev1.ReplicationController]{s, func(rc *corev1.ReplicationController) scaleParts {
		return scaleParts{rc.Spec.Replicas, rc.Status.Replicas, &metav1.LabelSelector{MatchLabels: rc.Spec.Selector}}
	}}
}

// GroupVersionKind is what discovery shows, and what kubectl scale asks for.
func (scale[T]) GroupVersionKind(schema.GroupVersion) schema.GroupVersionKind {
	return autoscalingv1.SchemeGroupVersion.WithKind("Scale")
}

// New returns an empty Scale.
func (scale[T]) New() runtime.Object { return &autoscalingv1.Scale{} }

// Destroy does nothing: the storage belongs to the workload.
func (scale[T]) Destroy() {}

// Get shows the workload as a Scale.
func (s scale[T]) Get(ctx context.Context, name string, options *metav1.GetOptions) (runtime.Object, error) {
	obj, err := s.store.Get(ctx, name, options)
	if err != nil {
		return nil, err
	}
	return s.from(obj.(T))
}

// from makes the Scale of a workload. Who manages the number of replicas is shown as who manages the Scale.
func (s scale[T]) from(obj T) (*autoscalingv1.Scale, error) {
	parts := s.parts(obj)
	selector, err := metav1.LabelSelectorAsSelector(parts.selector)
	if err != nil {
		return nil, apierrors.NewInternalError(fmt.Errorf("%s %s: its selector: %w", s.store.kind.singular, obj.GetName(), err))
	}
	managed, err := s.managed(obj).ToSubresource()
	if err != nil {
		return nil, err
	}
	result := &autoscalingv1.Scale{
		ObjectMeta: metav1.ObjectMeta{
			Name: obj.GetName(), Namespace: obj.GetNamespace(), UID: obj.GetUID(), ResourceVersion: obj.GetResourceVersion(),
			CreationTimestamp: obj.GetCreationTimestamp(), ManagedFields: managed,
		},
		Status: autoscalingv1.ScaleStatus{Replicas: parts.current, Selector: selector.String()},
	}
	if parts.replicas != nil {
		result.Spec.Replicas = *parts.replicas
	}
	return result, nil
}

func (s scale[T]) managed(obj T) *managedfields.ScaleHandler {
	version := schema.GroupVersion{Group: s.store.kind.group, Version: "v1"}
	paths := managedfields.ResourcePathMappings{version.String(): fieldpath.MakePathOrDie("spec", "replicas")}
	return managedfields.NewScaleHandler(obj.GetManagedFields(), version, paths)
}

// Update sets the number of replicas.
func (s scale[T]) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, _ rest.ValidateObjectFunc,
	update rest.ValidateObjectUpdateFunc, _ bool, options *metav1.UpdateOptions) (runtime.Object, bool, error) {
	validate := func(ctx context.Context, obj, old runtime.Object) error {
		if update == nil {
			return nil
		}
		now, err := s.from(obj.(T))
		if err != nil {
			return err
		}
		was, err := s.from(old.(T))
		if err != nil {
			return err
		}
		return update(ctx, now, was)
	}
	obj, _, err := s.store.Update(ctx, name, scaled[T]{s, name, info}, rest.ValidateAllObjectFunc, validate, false, options)
	if err != nil {
		return nil, false, err
	}
	result, err := s.from(obj.(T))
	return result, false, err
}

// ConvertToTable prints a Scale by name and age, as upstream does.
func (s scale[T]) ConvertToTable(ctx context.Context, obj, options runtime.Object) (*metav1.Table, error) {
	return rest.NewDefaultTableConvertor(s.store.kind.resource()).ConvertToTable(ctx, obj, options)
}

// scaled turns the update of a Scale into one of the workload.
type scaled[T object] struct {
	scale scale[T]
	name  string
	info  rest.UpdatedObjectInfo
}

// Preconditions are those of the request.
func (u scaled[T]) Preconditions() *metav1.Preconditions { return u.info.Preconditions() }

// UpdatedObject returns the workload with the number of replicas the request wants.
func (u scaled[T]) UpdatedObject(ctx context.Context, old runtime.Object) (runtime.Object, error) {
	workload := old.DeepCopyObject().(T)
	if workload.GetResourceVersion() == "" {
		return nil, apierrors.NewNotFound(u.scale.store.kind.resource(), u.name)
	}
	before, err := u.scale.from(workload)
	if err != nil {
		return nil, err
	}
	obj, err := u.info.UpdatedObject(ctx, before)
	if err != nil {
		return nil, err
	}
	wanted, ok := obj.(*autoscalingv1.Scale)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("expected input object type to be Scale, but %T", obj))
	}
	if errs := validateNonNegative(field.NewPath("spec", "replicas"), int64(wanted.Spec.Replicas)); len(errs) > 0 {
		return nil, apierrors.NewInvalid(autoscalingv1.SchemeGroupVersion.WithKind("Scale").GroupKind(), wanted.Name, errs)
	}
	managed, err := u.scale.managed(workload).ToParent(wanted.ManagedFields)
	if err != nil {
		return nil, err
	}
	*u.scale.parts(workload).replicas = wanted.Spec.Replicas // defaulted, so never nil; workload is our own copy
	workload.SetManagedFields(managed)
	if wanted.ResourceVersion != "" {
		workload.SetResourceVersion(wanted.ResourceVersion)
	}
	return workload, nil
}

package registry

import (
	"context"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage"
	storageerrors "k8s.io/apiserver/pkg/storage/errors"
	"k8s.io/apiserver/pkg/util/dryrun"

	"fairlead.dev/fairlead/api"
)

// binding is the binding subresource of pods, by which a scheduler puts a pod on a node.
type binding struct{ pods *genericregistry.Store }

var _ rest.NamedCreater = binding{}

// New returns an empty binding.
func (binding) New() runtime.Object { return &corev1.Binding{} }

// Destroy does nothing: the storage belongs to pods.
func (binding) Destroy() {}

// Create puts the pod on the node the binding names. A pod that has a node already, or is being deleted, is a conflict.
func (b binding) Create(ctx context.Context, name string, obj runtime.Object, validate rest.ValidateObjectFunc, options *metav1.CreateOptions) (runtime.Object, error) {
	bind, ok := obj.(*corev1.Binding)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not a Binding object: %T", obj))
	}
	if name != bind.Name {
		return nil, apierrors.NewBadRequest("name in URL does not match name in Binding object")
	}
	if errs := validateBinding(bind); len(errs) > 0 {
		return nil, apierrors.NewInvalid(corev1.SchemeGroupVersion.WithKind("Binding").GroupKind(), name, errs)
	}
	if validate != nil {
		if err := validate(ctx, bind.DeepCopy()); err != nil {
			return nil, err
		}
	}
	err := changePod(ctx, b.pods, name, string(bind.UID), options.DryRun, func(pod *corev1.Pod) error {
		switch {
		case pod.DeletionTimestamp != nil:
			return fmt.Errorf("pod %s is being deleted, cannot be assigned to a host", pod.Name)
		case pod.Spec.NodeName != "":
			return fmt.Errorf("pod %s is already assigned to node %q", pod.Name, pod.Spec.NodeName)
		case len(pod.Spec.SchedulingGates) > 0:
			return fmt.Errorf("pod %s has non-empty .spec.schedulingGates", pod.Name)
		}
		pod.Spec.NodeName = bind.Target.Name
		if len(bind.Annotations) > 0 {
			if pod.Annotations == nil {
				pod.Annotations = map[string]string{}
			}
			maps.Copy(pod.Annotations, bind.Annotations)
		}
		setPodCondition(pod, corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue})
		return nil
	})
	if err != nil {
		if _, ok := err.(apierrors.APIStatus); !ok {
			err = apierrors.NewConflict(corev1.Resource("pods/binding"), name, err)
		}
		return nil, err
	}
	return &metav1.Status{Status: metav1.StatusSuccess}, nil
}

func validateBinding(b *corev1.Binding) field.ErrorList {
	var errs field.ErrorList
	target := field.NewPath("target")
	if b.Target.Kind != "" && b.Target.Kind != "Node" {
		errs = append(errs, field.NotSupported(target.Child("kind"), b.Target.Kind, []string{"Node", "<empty>"}))
	}
	if b.Target.Name == "" {
		errs = append(errs, field.Required(target.Child("name"), ""))
	}
	return errs
}

// eviction is the eviction subresource of pods, by which drain asks a pod to leave. There are no disruption budgets to
// ask first.
type eviction struct{ pods *genericregistry.Store }

var (
	_ rest.NamedCreater             = eviction{}
	_ rest.GroupVersionKindProvider = eviction{}
)

// GroupVersionKind is policy/v1 Eviction, by which kubectl drain finds that evictions are supported.
func (eviction) GroupVersionKind(schema.GroupVersion) schema.GroupVersionKind {
	return policyv1.SchemeGroupVersion.WithKind("Eviction")
}

// New returns an empty eviction.
func (eviction) New() runtime.Object { return &policyv1.Eviction{} }

// Destroy does nothing: the storage belongs to pods.
func (eviction) Destroy() {}

// Create deletes the pod gracefully, noting in its conditions that it was evicted.
func (e eviction) Create(ctx context.Context, name string, obj runtime.Object, validate rest.ValidateObjectFunc, options *metav1.CreateOptions) (runtime.Object, error) {
	evict, ok := obj.(*policyv1.Eviction)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not an Eviction object: %T", obj))
	}
	if name != evict.Name {
		return nil, apierrors.NewBadRequest("name in URL does not match name in Eviction object")
	}
	if validate != nil {
		if err := validate(ctx, evict.DeepCopy()); err != nil {
			return nil, err
		}
	}
	how := &metav1.DeleteOptions{}
	if evict.DeleteOptions != nil {
		how = evict.DeleteOptions.DeepCopy()
	}
	if len(options.DryRun) > 0 {
		how.DryRun = options.DryRun
	}
	uid := ""
	if how.Preconditions != nil && how.Preconditions.UID != nil {
		uid = string(*how.Preconditions.UID)
	}
	err := changePod(ctx, e.pods, name, uid, how.DryRun, func(pod *corev1.Pod) error {
		if api.Finished(pod) || pod.DeletionTimestamp != nil {
			return nil
		}
		setPodCondition(pod, corev1.PodCondition{
			Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue,
			Reason: "EvictionByEvictionAPI", Message: "Eviction API: evicting",
		})
		return nil
	})
	if err != nil {
		return nil, err
	}
	if how.Preconditions != nil {
		how.Preconditions.ResourceVersion = nil // the condition has just changed it
	}
	if _, _, err := e.pods.Delete(ctx, name, rest.ValidateAllObjectFunc, how); err != nil {
		return nil, err
	}
	return &metav1.Status{Status: metav1.StatusSuccess}, nil
}

// changePod changes a stored pod past the rules for users. A uid that is not empty must be the pod's.
func changePod(ctx context.Context, pods *genericregistry.Store, name, uid string, dry []string, change func(*corev1.Pod) error) error {
	key, err := pods.KeyFunc(ctx, name)
	if err != nil {
		return err
	}
	preconditions := &storage.Preconditions{}
	if uid != "" {
		preconditions = storage.NewUIDPreconditions(uid)
	}
	err = pods.Storage.GuaranteedUpdate(ctx, key, &corev1.Pod{}, false, preconditions,
		storage.SimpleUpdate(func(obj runtime.Object) (runtime.Object, error) {
			pod := obj.(*corev1.Pod)
			return pod, change(pod)
		}), dryrun.IsDryRun(dry), nil)
	return storageerrors.InterpretUpdateError(err, corev1.Resource("pods"), name)
}

// setPodCondition sets a condition, keeping the time of its last change when its status does not change.
func setPodCondition(pod *corev1.Pod, condition corev1.PodCondition) {
	condition.LastTransitionTime = metav1.NewTime(time.Now())
	condition.ObservedGeneration = pod.Generation
	for i := range pod.Status.Conditions {
		old := &pod.Status.Conditions[i]
		if old.Type != condition.Type {
			continue
		}
		if old.Status == condition.Status {
			condition.LastTransitionTime = old.LastTransitionTime
		}
		*old = condition
		return
	}
	pod.Status.Conditions = append(pod.Status.Conditions, condition)
}

package registry

import (
	"context"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage"
	storageerrors "k8s.io/apiserver/pkg/storage/errors"
	"k8s.io/apiserver/pkg/util/dryrun"
	podutil "k8s.io/kubernetes/pkg/api/pod"
	core "k8s.io/kubernetes/pkg/apis/core"
	convert "k8s.io/kubernetes/pkg/apis/core/v1"
	"k8s.io/kubernetes/pkg/apis/core/validation"
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
	only := &storage.Preconditions{}
	if bind.UID != "" {
		only.UID = &bind.UID
	}
	if bind.ResourceVersion != "" {
		only.ResourceVersion = &bind.ResourceVersion
	}
	err := changePod(ctx, b.pods, name, only, options.DryRun, func(pod *corev1.Pod) error { return bindTo(pod, bind) })
	if err != nil {
		if _, ok := err.(apierrors.APIStatus); !ok {
			err = apierrors.NewConflict(corev1.Resource("pods/binding"), name, err)
		}
		return nil, err
	}
	return &metav1.Status{Status: metav1.StatusSuccess}, nil
}

// bindTo puts a pod on the node that a binding names, with the binding's annotations and labels.
func bindTo(pod *corev1.Pod, bind *corev1.Binding) error {
	switch {
	case pod.DeletionTimestamp != nil:
		return fmt.Errorf("pod %s is being deleted, cannot be assigned to a host", pod.Name)
	case pod.Spec.NodeName != "":
		return fmt.Errorf("pod %s is already assigned to node %q", pod.Name, pod.Spec.NodeName)
	case len(pod.Spec.SchedulingGates) > 0:
		return fmt.Errorf("pod %s has non-empty .spec.schedulingGates", pod.Name)
	}
	pod.Spec.NodeName, pod.Status.NominatedNodeName = bind.Target.Name, ""
	pod.Annotations, pod.Labels = merged(pod.Annotations, bind.Annotations), merged(pod.Labels, bind.Labels)
	podutil.DropInitContainerAnnotations(pod.Annotations)
	setPodCondition(pod, corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue})
	return nil
}

// merged is m with what more has.
func merged(m, more map[string]string) map[string]string {
	if len(more) == 0 {
		return m
	}
	if m == nil {
		return maps.Clone(more)
	}
	maps.Copy(m, more)
	return m
}

func validateBinding(b *corev1.Binding) field.ErrorList {
	i := &core.Binding{}
	if err := convert.Convert_v1_Binding_To_core_Binding(b, i, nil); err != nil {
		return field.ErrorList{field.InternalError(nil, err)}
	}
	return validation.ValidatePodBinding(i)
}

// legacyBinding is the resource that bindings were made by before pods had a subresource for it.
type legacyBinding struct{ binding }

var (
	_ rest.Creater              = legacyBinding{}
	_ rest.Scoper               = legacyBinding{}
	_ rest.SingularNameProvider = legacyBinding{}
)

// NamespaceScoped is part of rest.Scoper.
func (legacyBinding) NamespaceScoped() bool { return true }

// GetSingularName is part of rest.SingularNameProvider.
func (legacyBinding) GetSingularName() string { return "binding" }

// Create puts the pod that the binding is named after on the node that it names.
func (b legacyBinding) Create(ctx context.Context, obj runtime.Object, validate rest.ValidateObjectFunc, options *metav1.CreateOptions) (runtime.Object, error) {
	bind, ok := obj.(*corev1.Binding)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not a Binding object: %T", obj))
	}
	return b.binding.Create(ctx, bind.Name, obj, validate, options)
}

// changePod changes a stored pod past the rules for users, if it is still as only says.
func changePod(ctx context.Context, pods *genericregistry.Store, name string, only *storage.Preconditions, dry []string, change func(*corev1.Pod) error) error {
	key, err := pods.KeyFunc(ctx, name)
	if err != nil {
		return err
	}
	err = pods.Storage.GuaranteedUpdate(ctx, key, &corev1.Pod{}, false, only,
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

package serviceaccount

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/kubernetes/pkg/apis/core"
	convert "k8s.io/kubernetes/pkg/apis/core/v1"
	upstream "k8s.io/kubernetes/plugin/pkg/admission/serviceaccount"

	"fairlead.dev/fairlead/api"
)

// Admission gives pods their account, its token and its credentials for images, and refuses accounts that do not exist: upstream's
// plugin, on pods converted to its internal type and back.
type Admission struct {
	*upstream.Plugin
	defaults *Defaults
}

var (
	_ admission.MutationInterface   = &Admission{}
	_ admission.ValidationInterface = &Admission{}
)

// NewAdmission is the admission by the accounts of a cache.
func NewAdmission(defaults *Defaults, client kubernetes.Interface, caches informers.SharedInformerFactory) *Admission {
	a := &Admission{Plugin: upstream.NewServiceAccount(), defaults: defaults}
	a.SetExternalKubeClientSet(client)
	a.SetExternalKubeInformerFactory(caches)
	return a
}

// Admit is part of admission.MutationInterface.
func (p *Admission) Admit(ctx context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	pod, ok := ofPod(a)
	if !ok || a.GetOperation() != admission.Create || a.GetSubresource() != "" {
		return nil
	}
	mirror := pod.Annotations[corev1.MirrorPodAnnotationKey] != ""
	account := pod.Spec.ServiceAccountName == "" || pod.Spec.ServiceAccountName == api.DefaultAccount
	if !mirror { // in a dry run as well: the namespace has them anyway, and upstream's plugin would wait for the account
		if err := p.defaults.Ensure(ctx, a.GetNamespace(), account, true); err != nil {
			return admission.NewForbidden(a, err)
		}
	}
	internal, err := internally(a, pod)
	if err != nil {
		return err
	}
	if err := p.Plugin.Admit(ctx, internal, o); err != nil {
		return err
	}
	out := &corev1.Pod{TypeMeta: pod.TypeMeta}
	if err := convert.Convert_core_Pod_To_v1_Pod(internal.pod, out, nil); err != nil {
		return fmt.Errorf("pod %s/%s: %w", a.GetNamespace(), pod.Name, err)
	}
	if len(out.Spec.ImagePullSecrets) == 0 {
		out.Spec.ImagePullSecrets = nil // upstream leaves an empty list behind, which is none when it is stored
	}
	*pod = *out
	return nil
}

// Validate is part of admission.ValidationInterface.
func (p *Admission) Validate(ctx context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	pod, ok := ofPod(a)
	if !ok || a.GetOperation() == admission.Update && a.GetSubresource() == "" { // an update cannot change what is looked at
		return nil
	}
	internal, err := internally(a, pod)
	if err != nil {
		return err
	}
	return p.Plugin.Validate(ctx, internal, o)
}

// ofPod is the pod that a request is about.
func ofPod(a admission.Attributes) (*corev1.Pod, bool) {
	pod, ok := a.GetObject().(*corev1.Pod)
	return pod, ok && a.GetResource().GroupResource() == corev1.Resource("pods") && (a.GetSubresource() == "" || a.GetSubresource() == "ephemeralcontainers")
}

// podAttributes are the attributes of a request with the pod in upstream's internal type.
type podAttributes struct {
	admission.Attributes
	pod *core.Pod
}

// GetObject is part of admission.Attributes.
func (a podAttributes) GetObject() runtime.Object { return a.pod }

func internally(a admission.Attributes, pod *corev1.Pod) (podAttributes, error) {
	internal := &core.Pod{}
	if err := convert.Convert_v1_Pod_To_core_Pod(pod, internal, nil); err != nil {
		return podAttributes{}, fmt.Errorf("pod %s/%s: %w", a.GetNamespace(), pod.Name, err)
	}
	return podAttributes{a, internal}, nil
}

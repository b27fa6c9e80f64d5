package serviceaccount

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/kubernetes/pkg/apis/core"
	upstream "k8s.io/kubernetes/plugin/pkg/admission/serviceaccount"

	"fairlead.dev/fairlead/api"
)

// Admission gives pods their account, its token and its credentials for images, and refuses accounts that do not exist: upstream's
// plugin, which works on pods of its internal type, after the account that a pod of a new namespace does not wait for.
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
	pod, ok := a.GetObject().(*core.Pod)
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
	if err := p.Plugin.Admit(ctx, a, o); err != nil {
		return err
	}
	if len(pod.Spec.ImagePullSecrets) == 0 {
		pod.Spec.ImagePullSecrets = nil // upstream leaves an empty list behind, which is none when it is stored
	}
	return nil
}

// Validate is part of admission.ValidationInterface.
func (p *Admission) Validate(ctx context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	if a.GetOperation() == admission.Update && a.GetSubresource() == "" { // an update cannot change what is looked at
		return nil
	}
	return p.Plugin.Validate(ctx, a, o)
}

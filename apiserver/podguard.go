package apiserver

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/apiserver/registry"
)

// podGuard is upstream's admission of pods, as far as it is about names: a pod whose service account, priority class or runtime
// class does not exist is refused (plugins ServiceAccount, Priority and RuntimeClass).
type podGuard struct {
	*admission.Handler
	accounts serviceAccounts // set before the server serves
}

// serviceAccounts is the storage of service accounts.
type serviceAccounts interface {
	rest.Getter
	rest.Creater
}

var _ admission.MutationInterface = &podGuard{}

func newPodGuard() *podGuard { return &podGuard{Handler: admission.NewHandler(admission.Create)} }

const defaultAccount = "default"

// Admit is part of admission.MutationInterface: its turn comes before validation.
func (g *podGuard) Admit(ctx context.Context, a admission.Attributes, _ admission.ObjectInterfaces) error {
	pod, ok := a.GetObject().(*corev1.Pod)
	if !ok || a.GetSubresource() != "" || a.GetResource().GroupResource() != corev1.Resource("pods") {
		return nil
	}
	if pod.Spec.ServiceAccountName == "" {
		pod.Spec.ServiceAccountName = defaultAccount
	}
	for _, err := range []error{g.account(ctx, a, pod), priority(&pod.Spec), runtimeClass(&pod.Spec)} {
		if err != nil {
			return admission.NewForbidden(a, err)
		}
	}
	return nil
}

// account looks the service account up. A namespace's default one is made by a controller, for which upstream waits; here whoever
// comes first makes it.
func (g *podGuard) account(ctx context.Context, a admission.Attributes, pod *corev1.Pod) error {
	name := pod.Spec.ServiceAccountName
	_, err := g.accounts.Get(ctx, name, &metav1.GetOptions{ResourceVersion: "0"})
	if apierrors.IsNotFound(err) { // the cache may be a moment behind
		_, err = g.accounts.Get(ctx, name, &metav1.GetOptions{})
	}
	if !apierrors.IsNotFound(err) {
		return err
	}
	if name != defaultAccount {
		return fmt.Errorf("error looking up service account %s/%s: %w", a.GetNamespace(), name, apierrors.NewNotFound(corev1.Resource("serviceaccount"), name))
	}
	if a.IsDryRun() {
		return nil
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: a.GetNamespace()}}
	if _, err := g.accounts.Create(ctx, account, rest.ValidateAllObjectFunc, &metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("error looking up service account %s/%s: %w", a.GetNamespace(), name, err)
	}
	return nil
}

// priority fills in what the pod's class says. A pod may repeat it and nothing else.
func priority(spec *corev1.PodSpec) error {
	value, ok := registry.ClassPriority(spec.PriorityClassName)
	if !ok {
		return fmt.Errorf("no PriorityClass with name %v was found", spec.PriorityClassName)
	}
	const computed = "; priority admission controller computed %v from the given PriorityClass name"
	if p := ptr.Deref(spec.Priority, value); p != value {
		return fmt.Errorf("the integer value of priority (%d) must not be provided in pod spec"+computed, p, value)
	}
	policy := corev1.PreemptLowerPriority
	if p := ptr.Deref(spec.PreemptionPolicy, policy); p != policy {
		return fmt.Errorf("the string value of PreemptionPolicy (%s) must not be provided in pod spec"+computed, p, policy)
	}
	spec.Priority, spec.PreemptionPolicy = &value, &policy
	return nil
}

// runtimeClass refuses every class: there are none.
func runtimeClass(spec *corev1.PodSpec) error {
	if spec.RuntimeClassName != nil {
		return fmt.Errorf("pod rejected: RuntimeClass %q not found", *spec.RuntimeClassName)
	}
	if len(spec.Overhead) > 0 {
		return fmt.Errorf("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead")
	}
	return nil
}

package apiserver

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/registry/rest"
)

// podGuard is upstream's plugin ServiceAccount as far as it is about names: a pod whose service account does not exist is refused.
type podGuard struct {
	*admission.Handler
	accounts serviceAccounts
}

// serviceAccounts is the storage of service accounts.
type serviceAccounts interface {
	rest.Getter
	rest.Creater
}

var _ admission.MutationInterface = &podGuard{}

func newPodGuard(accounts serviceAccounts) *podGuard {
	return &podGuard{admission.NewHandler(admission.Create), accounts}
}

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
	if err := g.account(ctx, a, pod); err != nil {
		return admission.NewForbidden(a, err)
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

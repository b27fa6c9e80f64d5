package serviceaccount

import (
	"context"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
)

// Objects are the storages of what tokens are bound to. They are set before the server serves.
type Objects struct {
	Accounts, Pods, Secrets, Nodes rest.Getter
}

// lookup reads objects of a version: "0" is whatever the watch cache has, "" what is stored now.
type lookup struct {
	objects *Objects
	version string
}

// GetServiceAccount is part of upstream's ServiceAccountTokenGetter.
func (l lookup) GetServiceAccount(ctx context.Context, namespace, name string) (*corev1.ServiceAccount, error) {
	return get[*corev1.ServiceAccount](ctx, l.objects.Accounts, l.version, "serviceaccounts", namespace, name)
}

// GetPod is part of upstream's ServiceAccountTokenGetter.
func (l lookup) GetPod(ctx context.Context, namespace, name string) (*corev1.Pod, error) {
	return get[*corev1.Pod](ctx, l.objects.Pods, l.version, "pods", namespace, name)
}

// GetSecret is part of upstream's ServiceAccountTokenGetter.
func (l lookup) GetSecret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	return get[*corev1.Secret](ctx, l.objects.Secrets, l.version, "secrets", namespace, name)
}

// GetNode is part of upstream's ServiceAccountTokenGetter.
func (l lookup) GetNode(ctx context.Context, name string) (*corev1.Node, error) {
	return get[*corev1.Node](ctx, l.objects.Nodes, l.version, "nodes", "", name)
}

// GetValidatingWebhookConfiguration is part of upstream's ServiceAccountTokenGetter; no token is bound to one.
func (lookup) GetValidatingWebhookConfiguration(_ context.Context, name string) (*admissionregistrationv1.ValidatingWebhookConfiguration, error) {
	return nil, apierrors.NewNotFound(admissionregistrationv1.Resource("validatingwebhookconfigurations"), name)
}

// GetMutatingWebhookConfiguration is part of upstream's ServiceAccountTokenGetter; no token is bound to one.
func (lookup) GetMutatingWebhookConfiguration(_ context.Context, name string) (*admissionregistrationv1.MutatingWebhookConfiguration, error) {
	return nil, apierrors.NewNotFound(admissionregistrationv1.Resource("mutatingwebhookconfigurations"), name)
}

// get reads an object.
func get[T runtime.Object](ctx context.Context, from rest.Getter, version, resource, namespace, name string) (T, error) {
	obj, err := from.Get(asked(ctx, "get", resource, namespace, name), name, &metav1.GetOptions{ResourceVersion: version})
	if err != nil {
		var none T
		return none, err
	}
	return obj.(T), nil
}

// asked is the context that a request of its own would have, so that errors name the object that they are about.
func asked(ctx context.Context, verb, resource, namespace, name string) context.Context {
	return genericapirequest.WithRequestInfo(genericapirequest.WithNamespace(ctx, namespace), &genericapirequest.RequestInfo{
		IsResourceRequest: true, Verb: verb, APIVersion: "v1", Namespace: namespace, Resource: resource, Name: name,
	})
}

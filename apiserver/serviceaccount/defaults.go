package serviceaccount

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"

	"fairlead.dev/fairlead/api"
)

// Storage is that of a kind of which every namespace has one.
type Storage interface {
	rest.Getter
	rest.Creater
}

// Defaults makes what pods rely on in every namespace: the service account and the ConfigMap with the authority's certificate. A
// controller does so as well, and keeps them; but a pod may come in the moment in which its namespace is made, and does not wait.
type Defaults struct {
	Accounts, ConfigMaps Storage // set before the server serves
	CA                   []byte  // PEM
}

// Ensure makes what a namespace does not have.
func (d *Defaults) Ensure(ctx context.Context, namespace string, account, rootCA bool) error {
	if account {
		made := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: api.DefaultAccount}}
		if err := ensure(ctx, d.Accounts, "serviceaccounts", api.DefaultAccount, namespace, made); err != nil {
			return fmt.Errorf("service account %s/%s: %w", namespace, api.DefaultAccount, err)
		}
	}
	if rootCA {
		if err := ensure(ctx, d.ConfigMaps, "configmaps", api.RootCA, namespace, api.RootCAOf(namespace, d.CA)); err != nil {
			return fmt.Errorf("config map %s/%s: %w", namespace, api.RootCA, err)
		}
	}
	return nil
}

func ensure(ctx context.Context, in Storage, resource, name, namespace string, made runtime.Object) error {
	if _, err := get[runtime.Object](ctx, in, "0", resource, namespace, name); !apierrors.IsNotFound(err) {
		return err
	}
	_, err := in.Create(asked(ctx, "create", resource, namespace, name), made, rest.ValidateAllObjectFunc, &metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) { // the cache is a moment behind
		return nil
	}
	return err
}

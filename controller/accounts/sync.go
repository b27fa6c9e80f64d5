package accounts

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/kube"
)

// syncNamespace makes what a namespace lacks, and puts the certificate right. The API refuses new objects in a namespace that is being
// deleted.
func (c *Controller) syncNamespace(ctx context.Context, name string) (time.Duration, error) {
	namespace := kube.Cached[corev1.Namespace](c.namespaces, types.NamespacedName{Name: name})
	if namespace == nil || namespace.DeletionTimestamp != nil || namespace.Status.Phase == corev1.NamespaceTerminating {
		return 0, nil
	}
	if kube.Cached[corev1.ServiceAccount](c.accounts, types.NamespacedName{Namespace: name, Name: api.DefaultAccount}) == nil {
		account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: api.DefaultAccount}}
		_, err := c.client.CoreV1().ServiceAccounts(name).Create(ctx, account, metav1.CreateOptions{})
		if ended(err) != nil {
			return 0, fmt.Errorf("service account %s/%s: %w", name, account.Name, err)
		}
	}
	if err := c.keepRootCA(ctx, name); ended(err) != nil {
		return 0, fmt.Errorf("config map %s/%s: %w", name, api.RootCA, err)
	}
	return 0, nil
}

// ended drops the errors of somebody having been there before, and of a namespace that is going.
func ended(err error) error {
	if apierrors.IsAlreadyExists(err) || apierrors.IsNotFound(err) || apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return nil
	}
	return err
}

func (c *Controller) keepRootCA(ctx context.Context, namespace string) error {
	want := api.RootCAOf(namespace, c.rootCA)
	have := kube.Cached[corev1.ConfigMap](c.maps, kube.Key(want))
	if have == nil {
		_, err := c.client.CoreV1().ConfigMaps(namespace).Create(ctx, want, metav1.CreateOptions{})
		return err
	}
	if maps.Equal(have.Data, want.Data) {
		return nil
	}
	have = have.DeepCopy()
	have.Data = want.Data
	_, err := c.client.CoreV1().ConfigMaps(namespace).Update(ctx, have, metav1.UpdateOptions{})
	return err
}

// syncSecret fills a Secret, or removes one whose account is gone or that nobody uses.
func (c *Controller) syncSecret(ctx context.Context, key types.NamespacedName) (time.Duration, error) {
	secret := kube.Cached[corev1.Secret](c.secrets, key)
	if secret == nil || secret.DeletionTimestamp != nil {
		return 0, nil
	}
	account, err := c.accountOf(ctx, secret)
	if err != nil {
		return 0, fmt.Errorf("service account of secret %s: %w", key, err)
	}
	if account == nil {
		err := c.client.CoreV1().Secrets(key.Namespace).Delete(ctx, key.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(secret.UID))})
		return 0, ended(err)
	}
	if err := c.fill(ctx, account, secret); err != nil {
		return 0, fmt.Errorf("token of secret %s: %w", key, err)
	}
	again, err := c.clean(ctx, account, secret)
	if err != nil {
		return 0, fmt.Errorf("unused secret %s: %w", key, err)
	}
	return again, nil
}

// accountOf is the account that a Secret is for, or nil: one that has only the same name is another.
func (c *Controller) accountOf(ctx context.Context, secret *corev1.Secret) (*corev1.ServiceAccount, error) {
	name := types.NamespacedName{Namespace: secret.Namespace, Name: secret.Annotations[corev1.ServiceAccountNameKey]}
	is := func(a *corev1.ServiceAccount) bool {
		uid := secret.Annotations[corev1.ServiceAccountUIDKey]
		return a != nil && (uid == "" || uid == string(a.UID))
	}
	if account := kube.Cached[corev1.ServiceAccount](c.accounts, name); is(account) {
		return account, nil
	}
	account, err := c.client.CoreV1().ServiceAccounts(name.Namespace).Get(ctx, name.Name, metav1.GetOptions{}) // the cache may be behind
	if apierrors.IsNotFound(err) || err == nil && !is(account) {
		return nil, nil
	}
	return account, err
}

func (c *Controller) fill(ctx context.Context, account *corev1.ServiceAccount, secret *corev1.Secret) error {
	data := map[string][]byte{corev1.ServiceAccountRootCAKey: c.rootCA, corev1.ServiceAccountNamespaceKey: []byte(secret.Namespace), corev1.ServiceAccountTokenKey: secret.Data[corev1.ServiceAccountTokenKey]}
	if len(data[corev1.ServiceAccountTokenKey]) == 0 {
		token, err := c.token(ctx, account, secret)
		if err != nil {
			return err
		}
		data[corev1.ServiceAccountTokenKey] = []byte(token)
	}
	filled := secret.DeepCopy()
	if filled.Data == nil {
		filled.Data = map[string][]byte{}
	}
	maps.Copy(filled.Data, data)
	filled.Annotations[corev1.ServiceAccountUIDKey] = string(account.UID)
	if maps.Equal(filled.Annotations, secret.Annotations) && maps.EqualFunc(filled.Data, secret.Data, bytes.Equal) {
		return nil
	}
	_, err := c.client.CoreV1().Secrets(secret.Namespace).Update(ctx, filled, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

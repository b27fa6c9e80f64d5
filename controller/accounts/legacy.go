package accounts

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api/podrefs"
)

const (
	// lastUsed is the day on which a token out of a Secret was last used, which the API server writes; invalidSince the day from which on
	// it is not believed any more: upstream's labels.
	lastUsed     = "kubernetes.io/legacy-token-last-used"
	invalidSince = "kubernetes.io/legacy-token-invalid-since"

	// unused is how long a token goes unused before it is marked, and marked before it is removed: upstream's
	// --legacy-service-account-token-clean-up-period. It is looked at once a day.
	unused = 365 * 24 * time.Hour
	daily  = 24 * time.Hour
)

// fate is what becomes of a token that was once made for an account without having been asked for.
type fate int

const (
	stays fate = iota
	marked
	removed
)

// fateOf judges a Secret that its account lists among its own, as Kubernetes before 1.24 made them; those that a person asked for are listed
// nowhere and stay. Whether a pod has it mounted is for the caller to see.
func fateOf(secret *corev1.Secret, account *corev1.ServiceAccount, now time.Time) fate {
	listed := slices.ContainsFunc(account.Secrets, func(r corev1.ObjectReference) bool { return r.Name == secret.Name })
	if !listed || !secret.CreationTimestamp.Time.Before(now.Add(-unused)) {
		return stays
	}
	before := now.Add(-unused).UTC().Format(time.DateOnly)
	if used, ok := secret.Labels[lastUsed]; ok {
		if _, err := time.Parse(time.DateOnly, used); err != nil || used >= before {
			return stays
		}
	}
	since := secret.Labels[invalidSince]
	if _, err := time.Parse(time.DateOnly, since); err != nil {
		return marked
	}
	if since >= before {
		return stays
	}
	return removed
}

// clean marks a Secret that has gone unused, or removes it, and says when to look again.
func (c *Controller) clean(ctx context.Context, account *corev1.ServiceAccount, secret *corev1.Secret) (time.Duration, error) {
	now := time.Now()
	what := fateOf(secret, account, now)
	if what == stays {
		return daily, nil
	}
	secrets := c.client.CoreV1().Secrets(secret.Namespace)
	pods, err := c.client.CoreV1().Pods(secret.Namespace).List(ctx, metav1.ListOptions{ResourceVersion: "0"})
	if err != nil {
		return 0, fmt.Errorf("pods that use it: %w", err)
	}
	for i := range pods.Items {
		if podrefs.Of(&pods.Items[i]).Secrets[secret.Name] {
			return daily, nil
		}
	}
	if what == removed {
		return 0, ended(secrets.Delete(ctx, secret.Name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &secret.UID, ResourceVersion: &secret.ResourceVersion}}))
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": secret.UID, "labels": map[string]string{invalidSince: now.UTC().Format(time.DateOnly)}}})
	if err != nil {
		return 0, err
	}
	_, err = secrets.Patch(ctx, secret.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	return daily, ended(err)
}

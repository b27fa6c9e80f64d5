package volume

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	authv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/node/spec"
)

// tokenKey is where in a pod's volumes a token is.
type tokenKey struct {
	volume string
	source int
}

// token is one that a pod has, and when it gets another.
type token struct {
	text  string
	renew time.Time
}

const (
	// longestUse is how long a token is used at the most, however long it is good.
	longestUse = 24 * time.Hour
	// mostEarlier spreads the renewals of pods that began together.
	mostEarlier = 10 * time.Second
)

// renewal is when a token that was made now is renewed: when four fifths of its time are over, and a little earlier.
func renewal(now, end time.Time, earlier time.Duration) time.Time {
	at := now.Add(end.Sub(now) * 4 / 5)
	if latest := now.Add(longestUse); at.After(latest) {
		at = latest
	}
	return at.Add(-earlier)
}

// tokenFile is the file of a token of the pod's service account, bound to the pod. One that the pod has already stays until it is
// time for another.
func (mgr *Manager) tokenFile(ctx context.Context, pod *corev1.Pod, key tokenKey, source *corev1.ServiceAccountTokenProjection, mode *int32) (spec.File, error) {
	file := spec.PrivateFile(pod, source.Path, mode)
	mgr.pods.mu.Lock()
	have := mgr.pods.of(pod).tokens[key]
	mgr.pods.mu.Unlock()
	if have == nil || !time.Now().Before(have.renew) {
		var err error
		if have, err = mgr.requestToken(ctx, pod, source); err != nil {
			return file, fmt.Errorf("failed to fetch token: %w", err)
		}
		mgr.pods.mu.Lock()
		mgr.pods.of(pod).tokens[key] = have
		mgr.pods.mu.Unlock()
	}
	file.Data = []byte(have.text)
	return file, nil
}

func (mgr *Manager) requestToken(ctx context.Context, pod *corev1.Pod, source *corev1.ServiceAccountTokenProjection) (*token, error) {
	request := &authv1.TokenRequest{Spec: authv1.TokenRequestSpec{
		ExpirationSeconds: source.ExpirationSeconds,
		BoundObjectRef:    &authv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID},
	}}
	if source.Audience != "" {
		request.Spec.Audiences = []string{source.Audience}
	}
	account := pod.Spec.ServiceAccountName
	if account == "" {
		account = api.DefaultAccount
	}
	now := time.Now()
	answer, err := mgr.Client.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(ctx, account, request, metav1.CreateOptions{})
	if err != nil {
		return nil, err
	}
	return &token{answer.Status.Token, renewal(now, answer.Status.ExpirationTimestamp.Time, rand.N(mostEarlier))}, nil
}

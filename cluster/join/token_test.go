package join

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"fairlead.dev/fairlead/internal/apitest"
)

// Tokens that end are Secrets of a real API server, which others write as well.

func withTokens(t *testing.T) (site, Secrets) {
	t.Helper()
	s := serve(t, open)
	secrets := kubernetes.NewForConfigOrDie(apitest.Start(t)).CoreV1().Secrets(metav1.NamespaceSystem)
	s.api.Tokens = secrets
	return s, secrets
}

func TestATokenAdmitsUntilItEndsOrIsRevoked(t *testing.T) {
	s, secrets := withTokens(t)
	token, err := Make(t.Context(), secrets, s.CA, time.Hour, "for the new rack")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.machine("node1").Join(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	list, err := List(t.Context(), secrets)
	if err != nil || len(list) != 1 || list[0].Ended || list[0].Description != "for the new rack" || time.Until(list[0].Expires) > time.Hour {
		t.Fatalf("%+v, %v", list, err)
	}
	if !strings.HasPrefix(token, s.CA.Fingerprint()+"."+list[0].ID+".") {
		t.Errorf("the token does not begin with its id %s", list[0].ID)
	}
	s.CA.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	if _, err := s.machine("node2").Join(t.Context(), token); err == nil || !strings.Contains(err.Error(), "has ended") {
		t.Errorf("after its end: %v", err)
	}
	s.CA.Now = time.Now
	if _, err := Make(t.Context(), secrets, s.CA, -time.Second, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := Make(t.Context(), secrets, s.CA, time.Hour, ""); err != nil {
		t.Fatal(err)
	}
	if now, err := List(t.Context(), secrets); err != nil || len(now) != 2 {
		t.Errorf("the one that has ended is not removed when another is made: %+v, %v", now, err)
	}
	if err := Revoke(t.Context(), secrets, list[0].ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.machine("node3").Join(t.Context(), token); err == nil || !strings.Contains(err.Error(), "token create") {
		t.Errorf("after it was revoked: %v", err)
	}
	if err := Revoke(t.Context(), secrets, list[0].ID); err == nil || !strings.Contains(err.Error(), "there is none") {
		t.Errorf("revoked twice: %v", err)
	}
	if err := Revoke(t.Context(), secrets, "../x"); err == nil || !strings.Contains(err.Error(), "6 letters and digits") {
		t.Errorf("an id that is none: %v", err)
	}
}

func TestOnlyWholeTokensOfTheRightKindAdmit(t *testing.T) {
	s, secrets := withTokens(t)
	good := func() *corev1.Secret {
		return &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: "bootstrap-token-abcdef"}, Type: corev1.SecretTypeBootstrapToken,
			StringData: map[string]string{"token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true"},
		}
	}
	for name, spoil := range map[string]func(*corev1.Secret){
		"as kubeadm writes one that does not end": nil,
		"for something else":                      func(s *corev1.Secret) { s.StringData["usage-bootstrap-authentication"] = "false" },
		"of no type":                              func(s *corev1.Secret) { s.Type = corev1.SecretTypeOpaque },
		"of another id":                           func(s *corev1.Secret) { s.StringData["token-id"] = "abcdeg" },
		"with another secret":                     func(s *corev1.Secret) { s.StringData["token-secret"] = "0123456789abcdeg" },
		"without a secret":                        func(s *corev1.Secret) { delete(s.StringData, "token-secret") },
		"with an end that is none":                func(s *corev1.Secret) { s.StringData["expiration"] = "tomorrow" },
		"that has ended":                          func(s *corev1.Secret) { s.StringData["expiration"] = "2001-01-01T00:00:00Z" },
	} {
		kept := good()
		if spoil != nil {
			spoil(kept)
		}
		if _, err := secrets.Create(t.Context(), kept, metav1.CreateOptions{}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_, err := s.machine("node1").Join(t.Context(), Token(s.CA, "abcdef.0123456789abcdef"))
		if admitted := err == nil; admitted != (spoil == nil) {
			t.Errorf("%s: admitted %v (%v)", name, admitted, err)
		}
		if err := secrets.Delete(t.Context(), kept.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestATokenThatCannotBeLookedUpIsNeitherRightNorWrong(t *testing.T) {
	s, secrets := withTokens(t)
	token, err := Make(t.Context(), secrets, s.CA, time.Hour, "")
	if err != nil {
		t.Fatal(err)
	}
	s.Open(Cluster{})
	if _, err := s.machine("node1").Join(t.Context(), token); !errors.Is(err, ErrLater) {
		t.Errorf("before the server is open: %v", err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	s.api.Tokens = secrets
	s.api.Nodes = func(context.Context) ([]*corev1.Node, error) { return nil, nil }
	no := refusal{}
	if err := s.admitFor(gone, strings.SplitN(token, ".", 2)[1]); !errors.As(err, &no) || no.code != http.StatusServiceUnavailable {
		t.Errorf("%v", err)
	}
}

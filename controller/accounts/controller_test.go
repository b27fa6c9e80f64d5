package accounts_test

import (
	"log/slog"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"

	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/controller/accounts"
	"fairlead.dev/fairlead/internal/apitest"
)

// begin starts an API server with the controller, and returns a client and what makes one that shows a token.
func begin(t *testing.T) (kubernetes.Interface, func(token string) kubernetes.Interface, []byte) {
	t.Helper()
	cfg := apitest.Config(t, t.TempDir())
	server, _ := apitest.Run(t, cfg)
	client := clientOf(t, server.ClientConfig())
	shared := informers.NewSharedInformerFactory(client, 0)
	apitest.Control(t, shared, accounts.New(client, shared, cfg.CA.CertPEM(), server.SecretToken, slog.New(slog.DiscardHandler)).Run)
	return client, func(token string) kubernetes.Interface {
		return clientOf(t, &rest.Config{Host: "https://" + cfg.Bind.String(), BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAData: cfg.CA.CertPEM()}})
	}, cfg.CA.CertPEM()
}

func clientOf(t *testing.T, config *rest.Config) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// TestEveryNamespaceHasThem: the account and the certificate, made again when they are deleted and put right when they are changed.
func TestEveryNamespaceHasThem(t *testing.T) {
	client, _, ca := begin(t)
	ctx := t.Context()
	if _, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "fresh"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	there := func() {
		t.Helper()
		apitest.Eventually(t, func() string {
			for _, namespace := range []string{"default", "kube-system", "fresh"} {
				if _, err := client.CoreV1().ServiceAccounts(namespace).Get(ctx, api.DefaultAccount, metav1.GetOptions{}); err != nil {
					return err.Error()
				}
				m, err := client.CoreV1().ConfigMaps(namespace).Get(ctx, api.RootCA, metav1.GetOptions{})
				if err != nil {
					return err.Error()
				}
				if m.Data[api.RootCAKey] != string(ca) || len(m.Data) != 1 {
					return namespace + ": another certificate"
				}
			}
			return ""
		})
	}
	there()
	if err := client.CoreV1().ServiceAccounts("fresh").Delete(ctx, api.DefaultAccount, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := client.CoreV1().ConfigMaps("fresh").Delete(ctx, api.RootCA, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	there()
	m := api.RootCAOf("fresh", []byte("forged"))
	if _, err := client.CoreV1().ConfigMaps("fresh").Update(ctx, m, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	there()
}

// TestSecretsAreFilledWithATokenOfTheirAccount: which is good while both are there; the Secret goes with the account, also when
// another takes its name.
func TestSecretsAreFilledWithATokenOfTheirAccount(t *testing.T) {
	client, with, _ := begin(t)
	ctx := t.Context()
	robots := client.CoreV1().ServiceAccounts("default")
	makeRobot := func() {
		t.Helper()
		if _, err := robots.Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot"}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	ask := func() {
		t.Helper()
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "s", Annotations: map[string]string{corev1.ServiceAccountNameKey: "robot"}}, Type: corev1.SecretTypeServiceAccountToken}
		if _, err := client.CoreV1().Secrets("default").Create(ctx, secret, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	gone := func() {
		t.Helper()
		apitest.Eventually(t, func() string {
			if _, err := client.CoreV1().Secrets("default").Get(ctx, "s", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
				return "the secret is still there"
			}
			return ""
		})
	}
	makeRobot()
	ask()
	var token string
	apitest.Eventually(t, func() string {
		s, err := client.CoreV1().Secrets("default").Get(ctx, "s", metav1.GetOptions{})
		if err != nil || len(s.Data["token"]) == 0 || len(s.Data["ca.crt"]) == 0 || string(s.Data["namespace"]) != "default" {
			return "the secret is not filled"
		}
		token = string(s.Data["token"])
		return ""
	})
	for range 2 { // the second time it is known
		if _, err := with(token).Discovery().ServerGroups(); err != nil {
			t.Fatalf("the token is not good: %v", err)
		}
	}
	if err := robots.Delete(ctx, "robot", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	makeRobot()
	gone()
	if _, err := with(token).Discovery().ServerGroups(); !apierrors.IsUnauthorized(err) {
		t.Errorf("the token of an account that is gone: %v", err)
	}
	if err := robots.Delete(ctx, "robot", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	ask() // for nobody
	gone()
}

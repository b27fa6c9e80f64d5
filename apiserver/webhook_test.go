package apiserver_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
	registration "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/internal/apitest"
	"fairlead.dev/fairlead/pki"
)

// judge is a webhook at two paths, which shows a certificate of an authority for a name, and what was asked of it.
func judge(t *testing.T, ca *pki.Authority, name string) string {
	t.Helper()
	certPEM, keyPEM, err := ca.Issue(pki.Request{CommonName: name, Names: []string{name}, Server: true})
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		denied := &metav1.Status{Message: fmt.Sprintf("no at %s, said to %q, with credentials %q", r.URL.Path, r.Host, r.Header.Get("Authorization"))}
		review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: r.URL.Path == "/yes", Result: denied}
		_ = json.NewEncoder(w).Encode(review) // the caller may be gone
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// TestWebhooksOfServices: a webhook of a Service is called by way of the node that has its endpoint, at its path, under the Service's name, by
// which its certificate must be; a Service without endpoints, or port, or that is not there, is a webhook that fails.
func TestWebhooksOfServices(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	cfg.PodCIDRs = []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}
	server, _ := apitest.Run(t, cfg)
	admin := server.ClientConfig()
	client, ctx := clientOf(t, admin), t.Context()
	ca, err := pki.LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	other, err := pki.LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	tunnelling(t, cfg, admin, judge(t, ca, "zoo.default.svc"))
	zoo(t, admin, nil) // the Service default/zoo and its endpoint
	fails, none := registration.Fail, registration.SideEffectClassNone
	for name, test := range map[string]struct {
		to   registration.ServiceReference
		ca   *pki.Authority
		want string // "": allowed
	}{
		"allows":             {registration.ServiceReference{Name: "zoo", Path: ptr.To("/yes")}, ca, ""},
		"denies at its path": {registration.ServiceReference{Name: "zoo", Path: ptr.To("/no/at/all"), Port: ptr.To[int32](443)}, ca, `no at /no/at/all, said to "zoo.default.svc:443", with credentials ""`},
		"denies without one": {registration.ServiceReference{Name: "zoo"}, ca, "no at /"},
		"another authority":  {registration.ServiceReference{Name: "zoo"}, other, "certificate signed by unknown authority"},
		"no such port":       {registration.ServiceReference{Name: "zoo", Port: ptr.To[int32](444)}, ca, "444"},
		"no such Service":    {registration.ServiceReference{Name: "none"}, ca, `"none" not found`},
	} {
		test.to.Namespace = "default"
		_, err := client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(ctx, &registration.ValidatingWebhookConfiguration{
			ObjectMeta: metav1.ObjectMeta{Name: "judge"}, Webhooks: []registration.ValidatingWebhook{{
				Name: "judge.example.com", FailurePolicy: &fails, SideEffects: &none, AdmissionReviewVersions: []string{"v1"},
				ClientConfig: registration.WebhookClientConfig{Service: &test.to, CABundle: test.ca.CertPEM()},
				Rules: []registration.RuleWithOperations{{Operations: []registration.OperationType{registration.Create},
					Rule: registration.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"configmaps"}}}},
			}},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		apitest.Eventually(t, func() string { // what is configured counts a moment later
			_, err := client.CoreV1().ConfigMaps("default").Create(ctx, configMap("c"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			if test.want == "" && err == nil || test.want != "" && err != nil && strings.Contains(err.Error(), test.want) {
				return ""
			}
			return fmt.Sprintf("%s: %v, want %q", name, err, test.want)
		})
		if err := client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(ctx, "judge", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		apitest.Eventually(t, func() string {
			_, err := client.CoreV1().ConfigMaps("default").Create(ctx, configMap("c"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
			if err != nil && !apierrors.IsAlreadyExists(err) {
				return err.Error()
			}
			return ""
		})
	}
}

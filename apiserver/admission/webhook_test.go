package admission_test

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	registration "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/internal/apitest"
)

// hooks is a real HTTPS server of webhooks, one for each path.
type hooks struct {
	*httptest.Server
	mu   sync.Mutex
	seen map[string][]*admissionv1.AdmissionRequest
}

// serveHooks answers as answer says, which gets the path and what is asked.
func serveHooks(t *testing.T, answer func(path string, asked *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse) *hooks {
	h := &hooks{seen: map[string][]*admissionv1.AdmissionRequest{}}
	h.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var review admissionv1.AdmissionReview
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		path := strings.TrimPrefix(r.URL.Path, "/")
		h.mu.Lock()
		h.seen[path] = append(h.seen[path], review.Request)
		h.mu.Unlock()
		response := answer(path, review.Request)
		if response == nil {
			http.Redirect(w, r, "/allow", http.StatusTemporaryRedirect)
			return
		}
		if response.UID == "" {
			response.UID = review.Request.UID
		}
		review.Request, review.Response = nil, response
		if err := json.NewEncoder(w).Encode(review); err != nil {
			panic(http.ErrAbortHandler)
		}
	}))
	t.Cleanup(h.Close)
	return h
}

func (h *hooks) asked(path string) []*admissionv1.AdmissionRequest {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.seen[path]
}

func (h *hooks) at(path string) registration.WebhookClientConfig {
	url := h.URL + "/" + path
	return registration.WebhookClientConfig{URL: &url, CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: h.Certificate().Raw})}
}

func on(group, resource string, operations ...registration.OperationType) []registration.RuleWithOperations {
	return []registration.RuleWithOperations{{Operations: operations, Rule: registration.Rule{APIGroups: []string{group}, APIVersions: []string{"*"}, Resources: []string{resource}}}}
}

// validate configures a validating webhook for the ConfigMaps of a namespace, changed by with.
func (h *hooks) validate(t *testing.T, client kubernetes.Interface, path string, with ...func(*registration.ValidatingWebhook)) {
	t.Helper()
	none, fail := registration.SideEffectClassNone, registration.Fail
	hook := registration.ValidatingWebhook{
		Name: path + ".example.com", ClientConfig: h.at(path), SideEffects: &none, FailurePolicy: &fail, AdmissionReviewVersions: []string{"v1"},
		Rules:             on("", "configmaps", registration.Create),
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"kubernetes.io/metadata.name": "n"}},
	}
	for _, w := range with {
		w(&hook)
	}
	must[*registration.ValidatingWebhookConfiguration](t)(client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(t.Context(),
		&registration.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: path}, Webhooks: []registration.ValidatingWebhook{hook}}, metav1.CreateOptions{}))
	eventually(t, func() error { // it is known when it has been asked, or when writes fail because it cannot be
		_, err := dryRun(t, client, "n", "probe")
		if err == nil && len(h.asked(path)) == 0 {
			return errors.New("not asked yet")
		}
		return nil
	})
	t.Cleanup(func() {
		_ = client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(t.Context(), path, metav1.DeleteOptions{})
	})
}

func dryRun(t *testing.T, client kubernetes.Interface, namespace, name string) (*corev1.ConfigMap, error) {
	t.Helper()
	return client.CoreV1().ConfigMaps(namespace).Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
}

type warnings struct {
	mu  sync.Mutex
	all []string
}

func (w *warnings) HandleWarningHeader(_ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, text)
}

// startHooked is start with a client that keeps warnings.
func startHooked(t *testing.T) (kubernetes.Interface, *rest.Config, *warnings) {
	t.Helper()
	config, heard := apitest.Start(t), &warnings{}
	config.WarningHandler = heard
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	must[*corev1.Namespace](t)(client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "n"}}, metav1.CreateOptions{}))
	return client, config, heard
}

func TestValidatingWebhook(t *testing.T) {
	client, _, heard := startHooked(t)
	h := serveHooks(t, func(_ string, asked *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
		return &admissionv1.AdmissionResponse{Allowed: asked.Name != "bad", Warnings: []string{"looked at"}, Result: &metav1.Status{Message: "no bad ones", Code: 418}}
	})
	h.validate(t, client, "judge", func(w *registration.ValidatingWebhook) {
		w.MatchConditions = []registration.MatchCondition{{Name: "not-exempt", Expression: "object.metadata.name != 'exempt'"}}
	})
	_, err := dryRun(t, client, "n", "bad")
	refused(t, err, `admission webhook "judge.example.com" denied the request: no bad ones`)
	must[*corev1.ConfigMap](t)(dryRun(t, client, "n", "good"))
	if len(heard.all) == 0 || heard.all[0] != "looked at" {
		t.Errorf("warnings %q", heard.all)
	}
	before := len(h.asked("judge"))
	must[*corev1.ConfigMap](t)(dryRun(t, client, "n", "exempt"))
	must[*corev1.ConfigMap](t)(dryRun(t, client, "default", "bad"))
	if asked := h.asked("judge"); len(asked) != before {
		t.Errorf("asked %d times of what does not match", len(asked)-before)
	} else if last := asked[before-1]; !*last.DryRun || last.Kind.Kind != "ConfigMap" || last.UserInfo.Username == "" {
		t.Errorf("asked %+v", last)
	}
}

// TestWebhookFails: down, slow, lying and leading elsewhere.
func TestWebhookFails(t *testing.T) {
	client, _, _ := startHooked(t)
	h := serveHooks(t, func(path string, _ *admissionv1.AdmissionRequest) *admissionv1.AdmissionResponse {
		switch path {
		case "slow":
			time.Sleep(2 * time.Second)
		case "liar":
			return &admissionv1.AdmissionResponse{UID: "other", Allowed: true}
		case "elsewhere":
			return nil
		}
		return &admissionv1.AdmissionResponse{Allowed: true}
	})
	down := "https://127.0.0.1:1/"
	for path, c := range map[string]struct {
		with func(*registration.ValidatingWebhook)
		want string
	}{
		"down":      {func(w *registration.ValidatingWebhook) { w.ClientConfig = registration.WebhookClientConfig{URL: &down} }, `failed calling webhook "down.example.com": failed to call webhook: Post "https://127.0.0.1:1/?timeout=10s": dial tcp 127.0.0.1:1: connect: connection refused`},
		"slow":      {func(w *registration.ValidatingWebhook) { s := int32(1); w.TimeoutSeconds = &s }, "context deadline exceeded"},
		"liar":      {nil, `expected response.uid=`},
		"elsewhere": {nil, "redirects are not followed"},
		"unknown":   {func(w *registration.ValidatingWebhook) { w.ClientConfig.CABundle = nil }, "certificate signed by unknown authority"},
		"nowhere": {func(w *registration.ValidatingWebhook) {
			w.ClientConfig = registration.WebhookClientConfig{Service: &registration.ServiceReference{Namespace: "n", Name: "none"}}
		}, `service "none" not found`},
		"self": {func(w *registration.ValidatingWebhook) {
			path := "/api/v1/namespaces"
			w.ClientConfig = registration.WebhookClientConfig{Service: &registration.ServiceReference{Namespace: "default", Name: "kubernetes", Path: &path}}
		}, `failed calling webhook "self.example.com"`},
	} {
		t.Run(path, func(t *testing.T) {
			h.validate(t, client, path, func(w *registration.ValidatingWebhook) {
				if c.with != nil {
					c.with(w)
				}
			})
			_, err := dryRun(t, client, "n", "x")
			refused(t, err, c.want)
			ignore := []byte(`[{"op":"replace","path":"/webhooks/0/failurePolicy","value":"Ignore"}]`)
			must[*registration.ValidatingWebhookConfiguration](t)(client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Patch(t.Context(), path, "application/json-patch+json", ignore, metav1.PatchOptions{}))
			eventually(t, func() error { _, err := dryRun(t, client, "n", "x"); return err })
			if err := client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(t.Context(), path, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		})
	}
	if n := len(h.asked("allow")); n != 0 {
		t.Errorf("%d redirects were followed", n)
	}
}

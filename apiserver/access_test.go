package apiserver_test

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/internal/apitest"
	"fairlead.dev/fairlead/pki"
)

// status is the answer's code of a GET.
func status(t *testing.T, config *rest.Config, path string) int {
	t.Helper()
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := client.Get(config.Host + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	_, _ = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode
}

func TestAnonymousReachesOnlyHealthAndVersion(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	apitest.Run(t, cfg)
	nobody := &rest.Config{Host: "https://" + cfg.Bind.String(), TLSClientConfig: rest.TLSClientConfig{CAData: cfg.CA.CertPEM()}}
	for path, want := range map[string]int{
		"/version": http.StatusOK, "/healthz": http.StatusOK, "/livez": http.StatusOK, "/readyz": http.StatusOK,
		"/api": http.StatusUnauthorized, "/apis": http.StatusUnauthorized, "/openapi/v3": http.StatusUnauthorized,
		"/api/v1/namespaces": http.StatusUnauthorized, "/metrics": http.StatusUnauthorized, "/": http.StatusUnauthorized,
		"/fairlead/v1/join": http.StatusUnauthorized,
	} {
		if got := status(t, nobody, path); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
}

// TestACertificateThatIsNotGoodNowIsToldOfTheClock: of this authority only, and whatever else a client shows.
func TestACertificateThatIsNotGoodNowIsToldOfTheClock(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	apitest.Run(t, cfg)
	other, err := pki.LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		ca   *pki.Authority
		by   time.Duration
		want string
	}{
		"not yet":     {cfg.CA, 48 * time.Hour, "wrong clock"},
		"any more":    {cfg.CA, -2 * 365 * 24 * time.Hour, "or it was not renewed"},
		"of somebody": {other, 48 * time.Hour, "Unauthorized"},
	} {
		test.ca.Now = func() time.Time { return time.Now().Add(test.by) }
		cert, key, err := test.ca.Issue(pki.Request{CommonName: "admin", Organizations: []string{"system:masters"}, Client: true})
		test.ca.Now = time.Now
		if err != nil {
			t.Fatal(err)
		}
		config := &rest.Config{Host: "https://" + cfg.Bind.String(), TLSClientConfig: rest.TLSClientConfig{CAData: cfg.CA.CertPEM(), CertData: cert, KeyData: key}}
		_, err = clientOf(t, config).CoreV1().Nodes().List(t.Context(), metav1.ListOptions{})
		if !apierrors.IsUnauthorized(err) || !strings.Contains(err.Error(), test.want) || test.ca == other && strings.Contains(err.Error(), "clock") {
			t.Errorf("a certificate that is not good %s: %v", name, err)
		}
	}
}

func TestCertificateOfAnotherAuthorityIsRefused(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	apitest.Run(t, cfg)
	other, err := pki.LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := other.Issue(pki.Request{CommonName: "admin", Organizations: []string{"system:masters"}, Client: true})
	if err != nil {
		t.Fatal(err)
	}
	stranger := &rest.Config{Host: "https://" + cfg.Bind.String(), TLSClientConfig: rest.TLSClientConfig{CAData: cfg.CA.CertPEM(), CertData: cert, KeyData: key}}
	if got := status(t, stranger, "/api"); got != http.StatusUnauthorized {
		t.Errorf("status %d", got)
	}
}

func TestServingCertificateIsNoClientCertificate(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	apitest.Run(t, cfg)
	cert, key, err := cfg.CA.Issue(pki.Request{CommonName: "admin", Organizations: []string{"system:masters"}, Server: true})
	if err != nil {
		t.Fatal(err)
	}
	config := &rest.Config{Host: "https://" + cfg.Bind.String(), TLSClientConfig: rest.TLSClientConfig{CAData: cfg.CA.CertPEM(), CertData: cert, KeyData: key}}
	if got := status(t, config, "/api"); got != http.StatusUnauthorized {
		t.Errorf("status %d", got)
	}
}

func TestJoinIsServedBeforeAuthentication(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	cfg.Join = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	apitest.Run(t, cfg)
	nobody := &rest.Config{Host: "https://" + cfg.Bind.String(), TLSClientConfig: rest.TLSClientConfig{CAData: cfg.CA.CertPEM()}}
	if got := status(t, nobody, "/fairlead/v1/join"); got != http.StatusTeapot {
		t.Errorf("status %d", got)
	}
	if got := status(t, nobody, "/fairlead/v1/joins"); got != http.StatusUnauthorized {
		t.Errorf("a longer path: status %d", got)
	}
}

func TestNodeWritesOnlyItsOwn(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, _ := apitest.Run(t, cfg)
	admin, ctx := clientOf(t, server.ClientConfig()), t.Context()
	node := clientOf(t, as(t, cfg, "system:node:n1", "system:nodes"))
	for name, allowed := range map[string]bool{"n1": true, "n2": false} {
		_, err := node.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		if (err == nil) != allowed || err != nil && !apierrors.IsForbidden(err) {
			t.Errorf("create node %s: %v", name, err)
		}
	}
	for pod, on := range map[string]string{"mine": "n1", "theirs": "n2"} {
		created, err := admin.CoreV1().Pods("default").Create(ctx, podOn(pod, on), metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		created.Status.Phase = corev1.PodRunning
		_, err = node.CoreV1().Pods("default").UpdateStatus(ctx, created, metav1.UpdateOptions{})
		if (err == nil) != (on == "n1") || err != nil && !apierrors.IsForbidden(err) {
			t.Errorf("status of %s: %v", pod, err)
		}
		zero := int64(0)
		err = node.CoreV1().Pods("default").Delete(ctx, pod, metav1.DeleteOptions{GracePeriodSeconds: &zero})
		if (err == nil) != (on == "n1") || err != nil && !apierrors.IsForbidden(err) {
			t.Errorf("delete %s: %v", pod, err)
		}
	}
	if _, err := node.CoreV1().Pods("").List(ctx, metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("list of every pod: %v", err)
	}
	if _, err := node.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=n1"}); err != nil {
		t.Errorf("list of own pods: %v", err)
	}
}

// A node learns of others' pods what it needs to keep NetworkPolicies, and nothing of what they run.
func TestNodeSeesPeers(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, _ := apitest.Run(t, cfg)
	admin, ctx := clientOf(t, server.ClientConfig()), t.Context()
	node := clientOf(t, as(t, cfg, "system:node:n1", "system:nodes"))
	pod := podOn("theirs", "n2")
	pod.Labels = map[string]string{"app": "a"}
	pod.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "PASSWORD", Value: "hidden"}}
	pod.Spec.Containers[0].Ports = []corev1.ContainerPort{{Name: "http", ContainerPort: 80}}
	if _, err := admin.CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	path := "/apis/fairlead.dev/v1/podpeers"
	list, err := node.CoreV1().RESTClient().Get().AbsPath(path).DoRaw(ctx)
	if text := string(list); err != nil || strings.Contains(text, "hidden") || !strings.Contains(text, `"app":"a"`) || !strings.Contains(text, `"ports":[{"name":"http","protocol":"TCP","port":80}]`) {
		t.Errorf("%v: %s", err, text)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	stream, err := node.CoreV1().RESTClient().Get().AbsPath(path).Param("watch", "true").Stream(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	line, err := bufio.NewReader(stream).ReadString('\n')
	if err != nil || strings.Contains(line, "hidden") || !strings.Contains(line, `"kind":"PodPeer"`) || !strings.Contains(line, `"app":"a"`) {
		t.Errorf("%v: %s", err, line)
	}
	if _, err := clientOf(t, as(t, cfg, "jane", "readers")).CoreV1().RESTClient().Get().AbsPath(path).DoRaw(ctx); !apierrors.IsForbidden(err) {
		t.Errorf("anybody lists peers: %v", err)
	}
}

func podOn(name, node string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}
}

func TestReviews(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, _ := apitest.Run(t, cfg)
	admin, ctx := clientOf(t, server.ClientConfig()), t.Context()
	jane := clientOf(t, as(t, cfg, "jane", "readers"))

	who, err := jane.AuthenticationV1().SelfSubjectReviews().Create(ctx, &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil || who.Status.UserInfo.Username != "jane" || who.Status.UserInfo.Groups[0] != "readers" {
		t.Errorf("who am I: %v, %v", who, err)
	}
	pods := &authorizationv1.ResourceAttributes{Namespace: "default", Verb: "list", Resource: "pods"}
	may, err := jane.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: pods},
	}, metav1.CreateOptions{})
	if err != nil || may.Status.Allowed {
		t.Errorf("jane lists pods: %v, %v", may, err)
	}
	may, err = admin.AuthorizationV1().SelfSubjectAccessReviews().Create(ctx, &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: pods},
	}, metav1.CreateOptions{})
	if err != nil || !may.Status.Allowed {
		t.Errorf("the administrator lists pods: %v, %v", may, err)
	}
	if _, err := jane.AuthorizationV1().SubjectAccessReviews().Create(ctx, &authorizationv1.SubjectAccessReview{}, metav1.CreateOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("jane asks about others: %v", err)
	}
	rules, err := jane.AuthorizationV1().SelfSubjectRulesReviews().Create(ctx, &authorizationv1.SelfSubjectRulesReview{
		Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: "default"},
	}, metav1.CreateOptions{})
	if err != nil || len(rules.Status.NonResourceRules) == 0 {
		t.Errorf("jane's rules: %v, %v", rules, err)
	}
}

func TestNamespaceGuard(t *testing.T) {
	client, ctx := clientOf(t, apitest.Start(t)), t.Context()
	if _, err := client.CoreV1().ConfigMaps("nowhere").Create(ctx, configMap("a"), metav1.CreateOptions{}); err == nil || err.Error() != `namespaces "nowhere" not found` {
		t.Errorf("create in a namespace that does not exist: %v", err)
	}
	if err := client.CoreV1().Namespaces().Delete(ctx, "kube-system", metav1.DeleteOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("delete kube-system: %v", err)
	}
	held := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "held", Finalizers: []string{"example.com/hold"}}}
	if _, err := client.CoreV1().Namespaces().Create(ctx, held, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.CoreV1().ConfigMaps("held").Create(ctx, configMap("a"), metav1.CreateOptions{}); err != nil {
		t.Errorf("create at once in a new namespace: %v", err)
	}
	if err := client.CoreV1().Namespaces().Delete(ctx, "held", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err := client.CoreV1().ConfigMaps("held").Create(ctx, configMap("b"), metav1.CreateOptions{})
	if !apierrors.IsForbidden(err) || !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		t.Errorf("create in a namespace that is being deleted: %v", err)
	}
}

package admission_test

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"fairlead.dev/fairlead/apiserver"
	"fairlead.dev/fairlead/internal/apitest"
)

const exemptions = `apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: PodSecurity
  configuration:
    apiVersion: pod-security.admission.config.k8s.io/v1
    kind: PodSecurityConfiguration
    defaults: {enforce: baseline}
    exemptions: {namespaces: [kube-system]}
`

func TestExemptions(t *testing.T) {
	config := apitest.Config(t, t.TempDir())
	config.Admission = write(t, exemptions)
	server, _ := apitest.Run(t, config)
	client := must[*kubernetes.Clientset](t)(kubernetes.NewForConfig(server.ClientConfig()))
	yes := true
	p := pod("p", func(s *corev1.PodSpec) { s.HostNetwork = yes })
	p.Namespace = ""
	_, err := client.CoreV1().Pods("default").Create(t.Context(), p, metav1.CreateOptions{})
	refused(t, err, `violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)`)
	must[*corev1.Pod](t)(client.CoreV1().Pods("kube-system").Create(t.Context(), p, metav1.CreateOptions{}))
}

// TestBrokenConfiguration: a server does not start with a file that says something else than was meant.
func TestBrokenConfiguration(t *testing.T) {
	for name, file := range map[string]struct{ text, want string }{
		"unknown field": {strings.Replace(exemptions, "plugins:", "plugin:", 1), `unknown field "plugin"`},
		"unknown level": {strings.Replace(exemptions, "baseline", "strict", 1), `enforce: must be one of privileged, baseline, restricted`},
		"no file":       {"", "no such file"},
	} {
		config := apitest.Config(t, t.TempDir())
		config.Admission = filepath.Join(t.TempDir(), "none")
		if file.text != "" {
			config.Admission = write(t, file.text)
		}
		server := must[*apiserver.Server](t)(apiserver.New(config, slog.New(slog.DiscardHandler)))
		ctx, cancel := context.WithCancel(t.Context())
		err := server.Run(ctx)
		cancel()
		if err == nil || !strings.Contains(err.Error(), file.want) || !strings.Contains(err.Error(), config.Admission) {
			t.Errorf("%s: %v, want %q", name, err, file.want)
		}
	}
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "admission.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

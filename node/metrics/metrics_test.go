package metrics

import (
	"errors"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// page is the text that a registry answers with, or an error's.
func page(g prometheus.Gatherer) string {
	w := httptest.NewRecorder()
	promhttp.HandlerFor(g, promhttp.HandlerOpts{ErrorHandling: promhttp.ContinueOnError}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

func TestRegister(t *testing.T) {
	r, m := prometheus.NewRegistry(), New("n1")
	var failure error
	count := func() (Running, error) { return Running{Pods: 2, Containers: map[string]int{"running": 3}}, failure }
	unregister, err := m.Register(r, count)
	if err != nil {
		t.Fatal(err)
	}
	m.Operation("exec_sync", time.Now().Add(-time.Second), nil)
	m.Operation("exec_sync", time.Now(), errors.New("no"))
	m.StartedContainerErrors.WithLabelValues(InitContainer, "ErrImagePull").Inc()
	got := page(r)
	for _, want := range []string{
		`kubelet_node_name{node="n1"} 1`, `kubelet_running_pods 2`, `kubelet_running_containers{container_state="running"} 3`,
		`kubelet_runtime_operations_total{operation_type="exec_sync"} 2`, `kubelet_runtime_operations_errors_total{operation_type="exec_sync"} 1`,
		`kubelet_runtime_operations_duration_seconds_count{operation_type="exec_sync"} 2`,
		`kubelet_started_containers_errors_total{code="ErrImagePull",container_type="init_container"} 1`, `kubelet_started_pods_total 0`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("%s is missing in\n%s", want, got)
		}
	}
	if _, err := New("n1").Register(r, count); err == nil {
		t.Error("two nodes in one registry: want an error")
	}
	failure = errors.New("the runtime does not answer")
	if got = page(r); !strings.Contains(got, `kubelet_node_name{node="n1"} 1`) || strings.Contains(got, "kubelet_running_pods 2") {
		t.Errorf("with a runtime that does not answer:\n%s", got)
	}
	unregister()
	if got := page(r); got != "" {
		t.Errorf("after the end: %s", got)
	}
}

func TestProbesOfADeletedPod(t *testing.T) {
	m := New("n1")
	for name, uid := range map[string]types.UID{"a": "u-x", "b": "u-y"} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: uid}}
		m.Probe("Readiness", ProbeSuccessful, "c", pod)
		m.Probe("Liveness", ProbeFailed, "c", pod)
	}
	m.ForgetPod("u-x")
	got := page(m.registry)
	want := `prober_probe_total{container="c",namespace="default",pod="b",pod_uid="u-y",probe_type="Readiness",result="successful"} 1`
	if !strings.Contains(got, want) || strings.Contains(got, "u-x") {
		t.Errorf("got\n%s", got)
	}
}

// TestDocs: docs/metrics.md names each metric with its labels, and none that there is not.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for _, m := range regexp.MustCompile("`((?:kubelet|prober)_[a-z_]+(?:\\{[a-z_,]+\\})?)`").FindAllStringSubmatch(string(text), -1) {
		documented[m[1]] = true
	}
	m := New("n1")
	descs := make(chan *prometheus.Desc, 100)
	for _, c := range append(m.collectors(), m.probes, running{}) {
		c.Describe(descs)
	}
	close(descs)
	for d := range descs {
		found := regexp.MustCompile(`fqName: "([^"]+)".*variableLabels: \{([^}]*)\}`).FindStringSubmatch(d.String())
		if found == nil {
			t.Fatalf("%s: not understood", d)
		}
		name := found[1]
		if found[2] != "" {
			name += "{" + found[2] + "}"
		}
		if !documented[name] {
			t.Errorf("docs/metrics.md does not have `%s`", name)
		}
		delete(documented, name)
	}
	for name := range documented {
		t.Errorf("docs/metrics.md has `%s`, which there is not", name)
	}
}

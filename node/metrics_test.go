package node

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// page asks the node for a page as kubectl get --raw does.
func (b *bench) page(path string) string {
	b.t.Helper()
	text, err := b.client.CoreV1().RESTClient().Get().AbsPath("/api/v1/nodes/n1/proxy" + path).DoRaw(b.ctx)
	if err != nil {
		b.t.Fatalf("%s: %v", path, err)
	}
	return string(text)
}

// value is that of the series that the expression matches, added up; false if there is none.
func value(t *testing.T, page, series string) (float64, bool) {
	t.Helper()
	sum, found := 0.0, false
	for _, m := range regexp.MustCompile(`(?m)^`+series+` (\S+)$`).FindAllStringSubmatch(page, -1) {
		v, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		sum, found = sum+v, true
	}
	return sum, found
}

// TestMetricsOfPods: what a node's agent does is counted under kubelet's names, and shown to who may ask the node by the API server.
func TestMetricsOfPods(t *testing.T) {
	b := newBench(t)
	p := pod("web", "serve")
	p.Spec.InitContainers = []corev1.Container{{Name: "i", Image: appImage, Args: []string{"id"}}}
	p.Spec.Containers[0].ReadinessProbe = httpProbe("/readyz")
	b.create(p)
	b.await("web", "ready", ready)
	absent := pod("absent", "serve")
	absent.Spec.Containers[0].ImagePullPolicy = corev1.PullNever
	absent.Spec.Containers[0].Image = "example.org/nothing:1"
	b.create(absent)
	b.awaitEvent("absent", "ErrImageNeverPull")

	text := b.page("/metrics")
	for series, want := range map[string]func(float64) bool{
		`kubelet_node_name{node="n1"}`:                                                                 func(v float64) bool { return v == 1 },
		`kubelet_running_pods`:                                                                         func(v float64) bool { return v == 2 },
		`kubelet_running_containers{container_state="running"}`:                                        func(v float64) bool { return v == 1 },
		`kubelet_running_containers{container_state="exited"}`:                                         func(v float64) bool { return v == 1 },
		`kubelet_started_pods_total`:                                                                   func(v float64) bool { return v == 2 },
		`kubelet_started_pods_errors_total`:                                                            func(v float64) bool { return v == 0 },
		`kubelet_started_containers_total{container_type="container"}`:                                 func(v float64) bool { return v >= 2 },
		`kubelet_started_containers_total{container_type="init_container"}`:                            func(v float64) bool { return v == 1 },
		`kubelet_started_containers_errors_total{code="ErrImageNeverPull",container_type="container"}`: func(v float64) bool { return v >= 1 },
		`kubelet_pod_start_duration_seconds_count`:                                                     func(v float64) bool { return v == 1 },
		`kubelet_pod_start_sli_duration_seconds_count{first_with_network="true"}`:                      func(v float64) bool { return v == 1 },
		`kubelet_pod_worker_duration_seconds_count{operation_type="create"}`:                           func(v float64) bool { return v == 2 },
		`kubelet_pod_worker_duration_seconds_count{operation_type="update"}`:                           func(v float64) bool { return v >= 2 },
		`kubelet_pod_worker_duration_seconds_count{operation_type="sync"}`:                             func(v float64) bool { return v >= 2 },
		`kubelet_pleg_relist_duration_seconds_count`:                                                   func(v float64) bool { return v >= 1 },
		`kubelet_runtime_operations_total{operation_type="run_podsandbox"}`:                            func(v float64) bool { return v == 2 },
		`kubelet_runtime_operations_duration_seconds_count{operation_type="start_container"}`:          func(v float64) bool { return v == 2 },
	} {
		if got, ok := value(t, text, regexp.QuoteMeta(series)); !ok || !want(got) {
			t.Errorf("%s is %v (found: %v)", series, got, ok)
		}
	}
	if _, ok := value(t, text, `prober_probe_total\{.*\}`); ok {
		t.Error("probes are among the other metrics")
	}

	uid := string(b.get("web").UID)
	probes := `prober_probe_total{container="c",namespace="default",pod="web",pod_uid="` + uid + `",probe_type="Readiness",result="successful"}`
	b.until("the probe is counted again", func() bool {
		got, _ := value(t, b.page("/metrics/probes"), regexp.QuoteMeta(probes))
		return got >= 2
	})
	if err := b.client.CoreV1().Pods("default").Delete(b.ctx, "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	b.until("the series of the deleted pod are gone", func() bool { return !strings.Contains(b.page("/metrics/probes"), uid) })
	if got, _ := value(t, b.page("/metrics"), `kubelet_pod_worker_duration_seconds_count\{operation_type="kill"\}`); got < 1 {
		t.Errorf("%v looks at a pod that is being ended", got)
	}
}

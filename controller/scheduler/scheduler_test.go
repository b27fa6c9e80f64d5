package scheduler_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/controller/scheduler"
	"fairlead.dev/fairlead/internal/apitest"
)

// start runs a Scheduler with caches of its own until stop or the test's end.
func start(t testing.TB, client kubernetes.Interface, registry prometheus.Registerer) (stop func()) {
	t.Helper()
	shared := informers.NewSharedInformerFactory(client, 0)
	return apitest.Control(t, shared, scheduler.New(client, shared, registry, slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))).Run)
}

const full = "0/2 nodes are available: 2 Insufficient cpu. preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod."

func addNode(t testing.TB, client kubernetes.Interface, name, cpu string) {
	t.Helper()
	n, err := client.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n.Spec.Taints = nil // that it is not ready: admission sees to that, and the controller of nodes takes it away
	if n, err = client.CoreV1().Nodes().Update(t.Context(), n, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	n.Status.Allocatable = corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse("8Gi"), corev1.ResourcePods: resource.MustParse("1000"),
	}
	n.Status.Capacity = n.Status.Allocatable
	if _, err := client.CoreV1().Nodes().UpdateStatus(t.Context(), n, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func addPod(t testing.TB, client kubernetes.Interface, name, cpu string) {
	t.Helper()
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"app": "x"}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i", Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu)}}}}},
	}
	if _, err := client.CoreV1().Pods("default").Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// placed waits until the pod has a node and returns it.
func placed(t testing.TB, client kubernetes.Interface, name string) (node string) {
	t.Helper()
	apitest.Eventually(t, func() string {
		p, err := client.CoreV1().Pods("default").Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if node = p.Spec.NodeName; node == "" {
			return "pod " + name + " has no node"
		}
		return ""
	})
	return node
}

// refused waits until the pod's condition PodScheduled says message.
func refused(t testing.TB, client kubernetes.Interface, name, message string) {
	t.Helper()
	apitest.Eventually(t, func() string {
		p, err := client.CoreV1().Pods("default").Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range p.Status.Conditions {
			if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == "Unschedulable" && c.Message == message {
				return ""
			}
		}
		return fmt.Sprintf("pod %s: %+v, want %q", name, p.Status.Conditions, message)
	})
}

func events(t testing.TB, client kubernetes.Interface, message string) {
	t.Helper()
	apitest.Eventually(t, func() string {
		list, err := client.CoreV1().Events("default").List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var seen []string
		for _, e := range list.Items {
			if e.Message == message {
				return ""
			}
			seen = append(seen, e.Message)
		}
		return fmt.Sprintf("no event %q among\n%s", message, strings.Join(seen, "\n"))
	})
}

func TestScheduler(t *testing.T) {
	client, err := kubernetes.NewForConfig(apitest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	stop := start(t, client, registry)

	// Without a node a pod waits and says why; a node ends the wait.
	addPod(t, client, "first", "1")
	refused(t, client, "first", "no nodes available to schedule pods")
	events(t, client, "no nodes available to schedule pods")
	addNode(t, client, "node1", "2")
	if n := placed(t, client, "first"); n != "node1" {
		t.Errorf("first on %s", n)
	}
	events(t, client, "Successfully assigned default/first to node1")

	// Pods of the same labels spread.
	addNode(t, client, "node2", "2")
	addPod(t, client, "second", "1")
	if n := placed(t, client, "second"); n != "node2" {
		t.Errorf("second on %s", n)
	}

	// A full cluster refuses; a scheduler that starts anew knows what is taken; a
	// pod that leaves makes room.
	addPod(t, client, "big", "2")
	refused(t, client, "big", full)
	for name, want := range map[string]float64{
		"scheduler_schedule_attempts_total default-scheduler scheduled":             2,
		"scheduler_scheduling_attempt_duration_seconds default-scheduler scheduled": 2,
		"scheduler_pod_scheduling_sli_duration_seconds 1":                           1, // the other one had to wait for a node
		"scheduler_pending_pods active":                                             0,
		"scheduler_pending_pods backoff":                                            0,
		"scheduler_pending_pods unschedulable":                                      1,
		"scheduler_pending_pods gated":                                              0,
	} {
		apitest.Eventually(t, func() string {
			if got := figures(t, registry)[name]; got != want {
				return fmt.Sprintf("%s is %v, want %v", name, got, want)
			}
			return ""
		})
	}
	stop()
	start(t, client, nil)
	addPod(t, client, "third", "1")
	addPod(t, client, "fourth", "1")
	if a, b := placed(t, client, "third"), placed(t, client, "fourth"); a == b {
		t.Errorf("third and fourth both on %s", a)
	}
	now := int64(0)
	for _, name := range []string{"first", "second", "third", "fourth"} {
		if placed(t, client, name) != "node2" {
			continue
		}
		if err := client.CoreV1().Pods("default").Delete(t.Context(), name, metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
			t.Fatal(err)
		}
	}
	if n := placed(t, client, "big"); n != "node2" {
		t.Errorf("big on %s", n)
	}
}

// figures are a registry's numbers by name and label values, of histograms the number of observations.
func figures(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, s := range f.GetMetric() {
			name := f.GetName()
			for _, l := range s.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = s.GetGauge().GetValue() + s.GetCounter().GetValue() + float64(s.GetHistogram().GetSampleCount())
		}
	}
	return got
}

// lossy does what it is asked to, and loses the answer to the first binding of each pod.
type lossy struct {
	http.RoundTripper
	seen sync.Map
}

func (l *lossy) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := l.RoundTripper.RoundTrip(r)
	if _, again := l.seen.LoadOrStore(r.URL.Path, true); err != nil || again || !strings.HasSuffix(r.URL.Path, "/binding") {
		return answer, err
	}
	answer.Body.Close()
	return nil, errors.New("connection reset by peer")
}

// Bindings whose answer is lost have happened: no pod stays behind, and no node gets more than it has.
func TestAnswersToBindingsAreLost(t *testing.T) {
	cfg := apitest.Start(t)
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	cut := rest.CopyConfig(cfg)
	cut.QPS = -1
	cut.Wrap(func(inner http.RoundTripper) http.RoundTripper { return &lossy{RoundTripper: inner} })
	mine, err := kubernetes.NewForConfig(cut)
	if err != nil {
		t.Fatal(err)
	}
	start(t, mine, nil)
	for _, n := range []string{"node1", "node2"} {
		addNode(t, client, n, "5")
	}
	on := map[string]int{}
	for i := range 10 {
		addPod(t, client, fmt.Sprint("p", i), "1")
	}
	for i := range 10 {
		on[placed(t, client, fmt.Sprint("p", i))]++
	}
	if on["node1"] != 5 || on["node2"] != 5 {
		t.Errorf("pods by node: %v, each has room for 5", on)
	}
	addPod(t, client, "more", "1")
	refused(t, client, "more", full)
}

// The time from a pod's creation to its binding, as a client sees it.
func BenchmarkSchedule(b *testing.B) {
	client, err := kubernetes.NewForConfig(apitest.Start(b))
	if err != nil {
		b.Fatal(err)
	}
	start(b, client, nil)
	addNode(b, client, "node1", "64")
	addNode(b, client, "node2", "64")
	w, err := client.CoreV1().Pods("default").Watch(b.Context(), metav1.ListOptions{})
	if err != nil {
		b.Fatal(err)
	}
	defer w.Stop()
	for i := 0; b.Loop(); i++ {
		name := fmt.Sprint("p", i)
		addPod(b, client, name, "1m")
		for e := range w.ResultChan() {
			if p, ok := e.Object.(*corev1.Pod); ok && p.Name == name && p.Spec.NodeName != "" {
				break
			}
		}
	}
}

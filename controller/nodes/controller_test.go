package nodes

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/controller/nodes/lifecycle"
	"fairlead.dev/fairlead/internal/apitest"
	"fairlead.dev/fairlead/kube"
)

// start runs a Controller with caches of its own until stop or the test's end.
func start(t *testing.T, client kubernetes.Interface) (c *Controller, stop func()) {
	t.Helper()
	shared := informers.NewSharedInformerFactory(client, 0)
	c = New(client, shared, []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("fd00:10:244::/56")}, nil, slog.New(slog.DiscardHandler))
	return c, apitest.Control(t, shared, c.Run)
}

// silence makes the controller believe that it last heard of the node d ago.
func (c *Controller) silence(node string, d time.Duration) {
	c.mu.Lock()
	c.observed[node] = time.Now().Add(-d)
	c.gaps.Since = time.Now().Add(-d) // and that it has watched since
	c.mu.Unlock()
	c.nodeQueue.Add(node)
}

func addNode(t *testing.T, client kubernetes.Interface, name string) {
	t.Helper()
	if _, err := client.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	report(t, client, name)
}

// report is an agent's healthy node status.
func report(t *testing.T, client kubernetes.Interface, name string) {
	t.Helper()
	now := metav1.Now().UTC().Format(time.RFC3339)
	patch := fmt.Sprintf(`{"status":{"conditions":[{"type":"Ready","status":"True","reason":"KubeletReady","lastHeartbeatTime":%q,"lastTransitionTime":%q}]}}`, now, now)
	if _, err := client.CoreV1().Nodes().Patch(t.Context(), name, types.StrategicMergePatchType, []byte(patch), metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
}

func addPod(t *testing.T, client kubernetes.Interface, name, node string) {
	t.Helper()
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
	got, err := client.CoreV1().Pods("default").Create(t.Context(), p, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got.Status.Phase = corev1.PodRunning
	got.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	if _, err := client.CoreV1().Pods("default").UpdateStatus(t.Context(), got, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func getNode(t *testing.T, client kubernetes.Interface, name string) *corev1.Node {
	t.Helper()
	n, err := client.CoreV1().Nodes().Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func printTaints(taints []corev1.Taint) string {
	var out []string
	for _, t := range taints {
		out = append(out, strings.TrimPrefix(t.Key, "node.kubernetes.io/")+":"+string(t.Effect))
	}
	return strings.Join(out, " ")
}

// nodeIs waits for the node's Ready status and taints.
func nodeIs(t *testing.T, client kubernetes.Interface, name string, ready corev1.ConditionStatus, taints string) {
	t.Helper()
	apitest.Eventually(t, func() string {
		n := getNode(t, client, name)
		if got := lifecycle.ConditionStatus(n.Status.Conditions, corev1.NodeReady); got != ready || printTaints(n.Spec.Taints) != taints {
			return fmt.Sprintf("node %s: Ready %s, taints %q; want %s, %q", name, got, printTaints(n.Spec.Taints), ready, taints)
		}
		return ""
	})
}

func ranges(t *testing.T, client kubernetes.Interface, names ...string) map[string]string {
	t.Helper()
	out := map[string]string{}
	apitest.Eventually(t, func() string {
		for _, name := range names {
			n := getNode(t, client, name)
			if n.Spec.PodCIDR == "" {
				return "node " + name + " has no pod range"
			}
			if len(n.Spec.PodCIDRs) != 2 || !strings.HasSuffix(n.Spec.PodCIDRs[1], "::/64") {
				t.Errorf("node %s has the ranges %v, want one of each family", name, n.Spec.PodCIDRs)
			}
			out[strings.Join(n.Spec.PodCIDRs, " ")] = name
		}
		return ""
	})
	return out
}

func TestCIDRsAreDistinctAndReused(t *testing.T) {
	client, err := kubernetes.NewForConfig(apitest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	_, stop := start(t, client)
	names := []string{"a", "b", "c", "d"}
	for _, name := range names {
		addNode(t, client, name)
	}
	before := ranges(t, client, names...)
	if len(before) != len(names) {
		t.Fatalf("ranges %v", before)
	}
	stop()
	start(t, client)
	if err := client.CoreV1().Nodes().Delete(t.Context(), "b", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	addNode(t, client, "e")
	freed := ""
	for cidr, name := range before {
		if name == "b" {
			freed = cidr
		}
	}
	after := ranges(t, client, "a", "c", "d", "e")
	for cidr, name := range before {
		if name != "b" && after[cidr] != name {
			t.Errorf("range %s moved from %s to %s", cidr, name, after[cidr])
		}
	}
	if after[freed] != "e" || len(after) != 4 {
		t.Errorf("ranges %v, want %s for e", after, freed)
	}
}

// lossy does what it is asked to, and loses the answers while it is told to.
type lossy struct {
	http.RoundTripper
	lose atomic.Bool
}

func (l *lossy) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := l.RoundTripper.RoundTrip(r)
	if err != nil || !l.lose.Load() {
		return answer, err
	}
	answer.Body.Close()
	return nil, errors.New("connection reset by peer")
}

// A range whose writing was not answered may be the node's: nobody else gets it, even though the cache does not show it, and the
// node gets no other one.
func TestACIDRWithoutAnAnswerIsNobodyElses(t *testing.T) {
	cfg := rest.CopyConfig(apitest.Start(t))
	wire := &lossy{}
	cfg.Wrap(func(inner http.RoundTripper) http.RoundTripper { wire.RoundTripper = inner; return wire })
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	c := New(client, informers.NewSharedInformerFactory(client, 0), []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}, nil, slog.New(slog.DiscardHandler))
	for _, name := range []string{"a", "b"} { // the cache shows them as they are now, and nothing later
		addNode(t, client, name)
		if err := c.nodes.GetStore().Add(getNode(t, client, name)); err != nil {
			t.Fatal(err)
		}
	}
	give := func(name string) error {
		return c.allocateCIDRs(t.Context(), kube.Cached[corev1.Node](c.nodes, types.NamespacedName{Name: name}))
	}
	wire.lose.Store(true)
	if err := give("a"); err == nil {
		t.Fatal("the answer is lost, and nobody says so")
	}
	wire.lose.Store(false)
	for _, name := range []string{"b", "a", "a"} {
		if err := give(name); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	if a, b := getNode(t, client, "a").Spec.PodCIDR, getNode(t, client, "b").Spec.PodCIDR; a != "10.244.0.0/24" || b != "10.244.1.0/24" {
		t.Errorf("a has %s, b has %s", a, b)
	}
}

// A node that is deleted while its agent lives registers again and has the ranges that its pods have addresses of.
func TestCIDRsOfANodeThatComesBack(t *testing.T) {
	client, err := kubernetes.NewForConfig(apitest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	start(t, client)
	for _, name := range []string{"a", "b", "c"} {
		addNode(t, client, name)
	}
	before := ranges(t, client, "a", "b", "c")
	for _, name := range []string{"a", "b"} {
		if err := client.CoreV1().Nodes().Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	addNode(t, client, "b")
	addNode(t, client, "a")
	if after := ranges(t, client, "a", "b", "c"); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("ranges %v, before %v", after, before)
	}
}

// While this process is stopped nobody is silent: what it has not heard it could not hear.
func TestNobodyIsSilentWhileNobodyListens(t *testing.T) {
	client, err := kubernetes.NewForConfig(apitest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	c, _ := start(t, client)
	addNode(t, client, "a")
	nodeIs(t, client, "a", corev1.ConditionTrue, "")
	c.mu.Lock()
	c.observed["a"] = c.observed["a"].Add(-time.Minute)
	c.gaps.Since, c.gaps.Last = c.gaps.Since.Add(-time.Hour), c.gaps.Last.Add(-time.Minute)
	c.mu.Unlock()
	wait, err := c.syncNode(t.Context(), "a")
	if err != nil || wait < lifecycle.MonitorGracePeriod-time.Second {
		t.Errorf("looked at again after %s, %v", wait, err)
	}
	nodeIs(t, client, "a", corev1.ConditionTrue, "")
}

// Rule R35: a silent node is Unknown, its pods are not ready, and in the end they
// are evicted if another node is there; a node that speaks again is as before.
func TestR35_SilentNodeAndBack(t *testing.T) {
	client, err := kubernetes.NewForConfig(apitest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	c, _ := start(t, client)
	addNode(t, client, "node1")
	addNode(t, client, "node2")
	addPod(t, client, "web", "node1")
	ranges(t, client, "node1", "node2")
	nodeIs(t, client, "node1", corev1.ConditionTrue, "")

	apitest.Eventually(t, func() string { // the heartbeat of addNode may still be on its way
		c.silence("node1", time.Minute)
		if got := lifecycle.ConditionStatus(getNode(t, client, "node1").Status.Conditions, corev1.NodeReady); got != corev1.ConditionUnknown {
			return fmt.Sprintf("node1 is Ready=%s", got)
		}
		return ""
	})
	nodeIs(t, client, "node1", corev1.ConditionUnknown, "unreachable:NoSchedule unreachable:NoExecute")
	metrics := prometheus.NewRegistry()
	c.register(metrics)
	apitest.Eventually(t, func() string { // its own write is counted a moment after it is seen
		if n := apitest.Metrics(t, metrics)[`node_collector_evictions_total{zone=""}`]; n != 1 {
			return fmt.Sprintf("%v evictions of nodes", n)
		}
		return ""
	})
	apitest.Counts(t, metrics, map[string]float64{`node_collector_zone_health{zone=""}`: 50, `node_collector_unhealthy_nodes_in_zone{zone=""}`: 1})
	nodeIs(t, client, "node2", corev1.ConditionTrue, "")
	apitest.Eventually(t, func() string {
		p, err := client.CoreV1().Pods("default").Get(t.Context(), "web", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if p.Status.Conditions[0].Status != corev1.ConditionFalse {
			return fmt.Sprintf("pod web: %+v", p.Status.Conditions)
		}
		return ""
	})

	report(t, client, "node1")
	nodeIs(t, client, "node1", corev1.ConditionTrue, "")
}

func TestLeaseIsALifeSign(t *testing.T) {
	client, err := kubernetes.NewForConfig(apitest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	c, _ := start(t, client)
	addNode(t, client, "node1")
	ranges(t, client, "node1")
	now := metav1.NowMicro()
	// The namespace may not be there yet.
	_, err = client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: corev1.NamespaceNodeLease}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	c.mu.Lock()
	before := c.observed["node1"]
	c.mu.Unlock()
	if _, err := client.CoordinationV1().Leases(corev1.NamespaceNodeLease).Create(t.Context(), &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Name: "node1"}, Spec: coordinationv1.LeaseSpec{RenewTime: &now},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	apitest.Eventually(t, func() string {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.observed["node1"].After(before) {
			return "the lease was not noticed"
		}
		return ""
	})
}

// Pods leave a node with a taint they do not tolerate, and pods whose node is gone
// are removed after the quarantine, without an agent.
func TestPodsLeave(t *testing.T) {
	client, err := kubernetes.NewForConfig(apitest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	c, _ := start(t, client)
	addNode(t, client, "node1")
	addNode(t, client, "node2")
	addPod(t, client, "evicted", "node1")
	addPod(t, client, "orphan", "node2")
	ranges(t, client, "node1", "node2")

	taint := `{"spec":{"taints":[{"key":"drain","effect":"NoExecute"}]}}`
	if _, err := client.CoreV1().Nodes().Patch(t.Context(), "node1", types.MergePatchType, []byte(taint), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	apitest.Eventually(t, func() string {
		p, err := client.CoreV1().Pods("default").Get(t.Context(), "evicted", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if p.DeletionTimestamp == nil {
			return "the pod stays"
		}
		for _, cond := range p.Status.Conditions {
			if cond.Type == corev1.DisruptionTarget && cond.Reason == "DeletionByTaintManager" {
				return ""
			}
		}
		return fmt.Sprintf("conditions %+v", p.Status.Conditions)
	})

	metrics := prometheus.NewRegistry()
	c.register(metrics)
	apitest.Counts(t, metrics, map[string]float64{
		"taint_eviction_controller_pod_deletions_total": 1, "taint_eviction_controller_pod_deletion_duration_seconds_count": 1,
		`node_collector_zone_size{zone=""}`: 2, `node_collector_zone_health{zone=""}`: 100, `node_collector_unhealthy_nodes_in_zone{zone=""}`: 0,
		`node_ipam_controller_cidrset_cidrs_allocations_total{clusterCIDR="10.244.0.0/16"}`: 2, `node_ipam_controller_cidrset_usage_cidrs{clusterCIDR="10.244.0.0/16"}`: 2. / 256,
		`node_ipam_controller_cidrset_cidrs_allocations_total{clusterCIDR="fd00:10:244::/56"}`: 2,
	})
	if err := client.CoreV1().Nodes().Delete(t.Context(), "node2", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	apitest.Eventually(t, func() string {
		c.mu.Lock()
		for uid := range c.orphans {
			c.orphans[uid] = time.Now().Add(-time.Minute) // as if the quarantine were over
		}
		waiting := len(c.orphans)
		c.mu.Unlock()
		c.podQueue.Add(types.NamespacedName{Namespace: "default", Name: "orphan"})
		if _, err := client.CoreV1().Pods("default").Get(t.Context(), "orphan", metav1.GetOptions{}); apierrors.IsNotFound(err) {
			return ""
		}
		return fmt.Sprintf("the pod of the deleted node is still there (%d waiting)", waiting)
	})
	apitest.Counts(t, metrics, map[string]float64{
		`pod_gc_collector_force_delete_pods_total{namespace="default",reason="orphaned"}`: 1, `node_collector_zone_size{zone=""}`: 1,
		`node_ipam_controller_cidrset_cidrs_releases_total{clusterCIDR="10.244.0.0/16"}`: 1, `node_ipam_controller_cidrset_usage_cidrs{clusterCIDR="10.244.0.0/16"}`: 1. / 256,
	})
}

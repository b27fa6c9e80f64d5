package health_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/internal/apitest"
	"fairlead.dev/fairlead/internal/netlab"
	"fairlead.dev/fairlead/network/health"
	"fairlead.dev/fairlead/network/world"
)

var nodeIP = netip.MustParseAddr("192.0.2.1")

// node is a node with a running Server, and a load balancer that can reach two addresses of it.
type node struct {
	t           testing.TB
	host, asker *netlab.Netns
	world       *world.World
	lag         atomic.Pointer[health.SyncLag]
}

func newNode(t testing.TB) *node {
	t.Helper()
	n := &node{t: t, host: netlab.New(t, "n1"), asker: netlab.New(t, "balancer"), world: world.New()}
	netlab.Connect(n.host, netip.MustParsePrefix("192.0.2.1/24"), n.asker, netip.MustParsePrefix("192.0.2.9/24"))
	n.host.Address(netip.MustParsePrefix("198.51.100.1/32"))
	n.asker.Route("198.51.100.1/32", "via", nodeIP.String())
	n.lag.Store(&health.SyncLag{Updated: time.Now()})
	n.world.Put(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}})
	n.world.MarkSynced()
	return n
}

func (n *node) start(cfg health.Config) {
	n.t.Helper()
	cfg.NodeName, cfg.NodeIPs = "n1", []netip.Addr{nodeIP}
	cfg.SyncLag = func() health.SyncLag { return *n.lag.Load() }
	run(n.t, n.host.Do, health.New(cfg, n.world, slog.New(slog.DiscardHandler)))
}

// run runs a Server until the end of the test.
func run(t testing.TB, in func(func()), s *health.Server) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go in(func() { done <- s.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// reply is an answer without what belongs to HTTP.
type reply struct {
	code   int
	header http.Header
	body   map[string]any
}

// ask asks from a namespace; an error is one of connecting.
func ask(from *netlab.Netns, url string) (r reply, err error) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (conn net.Conn, err error) {
			from.Do(func() { conn, err = new(net.Dialer).DialContext(ctx, network, address) })
			return conn, err
		}}}
	response, err := client.Get(url)
	if err != nil {
		return r, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil {
		err = json.Unmarshal(text, &r.body)
	}
	r.code, r.header = response.StatusCode, response.Header
	return r, err
}

func (n *node) eventually(what string, ok func() bool) {
	n.t.Helper()
	eventually(n.t, what, ok)
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// answers waits until the URL is answered with the code.
func (n *node) answers(url string, code int) (r reply) {
	n.t.Helper()
	n.eventually(fmt.Sprintf("%s to answer %d; the last answer was %+v", url, code, r), func() bool {
		got, err := ask(n.asker, url)
		r = got
		return err == nil && r.code == code
	})
	return r
}

func (n *node) refuses(url string) {
	n.t.Helper()
	n.eventually(url+" to be closed", func() bool { _, err := ask(n.asker, url); return err != nil })
}

func balancer(port int32) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}, Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeLoadBalancer, ExternalTrafficPolicy: corev1.ServiceExternalTrafficPolicyLocal, HealthCheckNodePort: port,
		IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol}, Ports: []corev1.ServicePort{{Port: 80}}}}
}

func endpoints(nodes ...string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web-1",
		Labels: map[string]string{discoveryv1.LabelServiceName: "web"}}, AddressType: discoveryv1.AddressTypeIPv4,
		Ports: []discoveryv1.EndpointPort{{Name: ptr.To(""), Port: ptr.To[int32](80)}}}
	for i, name := range nodes {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{fmt.Sprint("10.244.1.", i+2)}, NodeName: ptr.To(name)})
	}
	return s
}

func TestP90_HealthCheckNodePort(t *testing.T) {
	n := newNode(t)
	n.start(health.Config{})
	n.world.Put(balancer(32123))
	n.world.Put(endpoints("n1", "n2", "n1"))
	r := n.answers("http://192.0.2.1:32123/any/path?at=all", 200)
	want := map[string]any{"service": map[string]any{"namespace": "default", "name": "web"}, "localEndpoints": 2.0, "serviceProxyHealthy": true}
	if fmt.Sprint(r.body) != fmt.Sprint(want) {
		t.Errorf("body %v, want %v", r.body, want)
	}
	for key, value := range map[string]string{"Content-Type": "application/json", "X-Content-Type-Options": "nosniff", "X-Load-Balancing-Endpoint-Weight": "2"} {
		if got := r.header.Get(key); got != value {
			t.Errorf("%s: %q, want %q", key, got, value)
		}
	}
	if _, err := ask(n.asker, "http://198.51.100.1:32123/"); err == nil {
		t.Error("it answers on an address that is not the node's InternalIP")
	}
	n.world.Put(endpoints("n2"))
	r = n.answers("http://192.0.2.1:32123/", 503)
	if r.body["localEndpoints"] != 0.0 || r.header.Get("X-Load-Balancing-Endpoint-Weight") != "0" {
		t.Errorf("without local endpoints: %+v", r)
	}
	n.world.Put(endpoints("n1"))
	n.answers("http://192.0.2.1:32123/", 200)
	n.lag.Store(&health.SyncLag{Updated: time.Now().Add(-time.Hour), Pending: time.Now().Add(-2 * time.Minute)})
	if r := n.answers("http://192.0.2.1:32123/", 503); r.body["serviceProxyHealthy"] != false || r.body["localEndpoints"] != 1.0 {
		t.Errorf("with stale rules: %v", r.body)
	}
}

func TestP91_OnlyTerminatingEndpoints(t *testing.T) {
	n := newNode(t)
	n.start(health.Config{})
	n.world.Put(balancer(32123))
	all := endpoints("n1")
	all.Endpoints[0].Conditions = discoveryv1.EndpointConditions{Ready: ptr.To(false), Serving: ptr.To(true), Terminating: ptr.To(true)}
	n.world.Put(all)
	n.answers("http://192.0.2.1:32123/", 503)
}

func TestP92_ListenersComeAndGoWithTheService(t *testing.T) {
	n := newNode(t)
	n.start(health.Config{})
	n.world.Put(endpoints("n1"))
	n.world.Put(balancer(32123))
	n.answers("http://192.0.2.1:32123/", 200)
	cluster := balancer(32123)
	cluster.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyCluster
	n.world.Put(cluster)
	n.refuses("http://192.0.2.1:32123/")
	n.world.Put(balancer(32124))
	n.answers("http://192.0.2.1:32124/", 200)
	other := balancer(32124) // takes the port over from a Service that goes at the same moment
	other.Name = "other"
	n.world.Delete(balancer(32124))
	n.world.Put(other)
	if r := n.answers("http://192.0.2.1:32124/", 503); fmt.Sprint(r.body["service"]) != "map[name:other namespace:default]" {
		t.Errorf("after the port changed hands: %v", r.body)
	}
	n.world.Delete(other)
	n.refuses("http://192.0.2.1:32124/")
	if out, err := n.host.Command("ss", "-Hltn"); err != nil || strings.TrimSpace(out) != "" {
		t.Errorf("still listening: %s %v", out, err)
	}
}

// TestP92_TakenPort is on loopback, where a holder can be found by its socket.
func TestP92_TakenPort(t *testing.T) {
	holder, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	port := holder.Addr().(*net.TCPAddr).Port
	w := world.New()
	w.Put(balancer(int32(port)))
	w.Put(endpoints("n1"))
	w.MarkSynced()
	events := record.NewFakeRecorder(10)
	run(t, func(f func()) { f() }, health.New(health.Config{NodeName: "n1", NodeIPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Events: events,
		SyncLag: func() health.SyncLag { return health.SyncLag{Updated: time.Now()} }}, w, slog.New(slog.DiscardHandler)))
	select {
	case e := <-events.Events:
		start := fmt.Sprintf(`Warning FailedToStartServiceHealthcheck node n1 failed to start healthcheck "default/web" on port %d: `, port)
		if !strings.HasPrefix(e, start) || !strings.Contains(e, fmt.Sprintf("(pid %d) holds the port", os.Getpid())) {
			t.Errorf("event %q, want %q and the holder", e, start)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("no event")
	}
	holder.Close()
	eventually(t, "the port to be opened once it is free", func() bool {
		r, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
		if err != nil {
			return false
		}
		r.Body.Close()
		return r.StatusCode == 200
	})
	select {
	case e := <-events.Events:
		t.Errorf("a second event for the same failure: %s", e)
	default:
	}
}

func TestP93_HealthzAndLivez(t *testing.T) {
	n := newNode(t)
	n.lag.Store(&health.SyncLag{})
	registry := prometheus.NewRegistry()
	n.start(health.Config{Listen: []netip.AddrPort{netip.AddrPortFrom(nodeIP, 10256)}, Metrics: registry})
	const healthz, livez = "http://192.0.2.1:10256/healthz", "http://192.0.2.1:10256/livez"
	n.answers(healthz, 503) // nothing is written yet
	n.answers(livez, 503)
	n.lag.Store(&health.SyncLag{Updated: time.Now().Add(-time.Hour)})
	r := n.answers(healthz, 200)
	for _, key := range []string{"lastUpdated", "currentTime"} {
		at, err := time.Parse(time.RFC3339Nano, fmt.Sprint(r.body[key]))
		if err != nil || time.Since(at) > time.Minute {
			t.Errorf("%s: %v", key, r.body)
		}
	}
	if r.body["nodeEligible"] != true || r.header.Get("Content-Type") != "application/json" || r.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("healthz: %+v", r)
	}
	n.world.Put(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}, Spec: corev1.NodeSpec{Taints: []corev1.Taint{{Key: "ToBeDeletedByClusterAutoscaler"}}}})
	if r := n.answers(healthz, 503); r.body["nodeEligible"] != false {
		t.Errorf("healthz of a tainted node: %v", r.body)
	}
	n.answers(livez, 200)
	n.world.Put(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}})
	n.answers(healthz, 200)
	n.world.Put(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", DeletionTimestamp: &metav1.Time{Time: time.Now()}}})
	n.answers(healthz, 503)
	n.answers(livez, 200)
	stale := time.Now().Add(-2 * time.Minute)
	n.lag.Store(&health.SyncLag{Updated: stale, Pending: stale})
	if r := n.answers(livez, 503); r.body["lastUpdated"] != stale.Format(time.RFC3339Nano) {
		t.Errorf("livez with stale rules: %v, want lastUpdated %v", r.body, stale.Format(time.RFC3339Nano))
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v %v", problems, err)
	}
	if n := testutil.CollectAndCount(registry, "kubeproxy_proxy_healthz_total", "kubeproxy_proxy_livez_total"); n != 4 {
		t.Errorf("%d series, want 200 and 503 of both", n)
	}
}

// TestP92_FromTheAPI follows a Service that the real API server gave its port.
func TestP92_FromTheAPI(t *testing.T) {
	client, err := kubernetes.NewForConfig(apitest.Start(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx, w := t.Context(), world.New()
	follow, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- w.Run(follow, client) }()
	defer func() { stop(); <-ended }()
	home := netip.MustParseAddr("127.0.0.1")
	run(t, func(f func()) { f() }, health.New(health.Config{NodeName: "n1", NodeIPs: []netip.Addr{home},
		SyncLag: func() health.SyncLag { return health.SyncLag{Updated: time.Now()} }}, w, slog.New(slog.DiscardHandler)))
	svc := balancer(0)
	services := client.CoreV1().Services("default")
	if svc, err = services.Create(ctx, svc, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	port := svc.Spec.HealthCheckNodePort
	if port < 30000 || port > 32767 {
		t.Fatalf("allocated port %d", port)
	}
	if _, err := client.DiscoveryV1().EndpointSlices("default").Create(ctx, endpoints("n1"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	url := fmt.Sprintf("http://127.0.0.1:%d/", port)
	eventually(t, url+" to answer 200", func() bool {
		r, err := http.Get(url)
		if err != nil {
			return false
		}
		r.Body.Close()
		return r.StatusCode == 200
	})
	svc.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyCluster
	if svc, err = services.Update(ctx, svc, metav1.UpdateOptions{}); err != nil || svc.Spec.HealthCheckNodePort != 0 {
		t.Fatalf("policy Cluster: port %d, %v", svc.Spec.HealthCheckNodePort, err)
	}
	eventually(t, url+" to be closed", func() bool {
		r, err := http.Get(url)
		if err == nil {
			r.Body.Close()
		}
		return err != nil
	})
}

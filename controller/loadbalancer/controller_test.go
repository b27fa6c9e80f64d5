package loadbalancer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/api/announce"
	"fairlead.dev/fairlead/api/kinds"
	"fairlead.dev/fairlead/internal/apitest"
	"fairlead.dev/fairlead/kube"
)

// patience is how long anything may take.
const patience = time.Minute

// cluster is an API server, a controller, and nodes that do as they are told.
type cluster struct {
	testing.TB
	kubernetes.Interface
	pools  *kube.Pools
	config *rest.Config // of the controller

	mu   sync.Mutex
	dead map[string]bool
	told map[string]announce.Request // the last list of each node
	// rivals are who else claims addresses.
	rivals map[netip.Addr]string

	controller *Controller // the last one
	metrics    *prometheus.Registry
}

func newCluster(t testing.TB) *cluster {
	config := apitest.Start(t)
	c := &cluster{TB: t, config: rest.CopyConfig(config), dead: map[string]bool{}, told: map[string]announce.Request{}}
	var err error
	if c.Interface, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
	if c.pools, err = kube.NewPools(config); err != nil {
		t.Fatal(err)
	}
	return c
}

// control runs a controller until stop or the test's end.
func (c *cluster) control(cfg Config) (stop func()) {
	c.Helper()
	client, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		c.Fatal(err)
	}
	pools, err := kube.NewPools(c.config)
	if err != nil {
		c.Fatal(err)
	}
	cfg.Services = []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12")}
	shared := informers.NewSharedInformerFactory(client, 0)
	c.metrics = prometheus.NewRegistry()
	c.controller = New(client, pools, shared, c.answer, cfg, c.metrics, slog.New(slog.DiscardHandler))
	return apitest.Control(c.TB, shared, c.controller.Run)
}

// answer is what the agent of a node says.
func (c *cluster) answer(_ context.Context, n *corev1.Node, r announce.Request) (announce.Reply, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead[n.Name] {
		return announce.Reply{}, errors.New("no answer")
	}
	if r.Full {
		c.told[n.Name] = r
	}
	return announce.Reply{Revision: c.told[n.Name].Revision, Rivals: c.rivals}, nil
}

func (c *cluster) node(name string) {
	c.Helper()
	if _, err := c.CoreV1().Nodes().Create(c.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		c.Fatal(err)
	}
}

func (c *cluster) pool(name string, addresses ...string) {
	c.Helper()
	p := &kinds.AddressPool{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: kinds.AddressPoolSpec{Addresses: addresses}}
	if _, err := c.pools.Create(c.Context(), p, metav1.CreateOptions{}); err != nil {
		c.Fatal(err)
	}
}

func (c *cluster) service(name string, change ...func(*corev1.Service)) *corev1.Service {
	c.Helper()
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Ports: []corev1.ServicePort{{Port: 80}}}}
	no := false
	svc.Spec.AllocateLoadBalancerNodePorts = &no
	for _, f := range change {
		f(svc)
	}
	svc, err := c.CoreV1().Services("default").Create(c.Context(), svc, metav1.CreateOptions{})
	if err != nil {
		c.Fatal(err)
	}
	return svc
}

// await waits until a Service is as wanted.
func (c *cluster) await(name, what string, is func(*corev1.Service) bool) *corev1.Service {
	c.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		svc, err := c.CoreV1().Services("default").Get(c.Context(), name, metav1.GetOptions{})
		if err != nil {
			c.Fatal(err)
		}
		if is(svc) {
			return svc
		}
		if time.Now().After(end) {
			c.Fatalf("Service %s is not %s: %+v", name, what, svc.Status)
		}
	}
}

// has waits until a Service has the addresses, and no others.
func (c *cluster) has(name, want string) *corev1.Service {
	c.Helper()
	return c.await(name, "at "+want, func(svc *corev1.Service) bool { return ips(svc) == want })
}

func ips(svc *corev1.Service) string {
	var all []string
	for _, in := range svc.Status.LoadBalancer.Ingress {
		all = append(all, in.IP)
	}
	return strings.Join(all, " ")
}

func condition(svc *corev1.Service, kind string) string {
	c := meta.FindStatusCondition(svc.Status.Conditions, kind)
	if c == nil {
		return ""
	}
	return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
}

// event waits for an Event of a Service that says something.
func (c *cluster) event(name, reason, text string) {
	c.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		list, err := c.CoreV1().Events("default").List(c.Context(), metav1.ListOptions{})
		if err != nil {
			c.Fatal(err)
		}
		var said []string
		for _, e := range list.Items {
			if e.InvolvedObject.Name == name && e.Reason == reason && strings.Contains(e.Message, text) {
				return
			}
			said = append(said, e.InvolvedObject.Name+" "+e.Reason+": "+e.Message)
		}
		if time.Now().After(end) {
			c.Fatalf("no Event %s with %q among\n%s", reason, text, strings.Join(said, "\n"))
		}
	}
}

func (c *cluster) patch(name, patch string) {
	c.Helper()
	if _, err := c.CoreV1().Services("default").Patch(c.Context(), name, "application/merge-patch+json", []byte(patch), metav1.PatchOptions{}); err != nil {
		c.Fatal(err)
	}
}

func TestAddresses(t *testing.T) {
	c := newCluster(t)
	c.node("n1")
	c.control(Config{})
	c.service("a")
	c.service("foreign", func(s *corev1.Service) { other := "example.org/other"; s.Spec.LoadBalancerClass = &other })
	c.pool("lan", "192.0.2.1-192.0.2.2")
	a := c.has("a", "192.0.2.1")
	if *a.Status.LoadBalancer.Ingress[0].IPMode != corev1.LoadBalancerIPModeVIP {
		t.Errorf("ipMode %s", *a.Status.LoadBalancer.Ingress[0].IPMode)
	}
	c.event("a", "AddressAssigned", "192.0.2.1 from pool lan")
	c.await("a", "announced", func(s *corev1.Service) bool {
		return condition(s, api.ConditionAnnounced) == "True AddressAnnounced: 192.0.2.1 announced by node n1"
	})
	c.event("a", "AddressAnnounced", "192.0.2.1 announced by node n1")
	c.service("b", func(s *corev1.Service) { s.Spec.LoadBalancerIP = "192.0.2.1" })
	c.event("b", "AddressRefused", "192.0.2.1 cannot be given: Service default/a has it")
	c.service("c")
	c.has("c", "192.0.2.2")
	c.service("d")
	c.event("d", "AddressesExhausted", "no IPv4 address is free in pool lan")

	// What is given back goes to who waits for it: by another type, and by deletion.
	c.patch("a", `{"spec":{"type":"ClusterIP","allocateLoadBalancerNodePorts":null}}`)
	c.has("b", "192.0.2.1")
	c.await("a", "without conditions", func(s *corev1.Service) bool { return len(s.Status.Conditions) == 0 && ips(s) == "" })
	if err := c.CoreV1().Services("default").Delete(t.Context(), "c", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.has("d", "192.0.2.2")

	// A pool that is deleted while it is used.
	if err := c.pools.Delete(t.Context(), "lan", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	c.has("d", "")
	c.event("d", "AddressWithdrawn", "192.0.2.2 was taken back: no pool has it any more")
	c.pool("other", "198.51.100.0/29")
	c.has("d", "198.51.100.1")
	c.event("b", "AddressRefused", "192.0.2.1 cannot be given: it is outside of every pool")
	if s := c.has("foreign", ""); len(s.Status.Conditions) != 0 {
		t.Errorf("a Service of another class: %+v", s.Status)
	}
}

// TestPoolStatus: the pools say how many of their addresses are given, and which of two is used.
func TestPoolStatus(t *testing.T) {
	c := newCluster(t)
	stop := c.control(Config{Default: &kinds.AddressPoolSpec{Addresses: []string{"203.0.113.0/28"}}})
	c.service("a")
	c.has("a", "203.0.113.1")
	c.pool("twin", "203.0.113.8-203.0.113.20")
	status := func(name, want string) {
		t.Helper()
		got := ""
		for end := time.Now().Add(patience); got != want; time.Sleep(20 * time.Millisecond) {
			p, err := c.pools.Get(t.Context(), name, metav1.GetOptions{})
			if err != nil && !apierrors.IsNotFound(err) {
				t.Fatal(err)
			}
			if got = fmt.Sprint(apierrors.IsNotFound(err)); err == nil {
				got = fmt.Sprint(p.Status.Assigned, " ", p.Status.Free)
				for _, c := range p.Status.Conditions {
					got += " " + string(c.Status) + " " + c.Reason + ": " + c.Message
				}
			}
			if time.Now().After(end) {
				t.Fatalf("pool %s: %s, want %s", name, got, want)
			}
		}
	}
	status(DefaultPool, "1 13 True Usable: addresses are given from this pool")
	status("twin", "0 13 False OverlapsPool: 203.0.113.8-203.0.113.20 overlaps pool default, which is older")
	c.event("twin", "OverlapsPool", "overlaps pool default")
	stop()
	c.control(Config{}) // no pool by settings any more
	status(DefaultPool, "true")
	c.has("a", "203.0.113.8")
}

// lossy answers writes of statuses with an error, at times before they are made and at times after.
type lossy struct {
	http.RoundTripper
	n *atomic.Int64
}

func (l lossy) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Method != http.MethodPut || !strings.HasSuffix(r.URL.Path, "/status") {
		return l.RoundTripper.RoundTrip(r)
	}
	switch l.n.Add(1) % 3 {
	case 0:
		return nil, errors.New("lost on the way")
	case 1:
		answer, err := l.RoundTripper.RoundTrip(r)
		if err == nil {
			answer.Body.Close()
		}
		return nil, errors.New("the answer was lost")
	}
	return l.RoundTripper.RoundTrip(r)
}

// TestNothingTwice: writes without an answer, Services that come and go while theirs is under way, and new starts of the controller
// give no address to two Services, and in the end all have one.
func TestNothingTwice(t *testing.T) {
	c := newCluster(t)
	c.node("n1")
	c.pool("lan", "192.0.2.0/27")
	var n atomic.Int64
	c.config.Wrap(func(next http.RoundTripper) http.RoundTripper { return lossy{next, &n} })
	stop := c.control(Config{})
	for round := range 4 {
		for i := range 10 {
			name := fmt.Sprintf("s%d", i)
			if round > 0 && i%2 == 0 {
				if err := c.CoreV1().Services("default").Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			if round == 0 || i%2 == 0 {
				c.service(name, func(s *corev1.Service) {
					if i < 4 {
						s.Spec.LoadBalancerIP = "192.0.2.9" // of whom one can have it
					}
				})
			}
			c.once()
		}
		stop()
		stop = c.control(Config{})
	}
	for i := 4; i < 10; i++ {
		c.await(fmt.Sprintf("s%d", i), "at some address", func(s *corev1.Service) bool { return ips(s) != "" })
	}
	if c.once() != 7 {
		t.Errorf("%d addresses are given, want 7", c.once())
	}
}

// once checks that nobody has the address of another, and returns how many have one.
func (c *cluster) once() int {
	c.Helper()
	list, err := c.CoreV1().Services("default").List(c.Context(), metav1.ListOptions{})
	if err != nil {
		c.Fatal(err)
	}
	owners := map[string]string{}
	for i := range list.Items {
		if ip := ips(&list.Items[i]); ip != "" {
			if other := owners[ip]; other != "" {
				c.Fatalf("%s has %s, and so has %s", other, ip, list.Items[i].Name)
			}
			owners[ip] = list.Items[i].Name
		}
	}
	return len(owners)
}

// TestFailover: the addresses of a node that is silent are announced by others, and the Events tell.
func TestFailover(t *testing.T) {
	c := newCluster(t)
	c.node("n1")
	c.node("n2")
	c.pool("lan", "192.0.2.1")
	c.control(Config{})
	c.service("a")
	svc := c.await("a", "announced", func(s *corev1.Service) bool {
		return strings.HasPrefix(condition(s, api.ConditionAnnounced), "True")
	})
	c.mu.Lock()
	c.rivals = map[netip.Addr]string{netip.MustParseAddr("192.0.2.1"): "02:00:00:00:00:09 on link eth0 claims it as well"}
	c.mu.Unlock()
	c.event("a", "AddressContested", "and 02:00:00:00:00:09 on link eth0 claims it as well")
	c.mu.Lock()
	c.rivals = nil
	c.mu.Unlock()
	first, second := "n1", "n2"
	if strings.HasSuffix(condition(svc, api.ConditionAnnounced), "node n2") {
		first, second = second, first
	}
	c.mu.Lock()
	c.dead[first] = true
	c.mu.Unlock()
	c.event("a", "AddressAnnounced", "192.0.2.1 announced by node "+second)
	c.mu.Lock()
	c.dead[second] = true
	c.mu.Unlock()
	c.event("a", "AddressNotAnnounced", "192.0.2.1 is announced by nobody: no node that may announce it answers")
}

// counted is the value of a metric with some labels, in the order of their names; -1 if there is none.
func (c *cluster) counted(name string, labels ...string) float64 {
	c.Helper()
	families, err := c.metrics.Gather()
	if err != nil {
		c.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			var have []string
			for _, l := range m.Label {
				have = append(have, l.GetValue())
			}
			if f.GetName() == name && slices.Equal(have, labels) {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return -1
}

// TestMetrics: what pools have, what nodes announce, and moves, as Prometheus is told.
func TestMetrics(t *testing.T) {
	c := newCluster(t)
	c.node("n1")
	c.node("n2")
	c.pool("lan", "192.0.2.1-192.0.2.4")
	c.control(Config{})
	c.service("a")
	c.await("a", "announced", func(s *corev1.Service) bool { return strings.HasPrefix(condition(s, api.ConditionAnnounced), "True") })
	until := func(name string, want float64, labels ...string) {
		t.Helper()
		apitest.Eventually(t, func() string {
			if got := c.counted(name, labels...); got != want {
				return fmt.Sprintf("%s%v is %v, want %v", name, labels, got, want)
			}
			return ""
		})
	}
	until("fairlead_loadbalancer_pool_addresses", 1, "lan", "assigned")
	until("fairlead_loadbalancer_pool_addresses", 3, "lan", "free")
	until("fairlead_loadbalancer_unannounced_addresses", 0)
	until("fairlead_loadbalancer_moves_total", 0)
	first, second := "n1", "n2"
	if c.counted("fairlead_loadbalancer_announced_addresses", first) == 0 {
		first, second = second, first
	}
	until("fairlead_loadbalancer_announced_addresses", 1, first)
	until("fairlead_loadbalancer_announced_addresses", 0, second)
	c.mu.Lock()
	c.dead[first] = true
	c.mu.Unlock()
	until("fairlead_loadbalancer_announced_addresses", 1, second)
	until("fairlead_loadbalancer_moves_total", 1)
	c.controller.Told(announce.Told{netip.MustParseAddr("192.0.2.1"): {"tor": {"n1", "n2"}}})
	until("fairlead_bgp_told_addresses", 1, "n2", "tor")
	c.mu.Lock()
	c.dead[second] = true
	c.mu.Unlock()
	until("fairlead_loadbalancer_unannounced_addresses", 1)
}

// TestToldRouters: the condition and Events say which routers have been told of an address, or, where an address is for routers only,
// that none has.
func TestToldRouters(t *testing.T) {
	c := newCluster(t)
	c.node("n1")
	far := &kinds.AddressPool{ObjectMeta: metav1.ObjectMeta{Name: "far"}, Spec: kinds.AddressPoolSpec{Addresses: []string{"198.51.100.1"}, Announce: []kinds.Announcement{kinds.AnnounceBGP}}}
	if _, err := c.pools.Create(t.Context(), far, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.control(Config{})
	c.service("a")
	said := func(name, want string) {
		t.Helper()
		c.await(name, want, func(s *corev1.Service) bool { return strings.Contains(condition(s, api.ConditionAnnounced), want) })
	}
	said("a", "routers are about to be told of 198.51.100.1")
	addr := netip.MustParseAddr("198.51.100.1")
	c.controller.Told(announce.Told{addr: {"tor-b": {"n1"}, "tor-a": {"n1"}}})
	c.event("a", "AddressAnnounced", "routers tor-a, tor-b have been told of 198.51.100.1")
	c.controller.Told(announce.Told{addr: {"tor-b": {"n1"}}})
	said("a", "router tor-b has been told of 198.51.100.1")
	c.controller.Told(announce.Told{})
	c.event("a", "AddressNotAnnounced", "no router has been told of 198.51.100.1: no node that serves it has a session with one")
	c.pool("lan", "192.0.2.1")
	c.service("b") // whose pool is announced in both ways
	said("b", "192.0.2.1 announced by node n1")
	c.controller.Told(announce.Told{netip.MustParseAddr("192.0.2.1"): {"tor-a": {"n1"}}})
	said("b", "router tor-a has been told of 192.0.2.1; 192.0.2.1 announced by node n1")
}

// BenchmarkAddresses is how long it takes until a thousand Services that are there have an address each.
func BenchmarkAddresses(b *testing.B) {
	for b.Loop() {
		c := newCluster(b)
		c.node("n1")
		for i := range 1000 {
			c.service(fmt.Sprintf("s%d", i))
		}
		c.control(Config{})
		begin := time.Now()
		c.pool("lan", "198.18.0.0/16")
		for c.once() < 1000 {
			time.Sleep(20 * time.Millisecond)
		}
		b.ReportMetric(time.Since(begin).Seconds(), "s/1000")
	}
}

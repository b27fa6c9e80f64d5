package external

//lint:file-ignore SA1019 v1 Endpoints are what the tests are about.

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/api/probe"
	"fairlead.dev/fairlead/controller/external/healthcheck"
	"fairlead.dev/fairlead/internal/apitest"
	"fairlead.dev/fairlead/pki"
	"fairlead.dev/fairlead/pki/peer"
)

// TestProberChange: the node that probes stops answering, and another goes on without starting anew.
func TestProberChange(t *testing.T) {
	l := startLab(t)
	l.run(t)
	s := l.space(t, api.AnnotationProbe, `{"tcpSocket":{},"periodSeconds":1,"failureThreshold":1}`)
	s.apply(t, object("4"))
	s.becomes(t, "!4 | 4")
	first, second := l.agents["n1"], l.agents["n2"]
	until(t, func() (bool, string) {
		n, m := first.asked.Load(), second.asked.Load()
		return n+m > 3, fmt.Sprint(n, m)
	})
	if second.asked.Load() > first.asked.Load() {
		first, second = second, first
	}
	if n := second.asked.Load(); n != 1 {
		t.Fatalf("one node should probe, and the other once say that the address fails: %d and %d questions", first.asked.Load(), n)
	}
	first.stop()
	until(t, func() (bool, string) { n := second.asked.Load(); return n > 2, fmt.Sprint(n) })
	if got := s.now(t); got != "!4 | 4" {
		t.Errorf("the state was lost: %s", got)
	}
	first.start(t)
	before := first.asked.Load()
	serve(t, "192.0.2.4:3306")
	s.becomes(t, "4 |")
	if now := first.asked.Load(); now != before {
		t.Errorf("the first node asks again, after %d questions it has %d: the second should go on", before, now)
	}
}

// TestThousand: a thousand addresses are neither a thousand questions nor a thousand connections at once.
func TestThousand(t *testing.T) {
	l := startLab(t)
	serve(t, "0.0.0.0:3307")
	ep := &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Name: "db"}, Subsets: []corev1.EndpointSubset{{Ports: []corev1.EndpointPort{{Port: 3307}}}}}
	for i := range 1000 {
		ep.Subsets[0].Addresses = append(ep.Subsets[0].Addresses, corev1.EndpointAddress{IP: fmt.Sprintf("198.18.%d.%d", i/250, i%250+1)})
	}
	ep.Subsets[0].Addresses = append(ep.Subsets[0].Addresses, corev1.EndpointAddress{IP: "203.0.113.1"}) // no route
	s := l.space(t, api.AnnotationProbe, `{"tcpSocket":{},"periodSeconds":10,"failureThreshold":1}`)
	s.apply(t, ep)
	l.run(t)
	asked := func() int32 { return l.agents["n1"].asked.Load() + l.agents["n2"].asked.Load() }
	begin := time.Now()
	until(t, func() (bool, string) { n := asked(); return n >= 1001, fmt.Sprint(n) })
	t.Logf("%d questions in %s", asked(), time.Since(begin))
	for name, a := range l.agents {
		t.Logf("%s: %d questions, at most %d at once, %d connections", name, a.asked.Load(), a.most.Load(), a.connections.Load())
		if a.most.Load() > healthcheck.MaxInFlight || a.connections.Load() > healthcheck.MaxInFlight {
			t.Errorf("%s: %d at once, %d connections, the limit is %d", name, a.most.Load(), a.connections.Load(), healthcheck.MaxInFlight)
		}
	}
	until(t, func() (bool, string) {
		now, err := l.client.CoreV1().Endpoints(s.name).Get(t.Context(), "db", metav1.GetOptions{})
		if err != nil {
			return false, err.Error()
		}
		subset := now.Subsets[0]
		return len(subset.Addresses) == 1000 && len(subset.NotReadyAddresses) == 1, fmt.Sprint(len(subset.Addresses), len(subset.NotReadyAddresses))
	})
}

// asked runs a controller whose questions are answered by a function, and returns a function that ends it.
func (l *lab) asked(t *testing.T, ask Asker) (c *Controller, stop func()) {
	t.Helper()
	shared := informers.NewSharedInformerFactory(l.client, 0)
	c = New(l.client, shared, ask, nil, slog.New(slog.DiscardHandler))
	return c, apitest.Control(t, shared, c.Run)
}

// hanging is Endpoints with n addresses that never answer.
func hanging(n int) *corev1.Endpoints {
	ep := &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Name: "db"}, Subsets: []corev1.EndpointSubset{{Ports: []corev1.EndpointPort{{Port: 1}}}}}
	for i := range n {
		ep.Subsets[0].Addresses = append(ep.Subsets[0].Addresses, corev1.EndpointAddress{IP: fmt.Sprintf("198.18.%d.%d", i/250, i%250+1)})
	}
	return ep
}

// counted is an Asker whose questions hang for addresses of 198.18.0.0/16, and the largest number of them at once.
func counted(open, most *atomic.Int32) Asker {
	return func(ctx context.Context, _ *corev1.Node, request probe.Request) (probe.Reply, error) {
		if !netip.MustParsePrefix("198.18.0.0/16").Contains(request.Address) {
			return probe.Reply{Message: "refused"}, nil
		}
		for now := open.Add(1); ; {
			if top := most.Load(); now <= top || most.CompareAndSwap(top, now) {
				break
			}
		}
		defer open.Add(-1)
		<-ctx.Done()
		return probe.Reply{}, ctx.Err()
	}
}

// TestInFlight: however many addresses hang, so many questions are open at most, and the end of the program ends them.
func TestInFlight(t *testing.T) {
	l := startLab(t)
	var open, most atomic.Int32
	c, stop := l.asked(t, counted(&open, &most))
	for range 2 * healthcheck.MaxInFlight / healthcheck.MaxPerService {
		l.space(t, api.AnnotationProbe, `{"tcpSocket":{},"periodSeconds":1}`).apply(t, hanging(healthcheck.MaxPerService))
	}
	until(t, func() (bool, string) { // all are due within a second; those that find no room wait
		c.mu.Lock()
		defer c.mu.Unlock()
		next, some := c.monitor.Next()
		return open.Load() >= healthcheck.MaxInFlight && some && time.Since(next) > time.Second, fmt.Sprint(open.Load(), next)
	})
	if most.Load() > healthcheck.MaxInFlight {
		t.Errorf("%d questions at once, the limit is %d", most.Load(), healthcheck.MaxInFlight)
	}
	stop()
}

// TestFairShare: a Service with a thousand addresses that hang does not keep another from being probed.
func TestFairShare(t *testing.T) {
	l := startLab(t)
	var open, most atomic.Int32
	c, _ := l.asked(t, counted(&open, &most))
	crowd := l.space(t, api.AnnotationProbe, `{"tcpSocket":{},"periodSeconds":1}`)
	crowd.apply(t, hanging(1000))
	until(t, func() (bool, string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		stats := c.monitor.Stats()
		return stats.Deferred > 500, fmt.Sprint(open.Load(), stats)
	})
	other := l.space(t, api.AnnotationProbe, quick)
	other.apply(t, object("4 5"))
	until(t, func() (bool, string) { now := other.now(t); return now == "!4 !5 | 4 5", now })
	if most.Load() != healthcheck.MaxPerService {
		t.Errorf("%d questions at once for one Service, the limit is %d", most.Load(), healthcheck.MaxPerService)
	}
}

// TestSecondOpinion: an address that one node alone cannot reach stays, and the node that can goes on probing. It goes when another
// node confirms it, or when there is no other.
func TestSecondOpinion(t *testing.T) {
	l := startLab(t)
	var mu sync.Mutex
	reach := map[string]bool{"n1": true, "n2": true} // which nodes reach the address
	tries := map[string]int{}
	set := func(n1, n2 bool) {
		mu.Lock()
		defer mu.Unlock()
		reach["n1"], reach["n2"] = n1, n2
		clear(tries)
	}
	asked := func() (n1, n2 int) {
		mu.Lock()
		defer mu.Unlock()
		return tries["n1"], tries["n2"]
	}
	c, _ := l.asked(t, func(_ context.Context, node *corev1.Node, _ probe.Request) (probe.Reply, error) {
		mu.Lock()
		defer mu.Unlock()
		tries[node.Name]++
		return probe.Reply{OK: reach[node.Name], Message: "no answer at " + node.Name}, nil
	})
	s := l.space(t, api.AnnotationProbe, quick)
	s.apply(t, object("4"))
	until(t, func() (bool, string) { a, b := asked(); return a+b > 0, "nobody is asked" })
	a, b := asked()
	first, second := "n1", "n2"
	if b > 0 {
		first, second = second, first
	}
	if a > 0 && b > 0 {
		t.Fatalf("one node should probe: %d and %d questions", a, b)
	}
	set(second == "n1", second == "n2") // the first loses it
	until(t, func() (bool, string) {    // the second goes on alone
		a, b := asked()
		if first == "n2" {
			a, b = b, a
		}
		return a > 0 && b > a+2, fmt.Sprint(a, b)
	})
	if now := s.now(t); now != "4 |" || len(s.events(t)) > 0 {
		t.Errorf("one node alone took it out: %s, %v", now, s.events(t))
	}
	set(false, false)
	until(t, func() (bool, string) { now := s.now(t); return now == "!4 | 4", now })
	if a, b := asked(); a == 0 || b == 0 {
		t.Errorf("taken out without a second opinion: %d and %d questions", a, b)
	}
	metrics := prometheus.NewRegistry()
	c.register(metrics)
	until(t, func() (bool, string) { // what is written is counted a moment later
		n := apitest.Metrics(t, metrics)["fairlead_external_ejections_total"]
		return n == 1, fmt.Sprint(n)
	})
	apitest.Counts(t, metrics, map[string]float64{"fairlead_external_services": 1, "fairlead_external_targets": 1, "fairlead_external_ejections_active": 1,
		"fairlead_external_restorations_total": 0, "fairlead_external_probes_deferred": 0})
	set(true, true)
	until(t, func() (bool, string) { now := s.now(t); return now == "4 |", now })
	until(t, func() (bool, string) {
		all := apitest.Metrics(t, metrics)
		return all["fairlead_external_restorations_total"] == 1 && all["fairlead_external_ejections_active"] == 0 &&
			all[`fairlead_external_probes_total{result="failed"}`] >= 2 && all[`fairlead_external_probes_total{result="successful"}`] >= 2, fmt.Sprint(all)
	})
	if err := l.client.CoreV1().Nodes().Delete(t.Context(), first, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	set(false, false)
	until(t, func() (bool, string) { now := s.now(t); return now == "!4 | 4", now })
}

// TestNodeDies: the node that probes is not Ready any more, and the other takes over.
func TestNodeDies(t *testing.T) {
	l := startLab(t)
	var mu sync.Mutex
	tries := map[string]int{}
	l.asked(t, func(_ context.Context, node *corev1.Node, _ probe.Request) (probe.Reply, error) {
		mu.Lock()
		defer mu.Unlock()
		tries[node.Name]++
		return probe.Reply{OK: true}, nil
	})
	s := l.space(t, api.AnnotationProbe, quick)
	s.apply(t, object("4"))
	count := func() map[string]int {
		mu.Lock()
		defer mu.Unlock()
		return maps.Clone(tries)
	}
	until(t, func() (bool, string) { return len(count()) > 0, "nobody is asked" })
	for dead := range count() {
		node, err := l.client.CoreV1().Nodes().Get(t.Context(), dead, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		node.Status.Conditions[0].Status = corev1.ConditionUnknown
		if _, err := l.client.CoreV1().Nodes().UpdateStatus(t.Context(), node, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		until(t, func() (bool, string) {
			now := count()
			return len(now) == 2, fmt.Sprint(now)
		})
		before := count()[dead]
		until(t, func() (bool, string) {
			now := count()
			return now[dead] == before && now["n1"]+now["n2"] > 2*before+2, fmt.Sprint(now)
		})
	}
	if now := s.now(t); now != "4 |" {
		t.Errorf("the address went with the node: %s", now)
	}
}

// TestAgentsAreChecked: a node whose agent shows a certificate of another cluster is not believed.
func TestAgentsAreChecked(t *testing.T) {
	l := startLab(t)
	stranger, err := pki.LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cert := l.caller(t)
	node, err := l.client.CoreV1().Nodes().Get(t.Context(), "n1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	request := probe.Request{Address: netip.MustParseAddr("192.0.2.4"), Port: 1, TimeoutSeconds: 1, Handler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{}}}
	if _, err := Agents(peer.NewAsker(cert, l.ca.Pool(), 1))(t.Context(), node, request); err != nil {
		t.Errorf("its own: %v", err)
	}
	if _, err := Agents(peer.NewAsker(cert, stranger.Pool(), 1))(t.Context(), node, request); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a stranger: %v", err)
	}
	n2, err := l.client.CoreV1().Nodes().Get(t.Context(), "n2", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n2.Status.Addresses = node.Status.Addresses // it claims the other's address
	if _, err := Agents(peer.NewAsker(cert, l.ca.Pool(), 1))(t.Context(), n2, request); err == nil || !strings.Contains(err.Error(), "n2") {
		t.Errorf("a node that answers for another: %v", err)
	}
	node.Status.Addresses = nil
	if _, err := Agents(peer.NewAsker(cert, l.ca.Pool(), 1))(t.Context(), node, request); err == nil || !strings.Contains(err.Error(), "has not published an address") {
		t.Errorf("a node without address: %v", err)
	}
}

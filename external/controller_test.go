package external

//lint:file-ignore SA1019 v1 Endpoints are what the tests are about.

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"

	"fairlead.dev/fairlead/node/probe"
	"fairlead.dev/fairlead/pki"
)

// quick asks each port every second and believes the first answer.
const quick = `{"tcpSocket":{},"periodSeconds":1,"failureThreshold":1}`

const refused = "dial tcp 192.0.2.%[1]d:3306: connect: connection refused"

// TestController runs the controller against a real API server, real agents' handlers and real sockets.
func TestController(t *testing.T) {
	l := startLab(t)
	stop := l.run(t)
	t.Run("alive", func(t *testing.T) {
		for name, test := range map[string]func(*testing.T, *lab){
			"an address fails and comes back":   testMoves,
			"the manifest is applied again":     testApplyAgain,
			"a minimum is kept":                 testKeep,
			"the annotation is removed":         testRemoved,
			"the Service gets a selector":       testSelector,
			"annotations that are wrong":        testInvalid,
			"http, a named port, slice by hand": testHTTP,
		} {
			t.Run(name, func(t *testing.T) { t.Parallel(); test(t, l) })
		}
	})
	t.Run("restart", func(t *testing.T) { testRestart(t, l, stop) })
}

func testMoves(t *testing.T, l *lab) {
	stop := serve(t, "192.0.2.1:3306")
	s := l.space(t, AnnotationProbe, quick)
	s.apply(t, object("1 2 !3"))
	s.becomes(t, "1 !2 !3 | 2")
	text := fmt.Sprintf("Endpoint 192.0.2.2:3306 failed its probe: "+refused+"; it gets no traffic", 2)
	s.told(t, "Warning", "Unhealthy", text)

	stop2 := serve(t, "192.0.2.2:3306")
	s.becomes(t, "1 2 !3 |")
	s.told(t, "Normal", "Healthy", "Endpoint 192.0.2.2:3306 answers again")

	stop()
	stop2()
	s.becomes(t, "!1 !2 !3 | 1 2")
	serve(t, "192.0.2.3:3306") // which a person keeps out
	serve(t, "192.0.2.1:3306")
	s.becomes(t, "1 !2 !3 | 2")
}

func testApplyAgain(t *testing.T, l *lab) {
	s := l.space(t, AnnotationProbe, quick)
	s.apply(t, object("4 5"))
	s.becomes(t, "!4 !5 | 4 5")
	// From now on only memory can take an address out: failures no longer suffice.
	s.service(t, func(svc *corev1.Service) {
		svc.Annotations[AnnotationProbe] = `{"tcpSocket":{},"periodSeconds":3600,"failureThreshold":9}`
	})
	s.apply(t, object("4 5 6"))
	s.becomes(t, "!4 !5 6 | 4 5")
	if err := l.client.CoreV1().Endpoints(s.name).Delete(t.Context(), "db", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	s.apply(t, object("4 5")) // as kubectl replace --force: without our annotation
	s.becomes(t, "!4 !5 | 4 5")
}

func testKeep(t *testing.T, l *lab) {
	s := l.space(t, AnnotationProbe, quick, AnnotationKeep, "1")
	stop := serve(t, "192.0.2.7:3306")
	s.apply(t, object("7 8"))
	s.becomes(t, "7 !8 | 8")
	stop()
	s.told(t, "Warning", "Unhealthy", fmt.Sprintf("Endpoint 192.0.2.7:3306 failed its probe: "+refused+"; it keeps its traffic, because fairlead.dev/probe-keep is 1", 7))
	s.becomes(t, "7 !8 | 8")
	defer serve(t, "192.0.2.8:3306")()
	s.becomes(t, "!7 8 | 7")
}

func testRemoved(t *testing.T, l *lab) {
	s := l.space(t, AnnotationProbe, quick)
	s.apply(t, object("4 5 !6"))
	s.becomes(t, "!4 !5 !6 | 4 5")
	s.service(t, func(svc *corev1.Service) { delete(svc.Annotations, AnnotationProbe) })
	s.becomes(t, "4 5 !6 |")
}

func testSelector(t *testing.T, l *lab) {
	s := l.space(t, AnnotationProbe, quick)
	slice := handSlice("4")
	slice.Labels = map[string]string{discoveryv1.LabelServiceName: "db"}
	api := l.client.DiscoveryV1().EndpointSlices(s.name)
	if _, err := api.Create(t.Context(), slice, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	find := func() (bool, bool) {
		now, err := api.Get(t.Context(), slice.Name, metav1.GetOptions{})
		return err == nil && *now.Endpoints[0].Conditions.Ready, err == nil && takenNames(now)["192.0.2.4:3306"]
	}
	until(t, func() (bool, string) { ready, taken := find(); return !ready && taken, fmt.Sprint(ready, taken) })
	s.service(t, func(svc *corev1.Service) { svc.Spec.Selector = map[string]string{"app": "db"} })
	// The next removal of the annotation is answered only if we still look after the Service.
	s.service(t, func(svc *corev1.Service) { delete(svc.Annotations, AnnotationProbe) })
	other := l.space(t, AnnotationProbe, quick) // later work is done: the queue is past the above
	other.apply(t, object("5"))
	other.becomes(t, "!5 | 5")
	if ready, taken := find(); ready || !taken {
		t.Errorf("the slice was changed: ready %v, listed %v", ready, taken)
	}
}

func testInvalid(t *testing.T, l *lab) {
	s := l.space(t, AnnotationProbe, `{"exec":{"command":["true"]}}`)
	s.apply(t, object("4"))
	s.told(t, "Warning", "InvalidProbe", "annotation fairlead.dev/probe: exec: Forbidden: an address outside of the cluster has no container to run a command in")
	s.service(t, func(svc *corev1.Service) {
		svc.Annotations[AnnotationProbe] = `{"tcpSocket":{"port":"web"},"failureThreshold":1}`
	})
	s.told(t, "Warning", "InvalidProbe", `annotation fairlead.dev/probe: port: Invalid value: "web": neither the Service nor its endpoints have a TCP port of this name`)
	if got := s.now(t); got != "4 |" {
		t.Errorf("moved by a wrong probe: %s", got)
	}
	s.service(t, func(svc *corev1.Service) { svc.Annotations[AnnotationProbe] = quick })
	s.becomes(t, "!4 | 4")
	s.service(t, func(svc *corev1.Service) { svc.Annotations[AnnotationProbe] = `{` })
	until(t, func() (bool, string) {
		events := strings.Join(s.events(t), "\n")
		return strings.Contains(events, "InvalidProbe annotation fairlead.dev/probe: error converting YAML to JSON"), events
	})
	if got := s.now(t); got != "!4 | 4" {
		t.Errorf("moved by a wrong probe: %s", got)
	}
}

func testHTTP(t *testing.T, l *lab) {
	var code atomic.Int32
	code.Store(http.StatusServiceUnavailable)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ready" {
			t.Errorf("asked for %s", r.URL)
		}
		w.WriteHeader(int(code.Load()))
	})}
	socket, err := net.Listen("tcp", "192.0.2.9:8080")
	if err != nil {
		t.Fatal(err)
	}
	go server.Serve(socket)
	t.Cleanup(func() { server.Close() })

	s := l.space(t, AnnotationProbe, "httpGet:\n  path: /ready\n  port: admin\nperiodSeconds: 1\nfailureThreshold: 2\n")
	slice := handSlice("9")
	slice.Labels = map[string]string{discoveryv1.LabelServiceName: "db", discoveryv1.LabelManagedBy: "staff"}
	api := l.client.DiscoveryV1().EndpointSlices(s.name)
	if _, err := api.Create(t.Context(), slice, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	is := func(want string) {
		until(t, func() (bool, string) {
			now, err := api.Get(t.Context(), slice.Name, metav1.GetOptions{})
			if err != nil {
				return false, err.Error()
			}
			got := show(view{slices: []*discoveryv1.EndpointSlice{now}}.seats(), takenNames(now))
			return got == want, got
		})
	}
	is("!9 | 9")
	s.told(t, "Warning", "Unhealthy", "Endpoint 192.0.2.9:3306 failed its probe: HTTP probe failed with statuscode: 503; it gets no traffic")
	code.Store(http.StatusOK)
	is("9 |")
	s.told(t, "Normal", "Healthy", "Endpoint 192.0.2.9:3306 answers again")
}

// TestVantageChange: the node that probes stops answering, and another goes on without starting anew.
func TestVantageChange(t *testing.T) {
	l := startLab(t)
	l.run(t)
	s := l.space(t, AnnotationProbe, `{"tcpSocket":{},"periodSeconds":1,"failureThreshold":1}`)
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

func testRestart(t *testing.T, l *lab, stop func()) {
	s := l.space(t, AnnotationProbe, quick)
	s.apply(t, object("5 6"))
	s.becomes(t, "!5 !6 | 5 6")
	stop()
	version := func() string {
		ep, err := l.client.CoreV1().Endpoints(s.name).Get(t.Context(), "db", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return ep.ResourceVersion
	}
	before, asked := version(), func() int32 { return l.agents["n1"].asked.Load() + l.agents["n2"].asked.Load() }
	n := asked()
	stop = l.run(t)
	until(t, func() (bool, string) { now := asked(); return now > n+20, fmt.Sprint(now) })
	if got := version(); got != before {
		t.Errorf("a restart wrote the Endpoints: %s", s.now(t))
	}
	stop()
	s.apply(t, object("5 6")) // while nobody looks
	s.service(t, func(svc *corev1.Service) {
		svc.Annotations[AnnotationProbe] = `{"tcpSocket":{},"periodSeconds":3600,"failureThreshold":9}`
	})
	l.run(t)
	s.becomes(t, "!5 !6 | 5 6")
	s.told(t, "Warning", "Unhealthy", "Endpoint 192.0.2.5:3306 failed its probe before; it gets no traffic")
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
	s := l.space(t, AnnotationProbe, `{"tcpSocket":{},"periodSeconds":10,"failureThreshold":1}`)
	s.apply(t, ep)
	l.run(t)
	asked := func() int32 { return l.agents["n1"].asked.Load() + l.agents["n2"].asked.Load() }
	begin := time.Now()
	until(t, func() (bool, string) { n := asked(); return n >= 1001, fmt.Sprint(n) })
	t.Logf("%d questions in %s", asked(), time.Since(begin))
	for name, a := range l.agents {
		t.Logf("%s: %d questions, at most %d at once, %d connections", name, a.asked.Load(), a.most.Load(), a.connections.Load())
		if a.most.Load() > inFlight || a.connections.Load() > inFlight {
			t.Errorf("%s: %d at once, %d connections, the limit is %d", name, a.most.Load(), a.connections.Load(), inFlight)
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
	ctx, cancel := context.WithCancel(context.Background())
	shared := informers.NewSharedInformerFactory(l.client, 0)
	ended := make(chan error, 1)
	c = New(l.client, shared, ask, slog.New(slog.DiscardHandler))
	go func() { ended <- c.Run(ctx) }()
	shared.Start(ctx.Done())
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Error("the controller does not end")
		}
		shared.Shutdown()
	})
	t.Cleanup(stop)
	return c, stop
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
	for range 2 * inFlight / perService {
		l.space(t, AnnotationProbe, `{"tcpSocket":{},"periodSeconds":1}`).apply(t, hanging(perService))
	}
	until(t, func() (bool, string) { // all are due within a second; those that find no room wait
		c.mu.Lock()
		defer c.mu.Unlock()
		next, some := c.agenda.next()
		return open.Load() >= inFlight && some && time.Since(next) > time.Second, fmt.Sprint(open.Load(), next)
	})
	if most.Load() > inFlight {
		t.Errorf("%d questions at once, the limit is %d", most.Load(), inFlight)
	}
	stop()
}

// TestFairShare: a Service with a thousand addresses that hang does not keep another from being probed.
func TestFairShare(t *testing.T) {
	l := startLab(t)
	var open, most atomic.Int32
	c, _ := l.asked(t, counted(&open, &most))
	crowd := l.space(t, AnnotationProbe, `{"tcpSocket":{},"periodSeconds":1}`)
	crowd.apply(t, hanging(1000))
	until(t, func() (bool, string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, m := range c.memories {
			return len(m.waiting) > 500, fmt.Sprint(open.Load(), len(m.waiting))
		}
		return false, "no Service"
	})
	other := l.space(t, AnnotationProbe, quick)
	other.apply(t, object("4 5"))
	until(t, func() (bool, string) { now := other.now(t); return now == "!4 !5 | 4 5", now })
	if most.Load() != perService {
		t.Errorf("%d questions at once for one Service, the limit is %d", most.Load(), perService)
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
	l.asked(t, func(_ context.Context, node *corev1.Node, _ probe.Request) (probe.Reply, error) {
		mu.Lock()
		defer mu.Unlock()
		tries[node.Name]++
		return probe.Reply{OK: reach[node.Name], Message: "no answer at " + node.Name}, nil
	})
	s := l.space(t, AnnotationProbe, quick)
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
	set(true, true)
	until(t, func() (bool, string) { now := s.now(t); return now == "4 |", now })
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
	s := l.space(t, AnnotationProbe, quick)
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
	cert := l.issue(t, pki.Request{CommonName: "fairlead-external", Organizations: []string{"system:masters"}, Client: true})
	node, err := l.client.CoreV1().Nodes().Get(t.Context(), "n1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	request := probe.Request{Address: netip.MustParseAddr("192.0.2.4"), Port: 1, TimeoutSeconds: 1, Handler: corev1.ProbeHandler{TCPSocket: &corev1.TCPSocketAction{}}}
	if _, err := Agents(cert, l.ca.Pool())(t.Context(), node, request); err != nil {
		t.Errorf("its own: %v", err)
	}
	if _, err := Agents(cert, stranger.Pool())(t.Context(), node, request); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a stranger: %v", err)
	}
	node.Status.Addresses = nil
	if _, err := Agents(cert, l.ca.Pool())(t.Context(), node, request); err == nil || !strings.Contains(err.Error(), "has not published its address") {
		t.Errorf("a node without address: %v", err)
	}
}

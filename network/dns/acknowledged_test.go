package dns

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	miekg "github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"fairlead.dev/fairlead/internal/apitest"
	"fairlead.dev/fairlead/network/dns/dnstest"
	"fairlead.dev/fairlead/network/world"
)

// follower is a server that runs in one process with the API server it follows.
type follower struct {
	*Server
	client kubernetes.Interface
}

func follow(t testing.TB) follower {
	t.Helper()
	api, _ := apitest.Run(t, apitest.Config(t, t.TempDir()))
	client, err := kubernetes.NewForConfig(api.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	w, at := world.New(), api.Acknowledged()
	s := New(Config{Addrs: []netip.AddrPort{freeAddr(t)}, Domain: "cluster.local", Acknowledged: func() world.Revisions {
		return world.Revisions{world.Services: at.Services.Load(), world.EndpointSlices: at.EndpointSlices.Load(), world.Namespaces: at.Namespaces.Load()}
	}}, w, slog.New(slog.NewTextHandler(t.Output(), nil)))
	s.catchUp = time.Minute // on a busy machine too nothing is to be given up
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx, client) }()
	t.Cleanup(func() { cancel(); <-ended })
	run(t, s)
	<-s.Ready()
	return follower{s, client}
}

// answer is what the server says now: the response code and the records' data.
func (f follower) answer(c *miekg.Conn, name string, typ uint16) (string, error) {
	c.SetDeadline(time.Now().Add(time.Minute))
	if err := c.WriteMsg(new(miekg.Msg).SetQuestion(name, typ)); err != nil {
		return "", err
	}
	m, err := c.ReadMsg()
	if err != nil {
		return "", err
	}
	said := []string{rcodeOf(m)}
	for _, rr := range m.Answer {
		said = append(said, rr.String()[len(rr.Header().String()):])
	}
	slices.Sort(said[1:])
	return fmt.Sprint(said), nil
}

// TestAcknowledged: what the API server has acknowledged is in the very next answer, over UDP and TCP, whoever else
// writes at the same time: Services that come, change and go, endpoints written by hand, reverse names, namespaces.
func TestAcknowledged(t *testing.T) {
	f := follow(t)
	const writers, rounds = 4, 60
	var asked atomic.Int64
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			c, err := miekg.Dial([]string{"udp", "tcp"}[i%2], f.cfg.Addrs[0].String())
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			for k := range rounds {
				if err := f.round(t.Context(), fmt.Sprintf("w%d-%d", i, k), c, &asked); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d answers, each right at once", asked.Load())
}

// round makes changes and asks after each.
func (f follower) round(ctx context.Context, ns string, c *miekg.Conn, asked *atomic.Int64) error {
	services, endpoints := f.client.CoreV1().Services(ns), f.client.DiscoveryV1().EndpointSlices(ns)
	var svc *corev1.Service
	var ends *discoveryv1.EndpointSlice
	zone := "." + ns + ".svc.cluster.local."
	for _, step := range []struct {
		what string
		do   func() error
		ask  string
		typ  uint16
		want func() string
	}{
		{"namespace", func() (err error) {
			_, err = f.client.CoreV1().Namespaces().Create(ctx, dnstest.Namespace(ns), metav1.CreateOptions{})
			return err
		}, zone[1:], miekg.TypeA, func() string { return "[NOERROR]" }},
		{"create", func() (err error) {
			svc, err = services.Create(ctx, dnstest.Service(ns, "web", ""), metav1.CreateOptions{})
			return err
		}, "web" + zone, miekg.TypeA, func() string { return "[NOERROR " + svc.Spec.ClusterIP + "]" }},
		{"port", func() (err error) {
			svc.Spec.Ports[0].Port = 81
			svc, err = services.Update(ctx, svc, metav1.UpdateOptions{})
			return err
		}, "_http._tcp.web" + zone, miekg.TypeSRV, func() string { return "[NOERROR 0 100 81 web" + zone + "]" }},
		{"second", func() (err error) {
			svc, err = services.Create(ctx, dnstest.Service(ns, "other", ""), metav1.CreateOptions{})
			return err
		}, "reverse", miekg.TypePTR, func() string { return "[NOERROR other" + zone + "]" }},
		{"alias", func() (err error) {
			_, err = services.Patch(ctx, "other", "application/merge-patch+json", []byte(`{"spec":{"type":"ExternalName","externalName":"web`+zone+`"}}`), metav1.PatchOptions{})
			return err
		}, "other" + zone, miekg.TypeCNAME, func() string { return "[NOERROR web" + zone + "]" }},
		{"headless", func() (err error) {
			_, err = services.Create(ctx, dnstest.Service(ns, "db", "None"), metav1.CreateOptions{})
			return err
		}, "db" + zone, miekg.TypeA, func() string { return "[NXDOMAIN]" }},
		{"endpoints", func() (err error) {
			ends, err = endpoints.Create(ctx, dnstest.Slice(ns, "db", "10.9.0.1", 1), metav1.CreateOptions{})
			return err
		}, "db" + zone, miekg.TypeA, func() string { return "[NOERROR 10.9.0.1]" }},
		{"changed endpoints", func() (err error) {
			ends.Endpoints[0].Addresses = []string{"10.9.0.2"}
			_, err = endpoints.Update(ctx, ends, metav1.UpdateOptions{})
			return err
		}, "db" + zone, miekg.TypeA, func() string { return "[NOERROR 10.9.0.2]" }},
		{"no endpoints", func() error { return endpoints.Delete(ctx, ends.Name, metav1.DeleteOptions{}) },
			"db" + zone, miekg.TypeA, func() string { return "[NXDOMAIN]" }},
		{"delete", func() error { return services.Delete(ctx, "web", metav1.DeleteOptions{}) },
			"web" + zone, miekg.TypeA, func() string { return "[NXDOMAIN]" }},
	} {
		if err := step.do(); err != nil {
			return fmt.Errorf("%s %s: %w", ns, step.what, err)
		}
		if step.ask == "reverse" {
			step.ask, _ = miekg.ReverseAddr(svc.Spec.ClusterIP)
		}
		if got, err := f.answer(c, step.ask, step.typ); err != nil || got != step.want() {
			return fmt.Errorf("%s %s: the next query for %s got %s %v, want %s", ns, step.what, step.ask, got, err, step.want())
		}
		asked.Add(1)
	}
	return nil
}

// lagging is a server whose API server is always ahead of it.
func lagging(t *testing.T, catchUp time.Duration, cfg Config) (*Server, *world.World, *atomic.Uint64) {
	var version atomic.Uint64
	cfg.Addrs, cfg.Domain = []netip.AddrPort{freeAddr(t)}, "cluster.local"
	cfg.Acknowledged = func() world.Revisions { return world.Revisions{world.Services: version.Load()} }
	w := dnstest.Cluster()
	s := New(cfg, w, slog.New(slog.NewTextHandler(t.Output(), nil)))
	s.catchUp = catchUp
	run(t, s)
	<-s.Ready()
	return s, w, &version
}

func versioned(o *corev1.Service, version string) *corev1.Service {
	o.ResourceVersion = version
	return o
}

// later asks for web and delivers the answer when it comes, nil if it does not.
func (s *Server) later(network string) <-chan *miekg.Msg {
	answer := make(chan *miekg.Msg, 1)
	go func() {
		c := miekg.Client{Net: network, Timeout: 20 * time.Second}
		m, _, err := c.Exchange(new(miekg.Msg).SetQuestion("web.default.svc.cluster.local.", miekg.TypeA), s.cfg.Addrs[0].String())
		if err != nil {
			m = nil
		}
		answer <- m
	}()
	return answer
}

// holding is how many questions are held.
func (s *Server) holding() int {
	s.barrier.mu.Lock()
	defer s.barrier.mu.Unlock()
	return len(s.barrier.held)
}

// TestHeldQuestions: a question about the zone waits for what is acknowledged; others, about other zones or about what
// came before, do not wait for it.
func TestHeldQuestions(t *testing.T) {
	s, w, version := lagging(t, time.Hour, toward(t, startUpstream(t, answerWith("www.example.com. 60 IN A 192.0.2.1"))))
	version.Store(5)
	overUDP, overTCP := s.later("udp"), s.later("tcp")
	eventually(t, "two questions held", func() bool { return s.holding() == 2 })
	for _, network := range []string{"udp", "tcp"} {
		if got := firstA(ask(t, s, network, "www.example.com.", "A")); got != "192.0.2.1" {
			t.Errorf("another zone's name, while questions are held: %q", got)
		}
	}
	version.Store(6) // more is written; what was asked before needs no more than 5
	w.Put(versioned(dnstest.Service("default", "web", "10.96.0.20"), "5"))
	for _, answer := range []<-chan *miekg.Msg{overUDP, overTCP} {
		if got := <-answer; got == nil || firstA(got) != "10.96.0.20" {
			t.Errorf("a held question got %v", got)
		}
	}
}

// TestHoldingInVain: when the watch is stuck a question is answered from what is known, and none waits until the
// Zone has caught up.
func TestHoldingInVain(t *testing.T) {
	s, w, version := lagging(t, 10*time.Millisecond, Config{})
	version.Store(5)
	if got := rcodeOf(ask(t, s, "udp", "web.default.svc.cluster.local.", "A")); got != "NXDOMAIN" {
		t.Errorf("without a watch: %s", got)
	}
	if !s.barrier.stuck.Load() || s.behind(s.zone.Load()) {
		t.Error("questions still wait for a stuck watch")
	}
	w.Put(versioned(dnstest.Service("default", "web", "10.96.0.20"), "5"))
	eventually(t, "the barrier to be back", func() bool { return !s.barrier.stuck.Load() })
	if got := firstA(ask(t, s, "udp", "web.default.svc.cluster.local.", "A")); got != "10.96.0.20" {
		t.Errorf("caught up: %q", got)
	}
	version.Store(6)
	if !s.behind(s.zone.Load()) {
		t.Error("questions do not wait any more")
	}
}

// TestStopAnswersHeldQuestions: a server that ends answers what it holds.
func TestStopAnswersHeldQuestions(t *testing.T) {
	s, _, version := lagging(t, time.Hour, Config{})
	version.Store(5)
	answer := s.later("udp")
	eventually(t, "a question held", func() bool { return s.holding() == 1 })
	s.barrier.stop()
	if got := <-answer; got == nil || rcodeOf(got) != "NXDOMAIN" {
		t.Errorf("got %v", got)
	}
}

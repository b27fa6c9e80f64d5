package nft

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/internal/netlab"
	"fairlead.dev/fairlead/network/nft/plan"
)

func (l *lab) counting() {
	l.t.Helper()
	cfg := testConfig
	cfg.CountUpTo = 1000
	l.startAs(cfg)
}

// counts is a Service's connections by server.
func (l *lab) counts(name string) map[string]int {
	l.t.Helper()
	found, err := l.proxy.Connections(types.NamespacedName{Namespace: "default", Name: name})
	if err != nil {
		l.t.Fatal(err)
	}
	sums := map[string]int{}
	for _, c := range found {
		for name, pod := range l.pods() {
			if l.ip(pod.ip) == c.Endpoint.Addr() {
				sums[c.Port+" "+name] += int(c.Connections)
			}
		}
	}
	return sums
}

// The kernel counts each endpoint's connections: as many as its clients saw.
func TestConnectionsAreCounted(t *testing.T) {
	inBothFamilies(t, func(t *testing.T, l *lab) {
		l.counting()
		hashed := newService("hashed", "10.96.0.3")
		hashed.Annotations = map[string]string{api.AnnotationBalance: api.BalanceByClient}
		l.put(newService("web", "10.96.0.1"), newSlice("web", podB, podFar, podFar2), newService("none", "10.96.0.4"),
			withAffinity(newService("sticky", "10.96.0.2"), 600), newSlice("sticky", podB, podFar, podFar2), hashed, newSlice("hashed", podB, podFar, podFar2))
		for name, ip := range map[string]string{"web": "10.96.0.1:80", "sticky": "10.96.0.2:80", "hashed": "10.96.0.3:80"} {
			want := map[string]int{"tcp b": 0, "tcp far": 0, "tcp far2": 0, "udp b": 0, "udp far": 0, "udp far2": 0}
			for range 20 {
				for _, network := range []string{"tcp", "udp"} {
					c, err := l.a.Dial(network, netip.Addr{}, l.at(ip), patient)
					if err != nil {
						t.Fatal(err)
					}
					defer c.Close() // not before the end: from a port used again a datagram is of the same flow
					a, err := netlab.Ask(c, patient)
					if err != nil {
						t.Fatal(err)
					}
					want[network+" "+a.Name]++
				}
			}
			if got := l.counts(name); !maps.Equal(got, want) {
				t.Errorf("%s: the kernel counts %v, the client %v", name, got, want)
			}
		}
		if got := l.counts("none"); len(got) != 0 {
			t.Errorf("a Service without endpoints: %v", got)
		}
		all, err := l.proxy.AllConnections()
		names := map[string]bool{}
		for _, c := range all {
			names[c.Service.Name] = true
		}
		if err != nil || len(all) != 18 || len(names) != 3 {
			t.Errorf("all counts: %v, %v", all, err)
		}
		// What a client printed by hand can read.
		out, err := l.node.Command("nft", "list", "map", plan.NewFamily(l.six).String(), plan.TableName, plan.MapEndpoints.String())
		if err != nil || !strings.Contains(out, "counter packets") {
			t.Errorf("%v: %s", err, out)
		}
	})
}

// Above the configured number of endpoints nothing is counted, and who asks is
// told.
func TestConnectionsAreCountedUpToALimit(t *testing.T) {
	l := newLab(t)
	cfg := testConfig
	cfg.CountUpTo = 3
	for i := range 2 {
		l.set(newService(fmt.Sprint("s", i), fmt.Sprint("10.96.0.", i+1)), newSlice(fmt.Sprint("s", i), podB))
	}
	l.startAs(cfg)
	l.settle()
	name := types.NamespacedName{Namespace: "default", Name: "s0"}
	if c, err := l.proxy.Connections(name); !errors.Is(err, ErrNotCounted) {
		t.Errorf("%v, %v; want %v", c, err, ErrNotCounted)
	}
	l.stop()
	if c, err := l.proxy.Connections(name); err == nil {
		t.Errorf("of a proxy that does not run: %v", c)
	}
}

// Endpoints that come and go while somebody asks make no error.
func TestConnectionsDuringChanges(t *testing.T) {
	l := newLab(t)
	l.counting()
	l.put(newService("web", "10.96.0.1"), newSlice("web", podB))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			if _, err := l.proxy.Connections(types.NamespacedName{Namespace: "default", Name: "web"}); err != nil && !errors.Is(err, unix.ENOENT) {
				t.Errorf("%v", err)
				break
			}
		}
		done <- n
	}()
	for i := range 300 {
		l.set(newSlice("web", []netip.Addr{podB, podFar, podFar2, podA}[:i%4+1]...))
		before := l.proxy.Stats().Transactions
		l.until("a transaction", func() bool { return l.proxy.Stats().Transactions > before || i%4 == 0 })
	}
	cancel()
	if n := <-done; n == 0 {
		t.Error("nobody asked")
	}
}

func TestP95_Metrics(t *testing.T) {
	l := newLab(t)
	registry := prometheus.NewPedanticRegistry()
	cfg := testConfig
	cfg.Metrics = registry
	l.startAs(cfg)
	s := newService("web", "10.96.0.1")
	s.Spec.InternalTrafficPolicy = ptr.To(corev1.ServiceInternalTrafficPolicyLocal)
	nodePort(s, localPolicy)
	slice := newSlice("web", podFar)
	slice.Annotations = map[string]string{corev1.EndpointsLastChangeTriggerTime: time.Now().Add(time.Second).Format(time.RFC3339Nano)}
	l.put(s, slice)
	l.put(slice.DeepCopy()) // the same trigger is no other change
	old := newSlice("web", podFar, podFar2)
	old.Annotations = map[string]string{corev1.EndpointsLastChangeTriggerTime: time.Now().Add(-time.Hour).Format(time.RFC3339Nano)}
	l.put(old)
	gathered, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	value := map[string]float64{}
	for _, f := range gathered {
		for _, m := range f.Metric {
			name := strings.TrimPrefix(f.GetName(), ruleMetrics)
			for _, label := range m.Label {
				name += " " + label.GetValue()
			}
			value[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	for name, want := range map[string]float64{
		"kubeproxy_network_programming_duration_seconds": 1,
		"no_local_endpoints_total internal":              2, "no_local_endpoints_total external": 2, // TCP and UDP
		"endpoint_changes_pending": 0, "service_changes_pending": 0,
	} {
		if got, there := value[name]; !there || got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	for _, name := range []string{"duration_seconds", "last_timestamp_seconds", "last_queued_timestamp_seconds", "endpoint_changes_total",
		"service_changes_total", "fairlead_conntrack_entries_limit"} {
		if value[name] == 0 {
			t.Errorf("%s is zero; there are %v", name, slices.Sorted(maps.Keys(value)))
		}
	}
	if problems, err := testutil.GatherAndLint(registry); err != nil {
		t.Error(problems, err)
	}
}

func TestHealthy(t *testing.T) {
	l := newLab(t)
	p := New(testConfig, l.world, slog.New(slog.DiscardHandler))
	if ok, at := p.Healthy(); ok || !at.IsZero() {
		t.Errorf("before the first write: %v, %v", ok, at)
	}
	l.start()
	l.settle()
	if ok, at := l.proxy.Healthy(); !ok || at.IsZero() {
		t.Errorf("after a write: %v, %v", ok, at)
	}
	p.stats.Updated, p.stats.Pending = time.Now().Add(-time.Hour), time.Now().Add(-patience)
	if ok, _ := p.Healthy(); ok {
		t.Error("healthy though nothing could be written for long")
	}
}

// A full table of connections is said in the log once, until there is room.
func TestConntrackTableIsWatched(t *testing.T) {
	l := newLab(t)
	var out strings.Builder
	byHand := stepped(t, l.node, testConfig, l.world)
	byHand.proxy.log = slog.New(slog.NewTextHandler(&out, nil))
	_, limit, err := byHand.socket.conntracked()
	if err != nil || limit == 0 {
		t.Fatalf("limit %d, %v", limit, err)
	}
	now := time.Now()
	for i, step := range []struct {
		entries uint32
		lines   int
	}{{limit / 2, 0}, {limit - limit/20, 1}, {limit, 1}, {limit * 8 / 10, 1}, {limit, 1}, {limit / 2, 1}, {limit, 2}} {
		byHand.judge(step.entries, limit)
		if n := strings.Count(out.String(), "nearly full"); n != step.lines {
			t.Errorf("step %d: %d warnings, want %d", i, n, step.lines)
		}
	}
	byHand.watchConntrack(now)
	if byHand.full {
		t.Error("an empty table is full")
	}
}

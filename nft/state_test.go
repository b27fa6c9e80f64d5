package nft

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/internal/netlab"
	"fairlead.dev/fairlead/lb"
)

func withAffinity(s *corev1.Service, seconds int32) *corev1.Service {
	s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	s.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: ptr.To(seconds)}}
	return s
}

// sticks connects n times, expects one and the same server each time, and
// returns its name.
func (l *lab) sticks(from *netlab.Netns, network, to string, n int) string {
	l.t.Helper()
	name := ""
	for range n {
		answer, err := from.TCP(netip.Addr{}, at(to), patient)
		if network == "udp" {
			answer, err = from.UDP(netip.Addr{}, at(to), patient)
		}
		if err != nil {
			l.t.Fatalf("%s %s: %v", network, to, err)
		}
		if name != "" && answer.Name != name {
			l.t.Fatalf("%s %s went to %q, then to %q", network, to, name, answer.Name)
		}
		name = answer.Name
	}
	return name
}

func TestP70_AffinityIsPerServicePortOverAllAddresses(t *testing.T) {
	l := newLab(t)
	l.start()
	s := nodePort(withAffinity(newService("web", "10.96.0.1"), 60), clusterPolicy)
	l.put(s, newSlice("web", podA, podB, podFar, podFar2))
	first := l.sticks(l.outsideNs, "tcp", "10.96.0.1:80", 30)
	if again := l.sticks(l.outsideNs, "tcp", "192.0.2.1:30080", 30); again != first {
		t.Errorf("by cluster address to %q, by node port to %q", first, again)
	}
	l.sticks(l.outsideNs, "udp", "10.96.0.1:80", 10)
}

func TestP71_AffinityEndsWithTheTimeout(t *testing.T) {
	l := newLab(t)
	l.start()
	l.put(withAffinity(newService("web", "10.96.0.1"), 1), newSlice("web", podB, podFar, podFar2))
	first := l.sticks(l.a, "tcp", "10.96.0.1:80", 10)
	// Each attempt waits for the entry to go, then has two chances in three.
	l.until("another endpoint after the timeout", func() bool {
		gone := time.Now().Add(3 * time.Second)
		for out := podA.String(); strings.Contains(out, podA.String()); {
			out, _ = l.node.Command("nft", "list", "map", "ip", tableName, affinityMap)
			if time.Now().After(gone) {
				t.Fatalf("the entry outlives its timeout:\n%s", out)
			}
		}
		return l.sticks(l.a, "tcp", "10.96.0.1:80", 1) != first
	})
}

func TestP72_AffinityLetsGoOfADeadEndpoint(t *testing.T) {
	l := newLab(t)
	l.start()
	addrs := map[string]netip.Addr{"b": podB, "far": podFar, "far2": podFar2}
	l.put(withAffinity(newService("web", "10.96.0.1"), 600), newSlice("web", podB, podFar, podFar2))
	first := l.sticks(l.a, "tcp", "10.96.0.1:80", 10)
	var left []netip.Addr
	for name, a := range addrs {
		if name != first {
			left = append(left, a)
		}
	}
	l.put(newSlice("web", left...))
	second := l.sticks(l.a, "tcp", "10.96.0.1:80", 20)
	if second == first {
		t.Fatalf("still on %q, which is gone", first)
	}
	// The endpoint returns; the client stays where it is now.
	l.put(newSlice("web", podB, podFar, podFar2))
	if third := l.sticks(l.a, "tcp", "10.96.0.1:80", 30); third != second {
		t.Errorf("went back from %q to %q", second, third)
	}
	// A change of other endpoints moves nobody.
	l.put(newSlice("web", addrs[second]))
	l.put(newSlice("web", podFar2, podFar, podB))
	if fourth := l.sticks(l.a, "tcp", "10.96.0.1:80", 30); fourth != second {
		t.Errorf("moved from %q to %q though its endpoint never went", second, fourth)
	}
}

// What a client sticks to outlives the Proxy, and tables that had to grow.
func TestP70_AffinityOutlivesRestartAndRewrite(t *testing.T) {
	l := newLab(t)
	l.start()
	l.put(newService("first", "10.96.0.9"), newSlice("first", podB)) // so that ids do not repeat by chance
	l.put(withAffinity(newService("web", "10.96.0.1"), 600), newSlice("web", podA, podB, podFar, podFar2))
	before := l.sticks(l.b, "tcp", "10.96.0.1:80", 5)
	l.stop()
	l.world.Delete(newService("first", ""))
	for i := range 20 { // the next process derives in another order
		l.world.Put(withAffinity(newService(fmt.Sprint("s", i), fmt.Sprintf("10.96.1.%d", i)), 600))
		l.world.Put(newSlice(fmt.Sprint("s", i), podA, podFar))
	}
	l.start()
	if after := l.sticks(l.b, "tcp", "10.96.0.1:80", 20); after != before {
		t.Errorf("on %q before the restart, on %q after", before, after)
	}
	rewrites := l.proxy.Stats().Rewrites
	for i := range 3000 {
		l.world.Put(newService(fmt.Sprint("t", i), fmt.Sprintf("10.100.%d.%d", i/250, i%250+1)))
	}
	l.settle()
	if l.proxy.Stats().Rewrites == rewrites {
		t.Error("6000 frontends more did not make the map grow")
	}
	if after := l.sticks(l.b, "tcp", "10.96.0.1:80", 20); after != before {
		t.Errorf("on %q before the rewrite, on %q after", before, after)
	}
	if l.proxy.Stats().Failures != 0 {
		t.Errorf("%+v", l.proxy.Stats())
	}
}

func TestP20_InTurnInsteadOfAtRandom(t *testing.T) {
	l := newLab(t)
	l.start()
	s := newService("web", "10.96.0.1")
	s.Annotations = map[string]string{lb.AnnotationBalance: lb.BalanceInTurn}
	other := s.DeepCopy()
	other.Name, other.Spec.ClusterIP, other.Spec.ClusterIPs = "other", "10.96.0.2", []string{"10.96.0.2"}
	l.put(s, newSlice("web", podB, podFar, podFar2), other, newSlice("other", podB, podFar, podFar2))
	var order []string
	for range 12 {
		a, err := l.a.TCP(netip.Addr{}, at("10.96.0.1:80"), patient)
		if err != nil {
			t.Fatal(err)
		}
		order = append(order, a.Name)
		l.sticks(l.a, "tcp", "10.96.0.2:80", 1) // another Service does not disturb the turn
	}
	for i, name := range order {
		if i >= 3 && name != order[i-3] || i > 0 && name == order[i-1] {
			t.Fatalf("not in turn: %v", order)
		}
	}
	s = s.DeepCopy()
	s.Annotations = nil
	l.put(s)
	l.reaches(l.a, "tcp", "10.96.0.1:80", podA, "b", "far", "far2")
}

func TestP74_AffinityOnAndOff(t *testing.T) {
	l := newLab(t)
	l.start()
	plain := newService("web", "10.96.0.1")
	l.put(plain, newSlice("web", podB, podFar))
	l.reaches(l.a, "tcp", "10.96.0.1:80", podA, "b", "far")
	l.put(withAffinity(plain.DeepCopy(), 600))
	l.sticks(l.a, "tcp", "10.96.0.1:80", 30)
	l.put(plain)
	l.reaches(l.a, "tcp", "10.96.0.1:80", podA, "b", "far")
}

// A UDP client that never closes its socket follows the endpoints.
func TestP80_UDPFlowsFollow(t *testing.T) {
	l := newLab(t)
	l.start()
	s := nodePort(newService("dns", "10.96.0.1"), clusterPolicy)
	l.put(s, newSlice("dns", podB))
	var conns []net.Conn
	for _, to := range []string{"10.96.0.1:80", "192.0.2.1:30080"} {
		conn, err := l.outsideNs.Dial("udp4", netip.Addr{}, at(to), quick)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, conn)
	}
	answers := func(want string) {
		t.Helper()
		for _, c := range conns {
			l.until("an answer from "+want, func() bool {
				a, err := netlab.Ask(c, quick)
				return err == nil && a.Name == want
			})
		}
	}
	answers("b")
	l.put(newSlice("dns", podFar, podB)) // P84: an added endpoint moves no flow
	answers("b")
	l.put(newSlice("dns", podFar))
	answers("far")
	l.put(newSlice("dns")) // P83: to nothing
	for _, c := range conns {
		l.until("a refusal", func() bool {
			_, err := netlab.Ask(c, quick)
			return err != nil && !isTimeout(err)
		})
	}
	l.put(newSlice("dns", podFar2)) // P81: and back
	answers("far2")
	l.world.Delete(s)
	l.settle()
	l.until("silence of the deleted Service", func() bool { _, err := netlab.Ask(conns[0], quick); return err != nil })
}

// A flow that began before its Service has no translation and must not stay so.
func TestP81_FlowOlderThanItsService(t *testing.T) {
	l := newLab(t)
	l.start()
	conn, err := l.outsideNs.Dial("udp4", netip.Addr{}, at("192.0.2.1:30080"), quick)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := netlab.Ask(conn, quick); err == nil {
		t.Fatal("there is no Service yet")
	}
	if before := l.proxy.Stats().Flows; before != 0 {
		t.Fatalf("%d flows cut already", before)
	}
	l.put(nodePort(newService("dns", "10.96.0.1"), clusterPolicy), newSlice("dns", podB))
	l.until("an answer", func() bool { a, err := netlab.Ask(conn, quick); return err == nil && a.Name == "b" })
}

func TestP84_TCPConnectionsOutliveTheirEndpoint(t *testing.T) {
	l := newLab(t)
	l.start()
	s := newService("web", "10.96.0.1")
	l.put(s, newSlice("web", podB))
	conn, err := l.a.Dial("tcp4", netip.Addr{}, at("10.96.0.1:80"), patient)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	l.put(newSlice("web", podFar))
	l.world.Delete(s)
	l.settle()
	if a, err := netlab.Ask(conn, patient); err != nil || a.Name != "b" {
		t.Errorf("the open connection: %+v, %v", a, err)
	}
}

// The elder Service keeps an address that a younger one claims as well.
func TestSharedAddress(t *testing.T) {
	l := newLab(t)
	l.start()
	elder, younger := external(newService("z", "10.96.0.1"), "203.0.113.1", clusterPolicy), external(newService("a", "10.96.0.2"), "203.0.113.1", clusterPolicy)
	younger.CreationTimestamp.Time = time.Now()
	elder.CreationTimestamp.Time = younger.CreationTimestamp.Add(-time.Hour)
	l.put(younger, newSlice("a", podFar2))
	l.reaches(l.a, "tcp", "203.0.113.1:80", podA, "far2")
	l.put(elder, newSlice("z", podB))
	l.reaches(l.a, "tcp", "203.0.113.1:80", podA, "b")
	l.put(newSlice("a", podFar))
	l.reaches(l.a, "tcp", "203.0.113.1:80", podA, "b")
	l.world.Delete(elder)
	l.settle()
	l.reaches(l.a, "tcp", "203.0.113.1:80", podA, "far")
}

// Rules P100, P101: the table cannot be flushed by others while its Proxy lives,
// stays when it stops, and is taken over without a gap by the next.
func TestP101_RestartAndFlush(t *testing.T) {
	l := newLab(t)
	l.start()
	l.put(newService("web", "10.96.0.1"), newSlice("web", podB))
	open, err := l.a.Dial("tcp4", netip.Addr{}, at("10.96.0.1:80"), patient)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	if out, err := l.node.Command("nft", "flush", "ruleset"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	l.reaches(l.a, "tcp", "10.96.0.1:80", podA, "b")
	stopLoad := l.load(l.a, "10.96.0.1:80")
	for range 3 {
		l.stop()
		l.reaches(l.a, "tcp", "10.96.0.1:80", podA, "b")
		l.start()
	}
	if n, failed := stopLoad(); failed != nil || n == 0 {
		t.Errorf("%d connections during restarts, failure: %v", n, failed)
	}
	if a, err := netlab.Ask(open, patient); err != nil || a.Name != "b" {
		t.Errorf("the connection from before the restarts: %+v, %v", a, err)
	}
	l.stop()
	l.node.Do(func() { err = Clean() })
	if err != nil {
		t.Errorf("Clean: %v", err)
	}
	if out, _ := l.node.Command("nft", "list", "ruleset"); out != "" {
		t.Errorf("Clean left:\n%s", out)
	}
	l.node.Do(func() { err = Clean() })
	if err != nil {
		t.Errorf("Clean without a table: %v", err)
	}
}

// load keeps connecting, one connection after another, until the function it
// returns is called, which returns how many there were and the first failure.
func (l *lab) load(from *netlab.Netns, to string) func() (int, error) {
	ctx, cancel := context.WithCancel(context.Background())
	var n atomic.Int64
	done := make(chan error, 1)
	go from.Do(func() { // one thread for all of them
		for ctx.Err() == nil {
			conn, err := net.DialTimeout("tcp4", to, 2*time.Second)
			if err == nil {
				_ = conn.(*net.TCPConn).SetLinger(0)
				_, err = netlab.Ask(conn, 2*time.Second)
				_ = conn.Close()
			}
			if err != nil {
				done <- fmt.Errorf("connection %d: %w", n.Load(), err)
				return
			}
			n.Add(1)
		}
		done <- nil
	})
	l.until("the load to begin", func() bool { return n.Load() > 0 })
	return func() (int, error) {
		cancel()
		return int(n.Load()), <-done
	}
}

// Endpoints come and go by the thousand, and no connection fails as long as
// one of them is good.
func TestChurn(t *testing.T) {
	l := newLab(t)
	l.start()
	l.put(newService("web", "10.96.0.1"), newSlice("web", podB, podFar),
		withAffinity(newService("aff", "10.96.0.2"), 600), newSlice("aff", podB, podFar))
	stops := []func() (int, error){l.load(l.a, "10.96.0.1:80"), l.load(l.a, "10.96.0.2:80"), l.load(l.node, "10.96.0.1:80")}
	variants := [][]netip.Addr{{podB}, {podFar, podFar2}, {podB, podFar, podFar2, podA}, {podFar}, {podA, podB}, {podFar2, podB, podFar}}
	const enough = 1500
	before := l.proxy.Stats().Transactions
	deadline := time.Now().Add(90 * time.Second)
	for i := 0; l.proxy.Stats().Transactions-before < enough && time.Now().Before(deadline); i++ {
		seen := l.proxy.Stats().Transactions
		l.world.Put(newSlice("web", variants[i%len(variants)]...))
		l.world.Put(newSlice("aff", variants[(i+1)%len(variants)]...))
		l.until("a transaction", func() bool { return l.proxy.Stats().Transactions > seen })
	}
	stats := l.proxy.Stats()
	total := 0
	for _, stop := range stops {
		n, err := stop()
		total += n
		if err != nil {
			t.Errorf("during churn: %v", err)
		}
	}
	t.Logf("%d connections during %d transactions", total, stats.Transactions-before)
	if stats.Transactions-before < enough || total < enough {
		t.Errorf("too little happened: %d transactions, %d connections", stats.Transactions-before, total)
	}
	if stats.Failures != 0 {
		t.Errorf("%d transactions failed, last: %v", stats.Failures, stats.Failure)
	}
}

// Two Proxies on one node would fight over the table; the second is told.
func TestSecondProxyIsRefused(t *testing.T) {
	l := newLab(t)
	l.start()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	second := New(testConfig, l.world, slog.New(slog.DiscardHandler))
	done := make(chan error, 1)
	go l.node.Do(func() { done <- second.Run(ctx) })
	l.until("the second to fail", func() bool { return second.Stats().Failure != nil })
	l.put(newService("web", "10.96.0.1"), newSlice("web", podB))
	l.reaches(l.a, "tcp", "10.96.0.1:80", podA, "b")
	l.stop()
	l.until("the second to take over", func() bool { return second.Stats().Failure == nil })
	l.reaches(l.a, "tcp", "10.96.0.1:80", podA, "b")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

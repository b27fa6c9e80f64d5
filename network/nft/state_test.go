package nft

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"fairlead.dev/fairlead/internal/netlab"
	"fairlead.dev/fairlead/network/nft/plan"
	"fairlead.dev/fairlead/network/world"
)

// A UDP client that never closes its socket follows the endpoints.
func TestP80_UDPFlowsFollow(t *testing.T) { inBothFamilies(t, checkP80_UDPFlowsFollow) }

func checkP80_UDPFlowsFollow(t *testing.T, l *lab) {
	l.start()
	s := nodePort(newService("dns", "10.96.0.1"), clusterPolicy)
	l.put(s, newSlice("dns", podB))
	var conns []net.Conn
	for _, to := range []string{"10.96.0.1:80", "192.0.2.1:30080"} {
		conn, err := l.outsideNs.Dial("udp", netip.Addr{}, l.at(to), quick)
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
	inBothFamilies(t, checkP81_FlowOlderThanItsService)
}

func checkP81_FlowOlderThanItsService(t *testing.T, l *lab) {
	l.start()
	conn, err := l.outsideNs.Dial("udp", netip.Addr{}, l.at("192.0.2.1:30080"), quick)
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
	inBothFamilies(t, checkP84_TCPConnectionsOutliveTheirEndpoint)
}

func checkP84_TCPConnectionsOutliveTheirEndpoint(t *testing.T, l *lab) {
	l.start()
	s := newService("web", "10.96.0.1")
	l.put(s, newSlice("web", podB))
	conn, err := l.a.Dial("tcp", netip.Addr{}, l.at("10.96.0.1:80"), patient)
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
func TestSharedAddress(t *testing.T) { inBothFamilies(t, checkSharedAddress) }

func checkSharedAddress(t *testing.T, l *lab) {
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

// A Service that does not have the UDP address it claims has no say in its flows.
func TestP43_FlowsAreTheOwners(t *testing.T) { inBothFamilies(t, checkP43_FlowsAreTheOwners) }

func checkP43_FlowsAreTheOwners(t *testing.T, l *lab) {
	l.start()
	elder, younger := external(newService("z", "10.96.0.1"), "203.0.113.1", clusterPolicy), external(newService("a", "10.96.0.2"), "203.0.113.1", clusterPolicy)
	younger.CreationTimestamp.Time = time.Now()
	elder.CreationTimestamp.Time = younger.CreationTimestamp.Add(-time.Hour)
	l.put(elder, newSlice("z", podB), younger, newSlice("a", podFar))
	conn, err := l.a.Dial("udp", netip.Addr{}, l.at("203.0.113.1:80"), quick)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answers := func(want string) {
		t.Helper()
		l.until("an answer from "+want, func() bool { a, err := netlab.Ask(conn, quick); return err == nil && a.Name == want })
	}
	answers("b")
	cut := l.proxy.Stats().Flows
	for _, pod := range []netip.Addr{podFar2, podFar, podFar2} { // whatever becomes of the younger
		l.put(newSlice("a", pod))
		answers("b")
	}
	l.world.Delete(younger)
	l.settle()
	answers("b")
	if n := l.proxy.Stats().Flows; n != cut {
		t.Errorf("%d flows of the elder were cut", n-cut)
	}
	l.put(younger)
	l.world.Delete(elder) // who has it next has its flows
	answers("far2")
}

// Rules P100, P101: the table cannot be flushed by others while its Proxy lives,
// stays when it stops, and is taken over without a gap by the next.
func TestP101_RestartAndFlush(t *testing.T) { inBothFamilies(t, checkP101_RestartAndFlush) }

func checkP101_RestartAndFlush(t *testing.T, l *lab) {
	l.start()
	l.put(newService("web", "10.96.0.1"), newSlice("web", podB))
	open, err := l.a.Dial("tcp", netip.Addr{}, l.at("10.96.0.1:80"), patient)
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

// On a kernel that does not let a table be owned and persist, what others do to
// it is noticed and undone (rule P100).
func TestP100_WithoutOwnershipTheTableIsRestored(t *testing.T) {
	inBothFamilies(t, checkP100_WithoutOwnershipTheTableIsRestored)
}

func checkP100_WithoutOwnershipTheTableIsRestored(t *testing.T, l *lab) {
	l.set(newService("web", "10.96.0.1"))
	l.set(newSlice("web", podB))
	// Of two Services that claim an address one does not get what it wants.
	l.set(external(newService("a", "10.96.0.2"), "203.0.113.1", clusterPolicy))
	l.set(external(newService("b", "10.96.0.3"), "203.0.113.1", localPolicy))
	byHand := stepped(t, l.node, testConfig, l.world)
	for _, t := range byHand.tables {
		t.applied.flags = 0
	}
	if err := byHand.step(world.Changes{}); err != nil {
		t.Fatal(err)
	}
	l.reaches(l.a, "tcp", "10.96.0.1:80", podA, "b")
	if out, err := l.node.Command("nft", "add", "table", "ip", "other"); err != nil {
		t.Fatal(err, out)
	}
	if byHand.audit() {
		t.Error("stale without a reason")
	}
	for _, harm := range [][]string{{"flush", "map", plan.NewFamily(l.six).String(), plan.TableName, "services"}, {"delete", "table", plan.NewFamily(l.six).String(), plan.TableName}} {
		if out, err := l.node.Command("nft", harm...); err != nil {
			t.Fatal(err, out)
		}
		if _, err := l.a.TCP(netip.Addr{}, l.at("10.96.0.1:80"), quick); err == nil {
			t.Errorf("%v did no harm", harm)
		}
		if !byHand.audit() {
			t.Errorf("%v is not noticed", harm)
		}
		if err := byHand.step(world.Changes{}); err != nil {
			t.Fatal(err)
		}
		l.reaches(l.a, "tcp", "10.96.0.1:80", podA, "b")
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
			conn, err := net.DialTimeout("tcp", l.at(to).String(), 2*time.Second)
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
func TestChurn(t *testing.T) { inBothFamilies(t, checkChurn) }

func checkChurn(t *testing.T, l *lab) {
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
		l.set(newSlice("web", variants[i%len(variants)]...))
		l.set(newSlice("aff", variants[(i+1)%len(variants)]...))
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
func TestSecondProxyIsRefused(t *testing.T) { inBothFamilies(t, checkSecondProxyIsRefused) }

func checkSecondProxyIsRefused(t *testing.T, l *lab) {
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

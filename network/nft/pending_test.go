package nft

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"
)

// TestServicesOnly is the Proxy beside another pod network: it knows its pods from the Node, and connections to no Service
// are not its business.
func TestServicesOnly(t *testing.T) { inBothFamilies(t, checkServicesOnly) }

func checkServicesOnly(t *testing.T, l *lab) {
	l.outsideNs.Address(netip.PrefixFrom(l.at("10.96.9.9:1").Addr(), l.ip(nodeIP).BitLen()))
	l.outsideNs.Serve(l.at("10.96.9.9:8080"), "nobody")
	l.node.Route(l.text("10.96.9.9/32"), "via", l.ip(outsideIP).String())
	l.startAs(Config{NodeName: "n1", NodeIPs: []netip.Addr{l.ip(nodeIP)}, ServicesOnly: true})
	l.put(newService("web", "10.96.0.1"), newSlice("web", podB, podFar), newService("ext", "10.96.0.2"), newSlice("ext", outsideIP))
	l.reaches(l.a, "tcp", "198.51.100.2:8080", podA, "outside")
	l.reaches(l.a, "tcp", "10.96.9.9:8080", podA, "nobody")
	l.reaches(l.a, "tcp", "10.96.0.1:80", podA, "b", "far")
	l.reaches(l.a, "tcp", "10.96.0.2:80", podA, "outside")
	l.reaches(l.outsideNs, "tcp", "10.96.0.1:80", anyClient, "b", "far")
	if a, err := l.neighbour.TCP(l.ip(podFar2), l.at("10.96.0.1:80"), patient); err != nil || a.Client == l.ip(podFar2) {
		t.Errorf("pod of n2: %+v, %v; want it masqueraded", a, err)
	}
	l.refused(l.a, "10.96.0.1:81")
}

// TestPending: what is not in the kernel yet is seen from outside, with the time since when.
func TestPending(t *testing.T) { inBothFamilies(t, checkPending) }

func checkPending(t *testing.T, l *lab) {
	l.start()
	l.put(newService("web", "10.96.0.1"), newSlice("web", podB))
	s := l.proxy.Stats()
	if s.Updated.IsZero() || !s.Pending.IsZero() {
		t.Errorf("after a good write: updated %v, pending since %v", s.Updated, s.Pending)
	}
	second := New(testConfig, l.world, slog.New(slog.DiscardHandler)) // the kernel refuses it the table
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go l.node.Do(func() { done <- second.Run(ctx) })
	l.until("the second to fail", func() bool { return second.Stats().Failures > 1 })
	if s := second.Stats(); !s.Updated.IsZero() || s.Pending.IsZero() {
		t.Errorf("while writing fails: updated %v, pending since %v", s.Updated, s.Pending)
	}
	l.stop()
	l.until("the second to take over", func() bool { return second.Stats().Pending.IsZero() })
	if second.Stats().Updated.IsZero() {
		t.Error("after taking over: never updated")
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

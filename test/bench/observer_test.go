package main

import (
	"context"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/internal/netlab"
	"fairlead.dev/fairlead/network/nft"
	"fairlead.dev/fairlead/network/world"
)

// watched is a Proxy in a namespace of its own with one Service, and an observer of its kernel.
type watched struct {
	t        *testing.T
	world    *world.World
	observer *observer
}

func newWatched(t *testing.T, endpoints ...netip.Addr) *watched {
	x := &watched{t: t, world: world.New(), observer: newObserver()}
	node, ctx := netlab.New(t, "n1"), t.Context()
	proxy := nft.New(nft.Config{NodeName: "n1", NodeIPs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}, x.world, slog.New(slog.DiscardHandler))
	s := service("web")
	s.Namespace, s.Spec.ClusterIP, s.Spec.ClusterIPs = "default", "10.96.0.1", []string{"10.96.0.1"}
	x.world.Put(s)
	x.have(endpoints...)
	x.world.MarkSynced()
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(ctx)
	go node.Do(func() { ended <- proxy.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	for deadline := time.Now().Add(10 * time.Second); proxy.Stats().Transactions == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the proxy wrote nothing: %+v", proxy.Stats())
		}
	}
	var stop func()
	var err error
	node.Do(func() { stop, err = watchKernel(x.observer.committed) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return x
}

// have gives the Service these endpoints.
func (x *watched) have(endpoints ...netip.Addr) {
	s := sliceFor("web", endpoints...)
	s.Namespace = "default"
	x.world.Put(s)
}

// begin puts a flip under way.
func (x *watched) begin(pod played, ready bool) *flip {
	f := &flip{pod: pod, ready: ready}
	x.observer.begin(f)
	return f
}

// seen waits until the observer has seen flips in the kernel, and ends them.
func (x *watched) seen(flips ...*flip) {
	x.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		missing := 0
		x.observer.mu.Lock()
		for _, f := range flips {
			if f.at[kernel].IsZero() {
				missing++
			}
		}
		x.observer.mu.Unlock()
		if missing == 0 {
			break
		}
		if time.Now().After(deadline) {
			x.t.Fatalf("%d of %d changes not seen in the kernel", missing, len(flips))
		}
	}
	for _, f := range flips {
		x.observer.mu.Lock()
		x.observer.finish(f)
		x.observer.mu.Unlock()
	}
}

var (
	podA = played{"web-0", netip.MustParseAddr("10.128.0.1")}
	podB = played{"web-1", netip.MustParseAddr("10.128.0.2")}
)

// Two changes of one Service that reach the kernel in one transaction are both seen. When one pod takes the other's place, the
// number of endpoints is what it was, and no element with the Service's address changes.
func TestChangesThatArriveTogetherAreAllSeen(t *testing.T) {
	a, b := podA, podB
	x := newWatched(t, a.addr, b.addr)
	gone := x.begin(a, false)
	x.have(b.addr)
	x.seen(gone)
	for range 10 {
		leaves, comes := x.begin(b, false), x.begin(a, true)
		x.have(a.addr)
		x.seen(leaves, comes)
		a, b = b, a
	}
	both := []*flip{x.begin(b, false)}
	x.have()
	x.seen(both...)
	both = []*flip{x.begin(a, true), x.begin(b, true)}
	x.have(a.addr, b.addr)
	x.seen(both...)
}

// The elements of an endpoint that stays are moved when another one goes: that is no change of it.
func TestAnEndpointThatMovesHasNotChanged(t *testing.T) {
	x := newWatched(t, podA.addr, podB.addr)
	stays, goes := x.begin(podB, false), x.begin(podA, false)
	x.have(podB.addr)
	x.seen(goes)
	x.observer.mu.Lock()
	early := !stays.at[kernel].IsZero()
	x.observer.mu.Unlock()
	if early {
		t.Error("a pod that still is an endpoint counts as gone")
	}
	x.have()
	x.seen(stays)
}

// A table that is written anew shows what it has, and changes that came with it.
func TestChangesThatComeWithANewTableAreSeen(t *testing.T) {
	x := newWatched(t, podA.addr)
	goes, comes := x.begin(podA, false), x.begin(podB, true)
	x.have(podB.addr)
	x.world.Put(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}, Spec: corev1.NodeSpec{PodCIDR: "10.244.1.0/24"}})
	x.seen(goes, comes)
}

// A pod flips when its flip before is done: two at once could undo each other before the kernel hears of either.
func TestFlipsOfOnePodDoNotOverlap(t *testing.T) {
	o := newObserver()
	before, after := &flip{pod: podA}, &flip{pod: podA, ready: true}
	o.begin(before)
	begun := make(chan struct{})
	go func() {
		o.begin(after)
		close(begun)
	}()
	o.committed(commit{at: time.Now(), endpoints: map[netip.Addr]int{podA.addr: -1}})
	o.mu.Lock()
	for h := range kernel {
		if o.flips[podA.name] != before {
			t.Error("the second flip is under way before the first is done")
		}
		o.reached(before, h, time.Now())
	}
	o.mu.Unlock()
	<-begun
	if before.left != 0 || after.sent.Before(before.at[object]) {
		t.Errorf("the second flip began before the first was done: %+v, %+v", before, after)
	}
}

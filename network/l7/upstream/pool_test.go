package upstream

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/lb"
)

func backends(addrs ...string) (list []lb.Backend) {
	for _, a := range addrs {
		list = append(list, lb.Backend{Addr: netip.MustParseAddrPort(a)})
	}
	return list
}

func picks(p *Pool, c Choice, n int) map[string]int {
	got := map[string]int{}
	for range n {
		if e := p.Pick(&c); e != nil {
			got[e.Text]++
		}
	}
	return got
}

// TestCircuit: an endpoint whose connections fail is left alone, is tried by one request when its pause is over, for pauses that
// grow, and is as good as any once a connection was made. It still serves where there is no other.
func TestCircuit(t *testing.T) {
	var all Pools
	k := Key{Port: 80}
	all.Set(k, backends("10.0.0.1:80", "10.0.0.2:80"))
	p, now := all.Get(k), time.Unix(1000, 0)
	bad := p.Endpoints()[0]
	for i, pause := range []time.Duration{100 * time.Millisecond, 200 * time.Millisecond, 400 * time.Millisecond} {
		bad.Failed(now)
		if got := picks(p, Choice{Now: now}, 20); got[bad.Text] != 0 {
			t.Errorf("failure %d: it is chosen at once: %v", i, got)
		}
		if got := picks(p, Choice{Now: now.Add(pause - 1)}, 20); got[bad.Text] != 0 {
			t.Errorf("failure %d: it is chosen before %v are over: %v", i, pause, got)
		}
		now = now.Add(pause)
		if got := picks(p, Choice{Now: now}, 20); got[bad.Text] != 1 {
			t.Errorf("failure %d: %d requests find out whether it is there", i, got[bad.Text])
		}
	}
	for range 50 {
		bad.Failed(now)
	}
	if got := picks(p, Choice{Now: now.Add(lastPause)}, 10); got[bad.Text] != 1 {
		t.Errorf("after many failures: %v", got)
	}
	bad.Connected()
	if got := picks(p, Choice{Now: now}, 20); got[bad.Text] != 10 {
		t.Errorf("after a connection: %v", got)
	}
	for _, e := range p.Endpoints() {
		e.Failed(now)
	}
	if got := picks(p, Choice{Now: now}, 10); got["10.0.0.1:80"]+got["10.0.0.2:80"] != 10 {
		t.Errorf("where all fail: %v", got)
	}
}

// TestChoices: turns are even, the endpoint with fewest requests is chosen, a hash moves only the keys of what has left.
func TestChoices(t *testing.T) {
	var all Pools
	k := Key{Port: 80}
	four := backends("10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80")
	all.Set(k, four)
	p := all.Get(k)
	for e, n := range picks(p, Choice{}, 100) {
		if n != 25 {
			t.Errorf("%s has %d of 100 turns", e, n)
		}
	}
	for _, e := range p.Endpoints()[1:] {
		e.Begin()
	}
	if got := picks(p, Choice{Kind: route.LeastRequest}, 10); got["10.0.0.1:80"] != 10 {
		t.Errorf("the fewest requests are at the first: %v", got)
	}
	if e := p.Pick(&Choice{Not: p.Endpoints()}); e != nil {
		t.Errorf("%s was tried", e.Text)
	}
	where := func() (at [100]string) {
		for i := range at {
			at[i] = p.Pick(&Choice{Kind: route.Hashed, Hash: Hash(string(rune(i)))}).Text
		}
		return at
	}
	before := where()
	kept := p.Endpoints()[0]
	all.Set(k, four[:3])
	for i, at := range where() {
		if at != before[i] && before[i] != "10.0.0.4:80" {
			t.Errorf("key %d moved from %s to %s", i, before[i], at)
		}
	}
	if p.Endpoints()[0] != kept || p.ByID(kept.ID) != kept {
		t.Error("an endpoint that stays is another one")
	}
}

// TestSweep: pools without endpoints are forgotten, and made anew for who asks.
func TestSweep(t *testing.T) {
	var all Pools
	empty, full := Key{Port: 1}, Key{Port: 2}
	all.Get(empty)
	all.Set(full, backends("10.0.0.1:80"))
	all.Sweep()
	count := 0
	all.Range(func(p *Pool) bool { count++; return p.Key == full })
	if count != 1 || all.Get(empty) == nil {
		t.Errorf("%d pools", count)
	}
}

// TestDial: the outcome of a connection is noted; a caller who gives up is no failure.
func TestDial(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := newEndpoint(Key{}, netip.MustParseAddrPort(l.Addr().String()))
	e.Failed(time.Now())
	conn, err := e.Dial(context.Background(), time.Second)
	if err != nil || e.Failing() {
		t.Fatal(err, e.Failing())
	}
	_, _ = conn.Close(), l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := e.Dial(ctx, time.Second); err == nil || e.Failing() {
		t.Errorf("a caller who gave up: %v", err)
	}
	if _, err := e.Dial(context.Background(), time.Second); err == nil || !e.Failing() {
		t.Errorf("nobody listens: %v", err)
	}
}

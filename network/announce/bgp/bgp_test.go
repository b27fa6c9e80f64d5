package bgp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"fairlead.dev/fairlead/internal/netlab"
)

// A router learns the addresses of both families, with the node as next hop, over one session; it forgets one that is not wished
// any more, and all with the last wish.
func TestBothFamiliesOverOneSession(t *testing.T) {
	l := lab(t)
	r := bird(t, l.space, configured(0, ""))
	n := l.nodes[0]
	n.start(both(peer(0)))
	n.state("up", up)
	r.routed(vip4.String(), "192.0.2.2")
	r.routed(vip6.String(), "2001:db8:1::2")
	for _, vip := range []netip.Prefix{vip4, vip6} {
		if a, err := l.client.TCP(netip.Addr{}, netip.AddrPortFrom(vip.Addr(), 80), 5*time.Second); err != nil || a.Name != "n0" {
			t.Errorf("%s: %+v %v", vip, a, err)
		}
	}
	n.wish(Wish{Peer: peer(0), Routes: []Route{{Prefix: vip6}}})
	r.routed(vip4.String())
	r.routed(vip6.String(), "2001:db8:1::2")
	n.wish()
	r.routed(vip6.String())
	if out, err := n.space.Command("ss", "-Hlntu"); err != nil || strings.Contains(out, ":179") || strings.Contains(out, ":3784") {
		t.Errorf("a speaker listens: %v %s", err, out)
	}
}

// Two nodes that announce the same address share its connections, by both next hops in the router's kernel.
func TestTwoNodesShareAnAddress(t *testing.T) {
	l := lab(t)
	r := bird(t, l.space, configured(0, "")+configured(1, ""))
	for i, n := range l.nodes {
		n.start(both(peer(i)))
	}
	r.routed(vip4.String(), "192.0.2.2", "192.0.2.6")
	r.routed(vip6.String(), "2001:db8:1::2", "2001:db8:2::2")
	served := map[string]int{}
	for range 64 { // one node for all: once in 2^63
		a, err := l.client.TCP(netip.Addr{}, netip.AddrPortFrom(vip4.Addr(), 80), 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		served[a.Name]++
	}
	if served["n0"] == 0 || served["n1"] == 0 {
		t.Errorf("served by %v", served)
	}
}

// Communities go to every router; the preference only to one of the same AS.
func TestAttributes(t *testing.T) {
	l := lab(t)
	inside := strings.ReplaceAll(configured(1, ""), "as 64513", "as 64512")
	r := bird(t, l.space, configured(0, "")+inside)
	own := peer(1)
	own.LocalASN = own.ASN
	for i, p := range []Peer{peer(0), own} {
		l.nodes[i].start(Wish{Peer: p, Routes: []Route{{Prefix: vip4, Communities: "64513:100 64513:7:9", LocalPref: 150}}})
	}
	r.routed(vip4.String(), "192.0.2.6") // what is learned within the AS is preferred over 100
	for session, want := range map[string][]string{
		"n0": {"BGP.as_path: 64513\n", "BGP.local_pref: 100\n", "BGP.next_hop: 192.0.2.2\n", "BGP.community: (64513,100)\n", "BGP.large_community: (64513, 7, 9)\n"},
		"n1": {"BGP.as_path: \n", "BGP.local_pref: 150\n", "BGP.next_hop: 192.0.2.6\n", "BGP.community: (64513,100)\n", "BGP.large_community: (64513, 7, 9)\n"},
	} {
		for _, line := range want {
			r.await(fmt.Sprintf("%s has %q", session, line), func() bool {
				return strings.Contains(r.ask("show", "route", vip4.String(), "protocol", session, "all"), line)
			})
		}
	}
}

// A session over IPv6 carries routes of both families; one over IPv4 carries none of IPv6 if the node has no address for them.
func TestSessionOverIPv6(t *testing.T) {
	l := lab(t)
	six := `protocol bgp n0 { local 2001:db8:1::1 as 64512; neighbor 2001:db8:1::2 as 64513; ipv4 { import all; export none; }; ipv6 { import all; export none; }; }`
	r := bird(t, l.space, six+configured(1, ""))
	p := peer(0)
	p.Addr, p.NextHop4 = netip.MustParseAddr("2001:db8:1::1"), netip.MustParseAddr("192.0.2.2")
	only4 := peer(1)
	only4.NextHop6 = netip.Addr{}
	l.nodes[0].start(both(p))
	l.nodes[1].start(both(only4))
	l.nodes[1].state("one route of two", func(s State) bool { return s.Up && s.Routes == 1 && slices.Equal(s.Told, []netip.Addr{vip4.Addr()}) })
	r.routed(vip4.String(), "192.0.2.2", "192.0.2.6")
	r.routed(vip6.String(), "2001:db8:1::2")
}

// A router of another AS that is not a neighbour is reached only over as many hops as are allowed.
func TestMultihop(t *testing.T) {
	l := lab(t)
	l.space.Address(netip.MustParsePrefix("192.0.2.254/32"))
	far := netlab.Leaf(l.nodes[0].space, "far", []netip.Addr{netip.MustParseAddr("198.51.100.9")}, []netip.Addr{netip.MustParseAddr("198.51.100.10")})
	l.space.Via(netip.MustParseAddr("192.0.2.2"), netip.MustParsePrefix("198.51.100.9/32"))
	r := bird(t, l.space, `protocol bgp far { multihop; local 192.0.2.254 as 64512; neighbor 198.51.100.9 as 64513; ipv4 { import all; export none; gateway recursive; }; }
protocol static { ipv4; route 198.51.100.9/32 via 192.0.2.2; }`)
	p := peer(0)
	p.Addr, p.Hops = netip.MustParseAddr("192.0.2.254"), 1
	n := &node{t: t, space: far}
	n.start(both(p))
	n.state("too far", func(s State) bool { return !s.Up && strings.Contains(s.Reason, "cannot be reached: ") })
	p.Hops = 2
	n.wish(both(p))
	n.state("up", up)
	r.routed(vip4.String(), "192.0.2.2")
}

// A password that is right gives a session; one that is wrong, or missing, a reason, once in the log.
func TestPassword(t *testing.T) {
	l := lab(t)
	r := bird(t, l.space, configured(0, `password "open sesame";`))
	n, p := l.nodes[0], peer(0)
	for _, wrong := range []string{"wrong", ""} {
		p.Password = wrong
		n.start(both(p))
		n.state("no answer", func(s State) bool {
			return !s.Up && strings.Contains(s.Reason, "does not answer") && strings.Contains(s.Reason, "password")
		})
		n.stop()
		if lines := strings.Count(n.log.String(), "level=WARN"); lines != 1 || strings.Contains(n.log.String(), "sesame") {
			t.Errorf("%d warnings, want one:\n%s", lines, n.log)
		}
	}
	p.Password = "open sesame"
	n.start(both(p))
	n.state("up", up)
	r.routed(vip4.String(), "192.0.2.2")
}

// What keeps a session from coming up is said in words.
func TestReasons(t *testing.T) {
	l := lab(t)
	r := bird(t, l.space, configured(0, ""))
	for what, try := range map[string]struct {
		change func(*Peer)
		reason string
	}{
		"another AS of the router":  {func(p *Peer) { p.ASN = 64999 }, "router 192.0.2.1:179 is in another AS than 64999, which is expected of it"},
		"another AS of the node":    {func(p *Peer) { p.LocalASN = 64999 }, "router 192.0.2.1:179 refuses the session: does it know this node's address, and expect it in AS 64999?"},
		"nobody there":              {func(p *Peer) { p.Port = 1179 }, "nothing listens on 192.0.2.1:1179"},
		"an address without a node": {func(p *Peer) { p.Addr = netip.MustParseAddr("192.0.2.129") }, "router 192.0.2.129:179 cannot be reached: "},
	} {
		t.Run(what, func(t *testing.T) {
			n, p := &node{t: t, space: l.nodes[0].space}, peer(0)
			try.change(&p)
			n.start(both(p))
			n.state(try.reason, func(s State) bool { return !s.Up && strings.Contains(s.Reason, try.reason) })
			n.kill()
		})
	}
	n := l.nodes[0]
	n.start(both(peer(0)))
	n.state("up", up)
	r.ask("disable", "n0")
	n.state("told to go", func(s State) bool { return !s.Up && strings.Contains(s.Reason, "ended the session: code 6(cease)") })
	r.ask("enable", "n0")
	n.state("up again", up)
	r.routed(vip4.String(), "192.0.2.2")
}

// traffic connects through the router again and again until it is stopped, and tells what failed.
func traffic(l *network, to netip.Prefix) (stop func() (made int, failed []string)) {
	end, done := make(chan struct{}), make(chan struct{})
	var made int
	var failed []string
	go func() {
		defer close(done)
		for {
			select {
			case <-end:
				return
			default:
			}
			made++
			if a, err := l.client.TCP(netip.Addr{}, netip.AddrPortFrom(to.Addr(), 80), 900*time.Millisecond); err != nil { // a lost packet is sent again after a second
				failed = append(failed, fmt.Sprintf("connection %d to %q: %v", made, a.Name, err))
			}
		}
	}()
	return func() (int, []string) { close(end); <-done; return made, failed }
}

// A speaker that dies and comes back with graceful restart is not missed: the router has the route all the time, and connections
// are made all the time. One that does not come back is forgotten.
func TestCrashWithGracefulRestart(t *testing.T) {
	l := lab(t)
	r := bird(t, l.space, configured(0, "graceful restart yes;"))
	n, p := l.nodes[0], peer(0)
	p.Restart = 30 * time.Second
	n.start(both(p))
	r.routed(vip4.String(), "192.0.2.2")
	r.routed(vip6.String(), "2001:db8:1::2")
	stop4, stop6 := traffic(l, vip4), traffic(l, vip6)
	n.kill()
	r.await("BIRD knows that the session is gone", func() bool {
		return strings.Contains(r.ask("show", "protocols", "all", "n0"), "Neighbor graceful restart active")
	})
	r.routed(vip4.String(), "192.0.2.2")
	p.Restart = 2 * time.Second
	n.start(both(p))
	n.state("up", up)
	r.await("the restart is over", func() bool {
		return !strings.Contains(r.ask("show", "protocols", "all", "n0"), "graceful restart active")
	})
	r.routed(vip4.String(), "192.0.2.2")
	r.routed(vip6.String(), "2001:db8:1::2")
	for _, stop := range []func() (int, []string){stop4, stop6} {
		if made, failed := stop(); made < 10 || len(failed) > 0 {
			t.Errorf("%d connections, failed: %q", made, failed)
		}
	}
	n.kill()
	r.routed(vip4.String())
	r.routed(vip6.String())
}

// Without graceful restart the router forgets a node that dies at once, and another one serves.
func TestCrashWithoutGracefulRestart(t *testing.T) {
	l := lab(t)
	r := bird(t, l.space, configured(0, "")+configured(1, ""))
	for i, n := range l.nodes {
		n.start(both(peer(i)))
	}
	r.routed(vip4.String(), "192.0.2.2", "192.0.2.6")
	l.nodes[0].kill()
	r.routed(vip4.String(), "192.0.2.6")
}

// A speaker that stops in order loses no packet: its routes are first marked as going away, then withdrawn, and the kernel forwards
// until the end. The same when only the router is not wished any more. Each of the three changes moves the router's choice, so the
// one connection that is then between its first packet and its second may reach a node that does not know it, and be reset by it.
func TestStopLosesNothing(t *testing.T) {
	l := lab(t)
	shut := `import filter { if (65535, 0) ~ bgp_community then bgp_local_pref = 0; accept; }`
	r := bird(t, l.space, strings.ReplaceAll(configured(0, "")+configured(1, ""), "import all", shut))
	for i, n := range l.nodes {
		n.start(both(peer(i)))
	}
	r.routed(vip4.String(), "192.0.2.2", "192.0.2.6")
	stop := traffic(l, vip4)
	_ = l.nodes[0].in.Close()
	r.await("marked as going away", func() bool {
		return strings.Contains(r.ask("show", "route", vip4.String(), "protocol", "n0", "all"), "(65535,0)")
	})
	r.routed(vip4.String(), "192.0.2.6")
	l.nodes[0].stop()
	l.nodes[0].start(both(peer(0)))
	r.routed(vip4.String(), "192.0.2.2", "192.0.2.6")
	l.nodes[1].wish()
	r.routed(vip4.String(), "192.0.2.2")
	made, failed := stop()
	lost := slices.DeleteFunc(slices.Clone(failed), func(why string) bool { return strings.Contains(why, "connection reset by peer") })
	if made < 10 || len(lost) > 0 || len(failed) > 3 {
		t.Errorf("%d connections, failed: %q", made, failed)
	}
}

// A change of how a session is to be needs a new session, over which a router that keeps routes keeps them.
func TestChangedPeerKeepsRoutes(t *testing.T) {
	l := lab(t)
	r := bird(t, l.space, configured(0, "graceful restart yes;"))
	n, p := l.nodes[0], peer(0)
	p.Restart = 30 * time.Second
	n.start(both(p))
	r.routed(vip4.String(), "192.0.2.2")
	stop := traffic(l, vip4)
	p.HoldTime = 12 * time.Second
	n.wish(both(p))
	r.await("the new hold time", func() bool { return strings.Contains(r.ask("show", "protocols", "all", "n0"), "/12\n") })
	r.routed(vip4.String(), "192.0.2.2")
	if made, failed := stop(); made < 10 || len(failed) > 0 {
		t.Errorf("%d connections, failed: %q", made, failed)
	}
}

// A router that tells a node of routes of its own does not change what the node tells, nor the node's kernel.
func TestRoutersRoutesAreNotTaken(t *testing.T) {
	l := lab(t)
	r := bird(t, l.space, strings.ReplaceAll(configured(0, "")+configured(1, ""), "export none", "export all"))
	for i, n := range l.nodes {
		before, err := n.space.Command("ip", "route")
		if err != nil {
			t.Fatal(err)
		}
		n.start(both(peer(i)))
		n.state("up", up)
		if after, err := n.space.Command("ip", "route"); err != nil || after != before {
			t.Errorf("routes of n%d: %s, %v; before: %s", i, after, err, before)
		}
	}
	r.routed(vip4.String(), "192.0.2.2", "192.0.2.6")
	l.nodes[1].wish(Wish{Peer: peer(1)})
	r.routed(vip4.String(), "192.0.2.2")
}

// Many routes arrive, change and go.
func TestManyRoutes(t *testing.T) {
	l := lab(t)
	r := bird(t, l.space, configured(0, ""))
	w := Wish{Peer: peer(0)}
	for i := range 1000 {
		w.Routes = append(w.Routes, Route{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}), 32)})
	}
	n := l.nodes[0]
	n.start(w)
	count := func(want string) {
		t.Helper()
		r.await(want, func() bool { return strings.Contains(r.ask("show", "protocols", "all", "n0"), want) })
	}
	count("1000 imported")
	w.Routes = w.Routes[:10]
	n.wish(w)
	count("10 imported")
}

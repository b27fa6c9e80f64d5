package packet

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"fairlead.dev/fairlead/internal/netlab"
)

// dialUDP returns a socket that stays open until the end of the test.
func (l *lab) dialUDP(from machine, to netip.AddrPort) net.Conn { return l.dial(from, "udp", to) }

func (l *lab) dial(from machine, network string, to netip.AddrPort) net.Conn {
	l.t.Helper()
	c, err := from.Dial(network, netip.Addr{}, to, patient)
	if err != nil {
		l.t.Fatalf("%s to %s %s: %v", from.name, network, to, err)
	}
	l.t.Cleanup(func() { _ = c.Close() })
	return c
}

// askOn sends a datagram on an open socket and returns who answered.
func (l *lab) askOn(flow net.Conn) netlab.Answer {
	l.t.Helper()
	a, err := netlab.Ask(flow, patient)
	if err != nil {
		l.t.Fatalf("%s on an open flow: %v", flow.RemoteAddr(), err)
	}
	return a
}

// turnsTo keeps sending on open flows until the given machine answers each.
func (l *lab) turnsTo(m machine, flows ...net.Conn) {
	l.t.Helper()
	for _, c := range flows {
		l.until("an answer from "+m.name+" to the flow to "+c.RemoteAddr().String(), func() bool {
			a, err := netlab.Ask(c, quick/4)
			return err == nil && a.Name == m.name
		})
	}
}

// ends keeps sending on open flows until an error says that nobody is there.
func (l *lab) ends(flows ...net.Conn) {
	l.t.Helper()
	for _, c := range flows {
		l.until("the flow to "+c.RemoteAddr().String()+" to end", func() bool {
			_, err := netlab.Ask(c, quick/4)
			var n net.Error
			return err != nil && !(errors.As(err, &n) && n.Timeout())
		})
	}
}

func TestP80_UDPFlowsLeaveAnEndpointThatIsGone(t *testing.T) {
	each(t, func(l *lab) {
		s := external(balanced(l.service("dns"), l.ext(1), clusterPolicy), l.ext(2), clusterPolicy)
		l.put(s, l.slice(s, ready(l.b1)...))
		flows := []net.Conn{
			l.dialUDP(l.a1, vip(s)), l.dialUDP(l.a.machine, vip(s)), l.dialUDP(l.out, vip(s)),
			l.dialUDP(l.out, port30080(l.a)), l.dialUDP(l.out, l.ext(1)), l.dialUDP(l.a1, l.ext(2)),
		}
		l.turnsTo(l.b1, flows...)
		l.put(l.slice(s, ready(l.b1, l.b2)...)) // one more moves no flow
		for _, c := range flows {
			if a := l.askOn(c); a.Name != "b1" {
				l.t.Errorf("the flow to %s moved to %q", c.RemoteAddr(), a.Name)
			}
		}
		l.put(l.slice(s, ready(l.b2)...))
		l.turnsTo(l.b2, flows...)
		l.put(l.slice(s, l.b2.notReady(), l.a2.ready()))
		l.turnsTo(l.a2, flows...)
	})
}

// A client that began before the first endpoint is not stuck with what it got then.
func TestP81_FlowsOlderThanTheFirstEndpoint(t *testing.T) {
	each(t, func(l *lab) {
		s := nodePort(l.service("dns"), clusterPolicy)
		early := []net.Conn{l.dialUDP(l.out, port30080(l.a)), l.dialUDP(l.a1, port30080(l.a))}
		for _, c := range early { // no Service yet: flows to the node itself
			if a, err := netlab.Ask(c, quick/4); err == nil {
				l.t.Fatalf("%+v answered", a)
			}
		}
		l.put(s, l.slice(s, l.b1.notReady()))
		early = append(early, l.dialUDP(l.a1, vip(s)))
		l.ends(early...)
		l.put(l.slice(s, ready(l.b1)...))
		l.turnsTo(l.b1, early...)
	})
}

// Flows are cut after the rules are in: nothing they could go to is old.
func TestP81_CutAfterTheRules(t *testing.T) {
	each(t, func(l *lab) {
		s := l.service("dns")
		l.put(s, l.slice(s, ready(l.b1)...))
		flow := l.dialUDP(l.a1, vip(s))
		l.turnsTo(l.b1, flow)
		for i := range 20 {
			m := []machine{l.b2, l.b1}[i%2]
			l.world.Put(l.slice(s, ready(m)...))
			l.turnsTo(m, flow) // with a client that never stops
		}
	})
}

func TestP82_PoliciesAndDrainingCutNothing(t *testing.T) {
	each(t, func(l *lab) {
		s := nodePort(l.service("dns"), clusterPolicy)
		l.put(s, l.slice(s, ready(l.b1)...))
		flows := []net.Conn{l.dialUDP(l.out, port30080(l.a)), l.dialUDP(l.a1, vip(s))}
		l.turnsTo(l.b1, flows...)
		local := internalLocal(nodePort(s.DeepCopy(), localPolicy))
		for _, change := range [][]runtime.Object{
			{local}, {l.slice(s, l.b1.ready(), l.a2.ready())}, {l.slice(s, l.b1.draining(), l.a2.ready())}, {s},
		} {
			l.put(change...)
			for _, c := range flows {
				if a := l.askOn(c); a.Name != "b1" {
					l.t.Errorf("the flow to %s moved to %q", c.RemoteAddr(), a.Name)
				}
			}
		}
		if n := l.a.proxy.Stats().Flows; n != 0 {
			l.t.Errorf("%d flows were cut", n)
		}
	})
}

func TestP83_ScaledToZeroAndDeleted(t *testing.T) {
	each(t, func(l *lab) {
		s := nodePort(l.service("dns"), clusterPolicy)
		l.put(s, l.slice(s, ready(l.b1)...))
		flows := []net.Conn{l.dialUDP(l.a1, vip(s)), l.dialUDP(l.out, port30080(l.a))}
		l.turnsTo(l.b1, flows...)
		l.put(l.slice(s))
		l.ends(flows...)
		l.put(l.slice(s, ready(l.b2)...))
		l.turnsTo(l.b2, flows...)
		l.remove(s)
		l.until("the flows of the deleted Service to be gone", func() bool {
			return len(l.flows(l.a, vip(s))) == 0 && len(l.flows(l.a, port30080(l.a))) == 0
		})
		for _, c := range flows {
			if a, err := netlab.Ask(c, quick/4); err == nil {
				l.t.Errorf("%s: %+v of a deleted Service", c.RemoteAddr(), a)
			}
		}
	})
}

// counting is a UDP server that never answers; it returns how many datagrams have come.
func (l *lab) counting(on machine, port uint16) func() int {
	l.t.Helper()
	var got atomic.Int64
	on.Do(func() {
		c, err := net.ListenPacket("udp", netip.AddrPortFrom(on.ip, port).String())
		if err != nil {
			l.t.Errorf("%s: %v", on.name, err)
			return
		}
		l.t.Cleanup(func() { _ = c.Close() })
		go func() {
			for p := make([]byte, 100); err == nil; _, _, err = c.ReadFrom(p) {
				got.Add(1)
			}
		}()
	})
	return func() int { return int(got.Load()) - 1 }
}

// A client that is never answered keeps its own conntrack entry alive; it too is
// moved. Another port of the same number on another address is not touched.
func TestP83_OneWayUDP(t *testing.T) {
	each(t, func(l *lab) {
		s := nodePort(l.service("statsd"), clusterPolicy)
		to := func(m machine) *discoveryv1.EndpointSlice {
			p := l.slice(s, ready(m)...)
			for i := range p.Ports {
				*p.Ports[i].Port = 9125
			}
			return p
		}
		first, second := l.counting(l.b1, 9125), l.counting(l.b2, 9125)
		l.put(s, to(l.b1))
		bystander := l.counting(l.out, 30080)
		flow, innocent := l.dialUDP(l.out, port30080(l.a)), l.dialUDP(l.a1, netip.AddrPortFrom(l.out.ip, 30080))
		send := func(c net.Conn, until func() bool) {
			l.until("datagrams to arrive", func() bool {
				if _, err := c.Write([]byte("x")); err != nil {
					l.t.Fatal(err)
				}
				return until()
			})
		}
		send(flow, func() bool { return first() > 0 })
		send(innocent, func() bool { return bystander() > 0 })
		l.put(to(l.b2))
		send(flow, func() bool { return second() > 0 })
		l.until("the cut to be counted", func() bool { return l.a.proxy.Stats().Flows > 0 })
		if n := l.a.proxy.Stats().Flows; n != 1 {
			l.t.Errorf("%d flows cut, want the one", n)
		}
	})
}

// A Service is deleted, and one loses a port, while no proxy runs. The next proxy
// cuts the flows that nobody serves any more, and leaves alone what others
// translated: those flows live in conntrack only, their rules are gone.
func TestP83_GoneWhileNobodyLooked(t *testing.T) {
	eachIdle(t, func(l *lab) {
		l.world.MarkSynced()
		l.start(l.b)
		c := &child{l: l, on: l.a}
		for _, n := range l.world.Nodes() {
			c.put(n)
		}
		gone := external(balanced(l.service("gone"), l.ext(1), clusterPolicy), l.ext(2), clusterPolicy)
		narrowed, stays := external(l.service("narrowed"), l.ext(3), clusterPolicy), l.service("stays")
		for _, s := range []*corev1.Service{gone, narrowed, stays} {
			c.put(s)
			c.put(l.slice(s, ready(l.b1)...))
		}
		c.start()
		lost := []net.Conn{
			l.dialUDP(l.a1, vip(gone)), l.dialUDP(l.a.machine, vip(gone)), l.dialUDP(l.out, vip(gone)), l.dialUDP(l.out, port30080(l.a)),
			l.dialUDP(l.out, l.ext(1)), l.dialUDP(l.a1, l.ext(2)), l.dialUDP(l.out, l.ext(3)),
		}
		kept := append(l.foreignFlows(), l.dialUDP(l.a1, vip(narrowed)), l.dialUDP(l.a1, vip(stays)))
		l.turnsTo(l.b1, append(lost, kept...)...)
		l.command(l.a.machine, "nft", "delete", "table", "inet", "foreign")
		c.kill(l.slice(stays, ready(l.b1)...))
		c.forget(gone)
		narrowed = narrowed.DeepCopy()
		narrowed.Spec.ExternalIPs = nil
		c.put(narrowed)
		for _, f := range lost { // the rules are still there, and so are the flows
			if a := l.askOn(f); a.Name != "b1" {
				l.t.Errorf("%s: %+v", f.RemoteAddr(), a)
			}
		}
		c.start()
		for _, f := range lost {
			l.until("the flow to "+f.RemoteAddr().String()+" to be cut", func() bool {
				for _, e := range l.flows(l.a, netip.MustParseAddrPort(f.RemoteAddr().String())) {
					if e.server == l.b1.ip {
						return false
					}
				}
				return true
			})
			if a, err := netlab.Ask(f, quick/4); err == nil {
				l.t.Errorf("%s: %+v of a Service that is gone", f.RemoteAddr(), a)
			}
		}
		for _, f := range kept {
			if a := l.askOn(f); a.Name != "b1" {
				l.t.Errorf("%s: %+v", f.RemoteAddr(), a)
			}
		}
	})
}

// foreignFlows opens flows that a table of somebody else's on node a sends to b1: to an
// address of the outside, to one in the Services' range, and to a node port.
func (l *lab) foreignFlows() []net.Conn {
	l.t.Helper()
	ip := "ip"
	if l.f.cluster.Addr().Is6() {
		ip = "ip6"
	}
	at := []netip.AddrPort{netip.AddrPortFrom(l.ext(9).Addr(), 5353), netip.AddrPortFrom(nth(l.f.services, 99), 80), netip.AddrPortFrom(l.a.ip, 30099)}
	rules := ""
	var flows []net.Conn
	for _, to := range at {
		rules += fmt.Sprintf("%s daddr %s udp dport %d dnat %s to %s\n", ip, to.Addr(), to.Port(), ip, netip.AddrPortFrom(l.b1.ip, 8080))
		flows = append(flows, l.dialUDP(l.a1, to))
	}
	l.command(l.a.machine, "nft", "table inet foreign { chain c { type nat hook prerouting priority -110;\n"+rules+"}\n}")
	return flows
}

func TestP84_TCPOutlivesEverything(t *testing.T) {
	each(t, func(l *lab) {
		s := nodePort(l.service("web"), clusterPolicy)
		l.put(s, l.slice(s, ready(l.b1)...))
		open := []net.Conn{l.dial(l.a1, "tcp", vip(s)), l.dial(l.out, "tcp", port30080(l.a)), l.dial(l.a.machine, "tcp", vip(s))}
		for _, c := range open {
			l.askOn(c)
		}
		alive := func(when string) {
			l.t.Helper()
			for _, c := range open {
				if a, err := netlab.AskAgain(c, patient); err != nil || a.Name != "b1" {
					l.t.Errorf("%s: the connection to %s: %+v, %v", when, c.RemoteAddr(), a, err)
				}
			}
		}
		l.put(l.slice(s, l.b1.notReady(), l.b2.ready()))
		alive("with its endpoint not ready")
		l.put(internalLocal(nodePort(s.DeepCopy(), localPolicy)))
		alive("with other policies")
		l.put(l.slice(s))
		alive("without endpoints")
		l.remove(s)
		alive("without its Service")
		l.a.stop()
		l.b.stop()
		alive("without their proxy")
	})
}

package packet

import (
	"errors"
	"net/netip"
	"slices"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/internal/netlab"
	"fairlead.dev/fairlead/network/lb"
)

// throughL7 has the L7 engine serve a Service's TCP.
func throughL7(s *corev1.Service, how string) *corev1.Service {
	s.Annotations = map[string]string{api.AnnotationL7: how}
	return s
}

// through connects by TCP a few times and expects the engine of a node, and that it sees the client as itself.
func (l *lab) through(from machine, to netip.AddrPort, n *node) {
	l.t.Helper()
	shots := slices.Repeat([]netlab.Shot{{To: to}}, 4)
	for _, r := range from.Volley(shots, 0, patient) {
		switch {
		case r.Err != nil:
			l.t.Errorf("%s to %s: %v, want an answer of %s", from.name, to, r.Err, n.engine.name)
		case r.Answer.Name != n.engine.name:
			l.t.Errorf("%s to %s: %q answered, want %s", from.name, to, r.Answer.Name, n.engine.name)
		case r.Answer.Client != from.ip:
			l.t.Errorf("%s to %s: the engine saw client %s", from.name, to, r.Answer.Client)
		default:
			continue
		}
		return
	}
}

// datagrams expects answers to UDP from one of the servers.
func (l *lab) datagrams(from machine, to netip.AddrPort, servers ...machine) {
	l.t.Helper()
	if a := l.ask(from, netlab.Shot{UDP: true, To: to}); !slices.ContainsFunc(servers, func(m machine) bool { return m.name == a.Name }) {
		l.t.Errorf("%s to udp %s: %q answered, want one of %q", from.name, to, a.Name, names(servers))
	}
}

// By every address of the Service, from everywhere, on the node that the connection comes to; policies have no say about TCP.
func TestP110_EveryAddressLeadsToTheNodesEngine(t *testing.T) {
	each(t, func(l *lab) {
		s := throughL7(internalLocal(external(balanced(l.service("web"), l.ext(1), localPolicy), l.ext(2), localPolicy)), api.L7HTTP)
		l.put(s, l.slice(s, ready(l.b1)...))
		for _, to := range []netip.AddrPort{vip(s), l.ext(1), l.ext(2), port30080(l.a)} {
			for _, from := range []machine{l.out, l.a2} {
				l.through(from, to, l.a)
			}
		}
		for _, to := range []netip.AddrPort{vip(s), l.ext(1), l.ext(2)} {
			l.through(l.b1, to, l.b) // also an endpoint itself
		}
		l.through(l.a2, port30080(l.b), l.b)
		l.enter(l.b)
		l.through(l.out, l.ext(1), l.b)
		l.datagrams(l.out, l.ext(1), l.b1)
		// Without an endpoint it is the engine that says so, by an answer.
		l.put(l.slice(s))
		l.through(l.out, l.ext(1), l.b)
		l.put(throughL7(s.DeepCopy(), ""))
		l.refused(l.out, l.ext(1))
	})
}

// A process of the node itself is seen with an address of the node.
func TestP110_ProcessesOfTheNode(t *testing.T) {
	each(t, func(l *lab) {
		s := throughL7(balanced(l.service("web"), l.ext(1), clusterPolicy), api.L7HTTP)
		l.put(s, l.slice(s, ready(l.b1)...))
		for _, to := range []netip.AddrPort{vip(s), l.ext(1), port30080(l.a)} {
			a := l.ask(l.a.machine, netlab.Shot{To: to})
			if a.Name != l.a.engine.name || !slices.Contains(append(l.a.face, l.a.engine.ip), a.Client) {
				t.Errorf("%s: %+v", to, a)
			}
		}
	})
}

func TestP111_WithoutAnEngine(t *testing.T) {
	eachIdle(t, func(l *lab) {
		l.noEngine = true
		l.world.MarkSynced()
		l.start(l.a)
		l.start(l.b)
		web, gateway := throughL7(l.service("web"), api.L7HTTP), throughL7(l.service("gateway"), api.L7Gateway)
		l.put(web, l.slice(web, ready(l.a1, l.b1)...), gateway, l.slice(gateway, ready(l.b1)...))
		l.reaches(l.a2, vip(web), l.a2.self(), l.a1, l.b1)
		if _, err := l.a2.TCP(netip.Addr{}, vip(gateway), patient); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a Gateway's Service without an engine: %v", err)
		}
		l.datagrams(l.a2, vip(gateway), l.b1)
	})
}

func TestP112_OtherValuesChangeNothing(t *testing.T) {
	each(t, func(l *lab) {
		s := throughL7(l.service("web"), "on")
		l.put(s, l.slice(s, ready(l.a1, l.b1)...))
		l.reaches(l.a2, vip(s), l.a2.self(), l.a1, l.b1)
	})
}

// The engine's address is reached by Services only: not from the wire, and not from pods.
func TestP113_TheEnginesAddressIsNobodyElses(t *testing.T) {
	each(t, func(l *lab) {
		s := throughL7(l.service("web"), api.L7HTTP)
		l.put(s, l.slice(s, ready(l.b1)...))
		at := netip.AddrPortFrom(l.a.engine.ip, lb.EngineIPv4.Port())
		l.router.Via(l.a.ip, bare(at.Addr()))
		l.silent(at, l.out, l.a2)
		l.through(l.a2, vip(s), l.a)
	})
}

// Affinity is between the engine and the endpoints.
func TestP115_AffinityIsTheEngines(t *testing.T) {
	each(t, func(l *lab) {
		s := throughL7(sticky(l.service("web"), 600), api.L7HTTP)
		l.put(s, l.slice(s, ready(l.a1, l.b1)...))
		l.through(l.a2, vip(s), l.a)
		l.through(l.b2, vip(s), l.b)
		l.put(sticky(throughL7(s.DeepCopy(), ""), 600))
		l.datagrams(l.a2, vip(s), l.a1, l.b1)
	})
}

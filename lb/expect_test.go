package lb_test

import (
	"math/rand/v2"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"fairlead.dev/fairlead/lb"
	"fairlead.dev/fairlead/lb/lbtest"
)

func addrs(text ...string) []netip.Addr {
	var all []netip.Addr
	for _, t := range text {
		all = append(all, netip.MustParseAddr(t))
	}
	return all
}

// TestDeriveAgreesWithExpect asks, for random objects and every destination
// they mention, what the rows say and what the specification says.
func TestDeriveAgreesWithExpect(t *testing.T) {
	u := lbtest.Universe{
		Nodes: []string{"n1", "n2", "n3"}, Zones: []string{"a", "b"},
		Here: addrs("10.244.1.2", "10.244.1.3"), Away: addrs("10.244.2.2", "10.244.2.3", "10.244.3.2"),
		External: addrs("198.51.100.1", "198.51.100.2", "198.51.100.3"), Ports: []int32{8080, 8081},
	}
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	counts := map[lb.Verdict]int{}
	for round := range 3000 {
		node := lb.Node{Name: "n1", Zone: []string{"", "a", "c"}[rnd.IntN(3)], Addrs: addrs("192.0.2.1", "192.0.2.2")}
		var services []*corev1.Service
		var all []*discoveryv1.EndpointSlice
		var rows []lb.Rows
		for n := range 1 + rnd.IntN(4) {
			s, sl := u.Service(rnd, n), u.Slices(rnd, n)
			services, all = append(services, s), append(all, sl...)
			rows = append(rows, lb.Derive(s, sl, node))
		}
		for _, p := range lbtest.Destinations(services, node) {
			for _, p.Origin = range []lb.Origin{lb.FromPod, lb.FromNode, lb.FromOutside} {
				want := lb.Expect(p, services, all, node)
				got := follow(rows, p)
				if !equal(got, want) {
					t.Fatalf("seed %d round %d: %+v\nrows:   %+v\nexpect: %+v\n%s", seed, round, p, got, want, lb.Table(rows...))
				}
				if want.Served {
					counts[want.Verdict]++
				}
			}
		}
	}
	for _, v := range []lb.Verdict{lb.Forward, lb.Refuse, lb.Drop} {
		if counts[v] < 100 {
			t.Errorf("only %d packets were to %v: the generator does not reach it", counts[v], v)
		}
	}
}

// follow reads the rows as a data plane does.
func follow(rows []lb.Rows, p lb.Packet) lb.Outcome {
	for i := range rows {
		for _, f := range rows[i].Frontends {
			if f.Addr != p.Dest || f.Proto != p.Proto {
				continue
			}
			scope, keeps := f.Scope, f.KeepSource || p.Origin == lb.FromPod
			if f.Shortcut && p.Origin != lb.FromOutside {
				scope, keeps = lb.Cluster, p.Origin == lb.FromPod
			}
			s := rows[i].Set(f.Port, scope)
			o := lb.Outcome{Served: true, Verdict: s.Verdict, KeepsSource: keeps, Backends: map[netip.AddrPort]bool{}}
			for _, b := range s.Backends {
				o.Backends[b.Addr] = true
			}
			return o
		}
	}
	return lb.Outcome{}
}

func equal(a, b lb.Outcome) bool {
	if a.Served != b.Served || a.Verdict != b.Verdict || a.KeepsSource != b.KeepsSource || len(a.Backends) != len(b.Backends) {
		return false
	}
	for at := range a.Backends {
		if !b.Backends[at] {
			return false
		}
	}
	return true
}

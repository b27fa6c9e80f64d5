package lb_test

import (
	"flag"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/lb/lbtest"
)

func addrs(text ...string) []netip.Addr {
	var all []netip.Addr
	for _, t := range text {
		all = append(all, netip.MustParseAddr(t))
	}
	return all
}

var seedFlag = flag.Uint64("seed", 0, "repeat the random objects of a failure; 0 draws new ones")

// universes are the same names and places in each IP family.
func universes() map[string]lbtest.Universe {
	p := netip.MustParsePrefix
	return map[string]lbtest.Universe{
		"ipv4": {
			Services: p("10.96.0.0/16"), Here: addrs("10.244.1.2", "10.244.1.3", "192.0.2.1"),
			Away: addrs("10.244.2.2", "10.244.2.3", "10.244.3.2"), Abroad: addrs("203.0.113.7"),
			External: addrs("198.51.100.1", "198.51.100.2", "198.51.100.3", "127.0.0.9", "169.254.169.254", "224.0.0.1", "0.1.2.3",
				"255.255.255.255", "192.0.2.1", "192.0.2.99", "192.0.2.100", "10.244.2.2", "10.96.0.1", lb.EngineIPv4.Addr().String()),
			Sources: []netip.Prefix{p("10.244.1.0/24"), p("10.244.1.2/32"), p("203.0.113.0/25"), p("203.0.113.7/32"), p("192.0.2.0/24"), p("2001:db8::/32")},
		},
		"ipv6": {
			Services: p("fd00:10:96::/112"), Here: addrs("fd00:10:244:1::2", "fd00:10:244:1::3", "2001:db8::1"),
			Away: addrs("fd00:10:244:2::2", "fd00:10:244:2::3", "fd00:10:244:3::2"), Abroad: addrs("2001:db8:1::7"),
			External: addrs("2001:db8:9::1", "2001:db8:9::2", "2001:db8:9::3", "::1", "fe80::1", "ff02::1", "::ffff:192.0.2.1",
				"2001:db8::1", "2001:db8::63", "2001:db8::64", "fd00:10:244:2::2", "fd00:10:96::1", lb.EngineIPv6.Addr().String()),
			Sources: []netip.Prefix{p("fd00:10:244:1::/64"), p("2001:db8:1::/65"), p("2001:db8::/64"), p("10.0.0.0/8")},
		},
	}
}

// TestDeriveAgreesWithExpect asks, for random objects and every destination
// they mention, what the rows say and what the specification says.
func TestDeriveAgreesWithExpect(t *testing.T) {
	for name, u := range universes() {
		u.Nodes, u.Zones, u.Ports = []string{"n1", "n2", "n3"}, []string{"a", "b"}, []int32{8080, 8081}
		t.Run(name, func(t *testing.T) { agree(t, u) })
	}
}

// reserved is what the cluster of the universes uses itself. The API server answers on one of the node ports, too.
func reserved() lb.Reserved {
	p := netip.MustParsePrefix
	r := lb.NewReserved([]*corev1.Node{
		{Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.1"}, {Type: corev1.NodeExternalIP, Address: "2001:db8::1"}}}},
		{Spec: corev1.NodeSpec{PodCIDR: "10.244.2.0/24"}, Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.99"}, {Type: corev1.NodeHostName, Address: "n2"}}}},
	}, nil, []netip.Prefix{p("fd00:10:244::/56")}, []netip.Prefix{p("10.96.0.0/16"), p("fd00:10:96::/112")})
	for _, at := range []string{"192.0.2.1:30000", "[2001:db8::1]:30000", "[2001:db8::63]:6443"} {
		r.AddAPI(netip.MustParseAddrPort(at))
	}
	return r
}

func agree(t *testing.T, u lbtest.Universe) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	rnd := rand.New(rand.NewPCG(seed, 0))
	counts, through, weighted := map[lb.Verdict]int{}, 0, 0
	for round := range 2000 {
		node := lb.Node{Name: "n1", Zone: []string{"", "a", "c"}[rnd.IntN(3)], Addrs: u.Here[2:3], IPv6: u.Services.Addr().Is6(), Reserved: reserved()}
		if rnd.IntN(3) > 0 {
			node.Engine = engine(node.IPv6)
		}
		var services []*corev1.Service
		var all []*discoveryv1.EndpointSlice
		var rows []lb.Rows
		for n := range 1 + rnd.IntN(4) {
			s, sl := u.Service(rnd, n), u.Slices(rnd, n)
			services, all = append(services, s), append(all, sl...)
			rows = append(rows, lb.Derive(s, sl, node))
		}
		lb.Settle(rows)
		for _, p := range lbtest.Destinations(services, node) {
			for origin, source := range map[lb.Origin]netip.Addr{lb.FromPod: u.Here[0], lb.FromNode: u.Here[2], lb.FromOutside: u.Abroad[0]} {
				p.Origin, p.Source = origin, source
				want := lb.Expect(p, services, all, node)
				got := follow(rows, p)
				if !equal(got, want) {
					t.Fatalf("-seed %d, round %d: %+v\nrows:   %+v\nexpect: %+v\n%s", seed, round, p, got, want, lb.Table(rows...))
				}
				if want.Served {
					counts[want.Verdict]++
				}
				if want.Shares != nil && len(want.Backends) > 1 {
					weighted++
				}
				if want.Backends[node.Engine] {
					through++
				}
			}
		}
	}
	for _, v := range []lb.Verdict{lb.Forward, lb.Refuse, lb.Drop} {
		if counts[v] < 100 {
			t.Errorf("only %d packets were to %v: the generator does not reach it", counts[v], v)
		}
	}
	if weighted < 100 {
		t.Errorf("only %d packets were to endpoints with weights: the generator does not reach it", weighted)
	}
	if through < 100 {
		t.Errorf("only %d packets went through the engine: the generator does not reach it", through)
	}
}

// engine is where a node's engine is in a family.
func engine(v6 bool) netip.AddrPort {
	if v6 {
		return lb.EngineIPv6
	}
	return lb.EngineIPv4
}

// follow reads the rows as a data plane does.
func follow(rows []lb.Rows, p lb.Packet) lb.Outcome {
	var service *lb.Rows
	var front lb.Frontend
	known := false
	for i := range rows {
		for _, f := range rows[i].Frontends {
			known = known || f.Kind == lb.ClusterIP && f.Addr.Addr() == p.Dest.Addr()
			if f.Addr == p.Dest && f.Proto == p.Proto && f.TakenBy == (types.NamespacedName{}) {
				service, front = &rows[i], f
			}
		}
	}
	switch {
	case service == nil && known:
		return lb.Outcome{Served: true, Verdict: lb.Refuse}
	case service == nil:
		return lb.Outcome{}
	case len(front.Sources) > 0 && !slices.ContainsFunc(front.Sources, func(r netip.Prefix) bool { return r.Contains(p.Source) }):
		return lb.Outcome{Served: true, Verdict: lb.Drop}
	}
	scope, keeps := front.Scope, front.KeepSource || p.Origin == lb.FromPod
	if front.Shortcut && p.Origin != lb.FromOutside {
		scope, keeps = lb.Cluster, p.Origin == lb.FromPod
	}
	s := service.Set(front.Port, scope)
	o := lb.Outcome{Served: true, Verdict: s.Verdict, KeepsSource: keeps, Local: scope == lb.Local, Backends: map[netip.AddrPort]bool{}}
	if s.Affinity > 0 {
		o.Sticky = service.Service.String() + ":" + s.Port
	}
	for _, b := range s.Backends {
		o.Backends[b.Addr] = true
	}
	o.Shares = sharesIn(s.Places())
	return o
}

// sharesIn are what part of some places each backend has.
func sharesIn(places []lb.Backend) map[netip.AddrPort]float64 {
	all := map[netip.AddrPort]float64{}
	for _, b := range places {
		all[b.Addr] += 1 / float64(len(places))
	}
	return all
}

// near reports whether backends get what part of connections they are to get, as nearly as whole shares allow.
func near(got map[netip.AddrPort]float64, want lb.Outcome) bool {
	for at := range want.Backends {
		part := 1 / float64(len(want.Backends))
		if want.Shares != nil {
			part = want.Shares[at]
		}
		if off := math.Abs(got[at] - part); off > 0.03*part+0.002 {
			return false
		}
	}
	return true
}

func equal(a, b lb.Outcome) bool {
	if a.Sticky != b.Sticky || a.Local != b.Local || a.Served != b.Served || a.Verdict != b.Verdict || a.KeepsSource != b.KeepsSource || len(a.Backends) != len(b.Backends) {
		return false
	}
	for at := range a.Backends {
		if !b.Backends[at] {
			return false
		}
	}
	return near(a.Shares, b)
}

// TestP114_TheEngineHasTheKernelsEndpoints draws Services at random and holds what an engine may pick from against what the
// kernel balances over where no engine is in between.
func TestP114_TheEngineHasTheKernelsEndpoints(t *testing.T) {
	for name, u := range universes() {
		u.Nodes, u.Zones, u.Ports = []string{"n1", "n2", "n3"}, []string{"a", "b"}, []int32{8080, 8081}
		t.Run(name, func(t *testing.T) {
			seed, compared := rand.Uint64(), 0
			rnd := rand.New(rand.NewPCG(seed, 0))
			for range 1000 {
				node := lb.Node{Name: "n1", Zone: "a", Addrs: u.Here[2:3], IPv6: u.Services.Addr().Is6(), Engine: engine(u.Services.Addr().Is6())}
				s, sl := u.Service(rnd, 0), u.Slices(rnd, 0)
				s.Annotations = nil
				rows := lb.Derive(s, sl, node)
				s.Annotations = map[string]string{api.AnnotationL7: api.L7HTTP}
				for i := range rows.Sets {
					want := &rows.Sets[i]
					port := slices.IndexFunc(s.Spec.Ports, func(p corev1.ServicePort) bool { return p.Name == want.Port })
					got := lb.Endpoints(s, sl, &s.Spec.Ports[port], want.Scope, node)
					if got.Verdict != want.Verdict || !slices.Equal(got.Backends, want.Backends) || got.Affinity != want.Affinity {
						t.Fatalf("seed %d: %+v, want %+v", seed, got, *want)
					}
					compared += len(want.Backends)
				}
			}
			if compared < 1000 {
				t.Errorf("%d endpoints compared: the generator does not reach them", compared)
			}
		})
	}
}

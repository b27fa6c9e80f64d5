package nft

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/internal/netlab"
	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/lb/lbtest"
	"fairlead.dev/fairlead/network/nft/nfttest"
	"fairlead.dev/fairlead/network/nft/plan"
	"fairlead.dev/fairlead/network/world"
)

// TestKernelListsThePlan writes random Services, whole and by differences, and
// compares what the nft command lists with the text of what is desired; nft also
// reads that text.
func TestKernelListsThePlan(t *testing.T) {
	ns := netlab.New(t, "listed")
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	for round := range 6 {
		cfg := testConfig
		if round%2 == 0 { // what not every node has
			cfg.ClusterDNS, cfg.Host, cfg.MasqueradeAll = nil, two(outsideIP), round == 0
			cfg.APIServers = []netip.AddrPort{netip.AddrPortFrom(outsideIP, 6443)}
			cfg.Engine = []netip.AddrPort{lb.EngineIPv4, lb.EngineIPv6}
			cfg.ClusterCIDRs = []netip.Prefix{prefix("10.240.0.0/12"), prefix("fd00:10:244::/47")}
		}
		w := world.New()
		w.Put(newNode("n1", prefix("10.244.1.0/24"), nodeIP))
		w.MarkSynced()
		l := stepped(t, ns, cfg, w)
		subscription := w.Subscribe()
		for step := range 5 {
			populate(rnd, w)
			if err := l.step(subscription.Take()); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			for _, table := range l.tables {
				compareListing(t, ns, plan.NewTable(table.applied.layout, table.desired))
			}
			if t.Failed() {
				t.Fatalf("seed %d, round %d, step %d", seed, round, step)
			}
		}
		subscription.Close()
		l.socket.Close() // and with it the tables' owner goes
		ns.Do(func() { _ = Clean() })
	}
}

// populate replaces some of the Services of both families.
func populate(rnd *rand.Rand, w *world.World) {
	v4 := lbtest.Universe{Services: prefix("10.96.0.0/16"), Nodes: []string{"n1", "n2"}, Zones: []string{"a", ""}, Ports: []int32{8080, 65535},
		Here: []netip.Addr{podA, podB}, Away: []netip.Addr{podFar, podFar2}, Abroad: []netip.Addr{outsideIP}, External: []netip.Addr{outerIP, netip.MustParseAddr("203.0.113.1")},
		Sources: []netip.Prefix{prefix("10.0.0.0/8"), prefix("10.244.1.0/24"), prefix("198.51.100.7/32")}}
	v6 := v4
	v6.Services = sixPrefix(v4.Services)
	for _, list := range []*[]netip.Addr{&v6.Here, &v6.Away, &v6.Abroad, &v6.External} {
		*list = slices.Clone(*list)
		for i, a := range *list {
			(*list)[i] = six(a)
		}
	}
	v6.Sources = []netip.Prefix{prefix("fd00::/16"), prefix("2001:db8::1/128")}
	for range 12 {
		n, u := rnd.IntN(30), v4
		if n%2 == 1 {
			u = v6
		}
		s := u.Service(rnd, n)
		if how := rnd.IntN(4); how > 1 {
			s.Annotations = map[string]string{"fairlead.dev/balance": []string{"round-robin", "client-hash"}[how-2]}
		}
		if s.Spec.SessionAffinity == corev1.ServiceAffinityClientIP {
			withAffinity(s, int32(1+rnd.IntN(200000)))
		}
		w.Put(s)
		for _, old := range slicesOf(w, s) {
			w.Delete(old)
		}
		for _, sl := range u.Slices(rnd, n) {
			w.Put(sl)
		}
	}
}

func slicesOf(w *world.World, s *corev1.Service) []*discoveryv1.EndpointSlice {
	_, all := w.Service(types.NamespacedName{Namespace: s.Namespace, Name: s.Name})
	return all
}

func compareListing(t *testing.T, ns *netlab.Netns, table *plan.Table) {
	t.Helper()
	nfttest.Compare(t, ns, table.Family.String(), plan.TableName, table.String())
}

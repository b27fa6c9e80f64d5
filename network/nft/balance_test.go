package nft

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/api"
)

func byClient(s *corev1.Service) *corev1.Service {
	s.Annotations = map[string]string{api.AnnotationBalance: api.BalanceByClient}
	return s
}

// clients gives the outside host n more addresses.
func (l *lab) clients(n int) []netip.Addr {
	l.node.Via(l.ip(outsideIP), prefix(l.text("10.77.1.0/24")))
	var all []netip.Addr
	for i := range n {
		a := l.ip(netip.AddrFrom4([4]byte{10, 77, 1, byte(i + 1)}))
		l.outsideNs.Address(netip.PrefixFrom(a, a.BitLen()))
		all = append(all, a)
	}
	return all
}

// choices are the servers that the clients get at a node port.
func (l *lab) choices(clients []netip.Addr, at netip.AddrPort) []string {
	l.t.Helper()
	var names []string
	for _, c := range clients {
		a, err := l.outsideNs.TCP(c, at, patient)
		if err != nil {
			l.t.Fatalf("%s to %s: %v", c, at, err)
		}
		names = append(names, a.Name)
	}
	return names
}

// With annotation client-hash a client gets the same endpoint again and again,
// and through every node; if an endpoint goes, most of the clients of the
// others stay where they were.
func TestClientHashIsTheSameOnAllNodes(t *testing.T) {
	inBothFamilies(t, func(t *testing.T, l *lab) {
		l.start()
		cfg := testConfig
		cfg.NodeName, cfg.NodeIPs = "n2", two(node2IP)
		second := New(cfg, l.world, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go l.neighbour.Do(func() { done <- second.Run(ctx) })
		defer func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}()
		s := byClient(nodePort(newService("web", "10.96.0.1"), clusterPolicy))
		l.put(s, newSlice("web", podB, podFar, podFar2))
		name := types.NamespacedName{Namespace: "default", Name: "web"}
		l.until("the second node", func() bool { return !second.Applied(name).IsZero() })
		clients := l.clients(60)
		first := l.choices(clients, l.at("192.0.2.1:30080"))
		counts := map[string]int{}
		for i, there := range l.choices(clients, l.at("192.0.2.2:30080")) {
			counts[first[i]]++
			if there != first[i] {
				t.Errorf("client %s gets %q by n1 and %q by n2", clients[i], first[i], there)
			}
		}
		for _, server := range []string{"b", "far", "far2"} {
			if counts[server] < 6 {
				t.Errorf("60 clients are spread %v", counts)
				break
			}
		}
		if again := l.choices(clients, l.at("10.96.0.1:80")); fmt.Sprint(again) != fmt.Sprint(first) {
			t.Errorf("by node port %v, by cluster address %v", first, again)
		}
		l.put(newSlice("web", podB, podFar2))
		stayed := 0
		for i, now := range l.choices(clients, l.at("192.0.2.1:30080")) {
			if now == "far" {
				t.Errorf("client %s gets an endpoint that is gone", clients[i])
			}
			if now == first[i] {
				stayed++
			}
		}
		if others := 60 - counts["far"]; stayed < others*2/3 {
			t.Errorf("of %d clients of other endpoints %d stayed", others, stayed)
		}
	})
}

func TestP51_MasqueradeAll(t *testing.T) {
	inBothFamilies(t, func(t *testing.T, l *lab) {
		cfg := testConfig
		cfg.MasqueradeAll = true
		l.startAs(cfg)
		l.put(newService("web", "10.96.0.1"), newSlice("web", podFar))
		l.reaches(l.a, "tcp", "10.96.0.1:80", nodeIP, "far")
		l.reaches(l.a, "tcp", "10.244.2.2:8080", podA, "far") // no Service
		// A policy that keeps the source keeps it.
		l.put(nodePort(newService("local", "10.96.0.2"), localPolicy), newSlice("local", podA))
		l.reaches(l.outsideNs, "tcp", "192.0.2.1:30080", outsideIP, "a")
	})
}

// Ten thousand endpoints behind one Service, each with its own address.
func TestTenThousandEndpoints(t *testing.T) {
	inBothFamilies(t, func(t *testing.T, l *lab) {
		l.b.Route("local", l.text("10.200.0.0/16"), "dev", "lo")
		l.node.Via(l.ip(podB), prefix(l.text("10.200.0.0/16")))
		anywhere := netip.IPv4Unspecified()
		if l.six {
			anywhere = netip.IPv6Unspecified()
		}
		l.b.Serve(netip.AddrPortFrom(anywhere, 8081), "many")
		cfg := testConfig
		cfg.CountUpTo = 1 << 20
		l.startAs(cfg)
		l.set(newService("web", "10.96.0.1"), byClient(newService("hashed", "10.96.0.2")))
		for _, name := range []string{"web", "hashed"} {
			for i := range 10 {
				s := newSlice(name)
				s.Name = fmt.Sprint(name, "-", i)
				*s.Ports[0].Port = 8081
				for j := range 1000 {
					a := netip.AddrFrom4([4]byte{10, 200, byte(i*4 + j/250), byte(1 + j%250)})
					s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{a.String()}, NodeName: ptr.To("n1")})
				}
				l.set(s)
			}
		}
		l.settle()
		const connections = 60
		for i, ip := range []string{"10.96.0.1:80", "10.96.0.2:80"} {
			for range connections {
				if a, err := l.a.TCP(netip.Addr{}, l.at(ip), patient); err != nil || a.Name != "many" {
					t.Fatalf("%s: %+v, %v", ip, a, err)
				}
			}
			counts, err := l.proxy.Connections(types.NamespacedName{Namespace: "default", Name: []string{"web", "hashed"}[i]})
			used, total := 0, uint64(0)
			for _, c := range counts {
				if c.Connections > 0 {
					used++
				}
				total += c.Connections
			}
			if err != nil || len(counts) != 20000 || total != connections { // of both ports
				t.Errorf("%s: %d connections to %d endpoints, %v", ip, total, len(counts), err)
			}
			if i == 0 && used < connections/2 || i == 1 && used != 1 {
				t.Errorf("%s: one client's connections went to %d endpoints", ip, used)
			}
		}
	})
}

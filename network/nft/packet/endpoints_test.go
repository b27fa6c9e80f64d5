package packet

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/internal/netlab"
)

const (
	otherProxy = api.LabelServiceProxyName
	headless   = "service.kubernetes.io/headless"
)

func TestP1_LabelledServicesAreLeftAlone(t *testing.T) {
	each(t, func(l *lab) {
		for _, label := range []string{otherProxy, headless} {
			s := nodePort(l.service("web"), clusterPolicy)
			l.put(s, l.slice(s, ready(l.a1, l.b1)...))
			l.reaches(l.a2, vip(s), l.a2.self(), l.a1, l.b1)
			labelled := s.DeepCopy()
			labelled.Labels = map[string]string{label: ""}
			l.put(labelled)
			l.unanswered(vip(s), l.a2, l.out)
			l.unanswered(port30080(l.a), l.out)
			l.put(s)
			l.reaches(l.out, port30080(l.a), l.a.face, l.a1, l.b1)
			l.remove(s)
		}
	})
}

func TestP1_LabelledSlicesAreLeftAlone(t *testing.T) {
	each(t, func(l *lab) {
		s := l.service("web")
		ours, theirs := l.slice(s, ready(l.a1)...), l.slice(s, ready(l.b1)...)
		theirs.Name, theirs.Labels[otherProxy] = "theirs", "other"
		names := l.slice(s)
		names.Name, names.AddressType = "names", discoveryv1.AddressTypeFQDN
		names.Endpoints = []discoveryv1.Endpoint{{Addresses: []string{"db.example.com"}}}
		l.put(s, ours, theirs, names)
		l.reaches(l.a2, vip(s), l.a2.self(), l.a1)
		l.remove(ours)
		l.refused(l.a2, vip(s))
	})
}

func TestP1_KindsWithoutAnAddress(t *testing.T) {
	each(t, func(l *lab) {
		s := nodePort(l.service("web"), clusterPolicy)
		l.put(s, l.slice(s, ready(l.b1)...))
		l.reaches(l.out, port30080(l.a), l.a.self(), l.b1)
		none := s.DeepCopy()
		none.Spec.Type, none.Spec.ClusterIP, none.Spec.ClusterIPs = corev1.ServiceTypeClusterIP, "None", []string{"None"}
		l.put(none)
		l.unanswered(vip(s), l.a1)
		l.unanswered(port30080(l.a), l.out)
		named := s.DeepCopy()
		named.Spec.Type, named.Spec.ExternalName = corev1.ServiceTypeExternalName, "example.com"
		l.put(named)
		l.unanswered(vip(s), l.a1)
		l.put(s)
		l.reaches(l.a1, vip(s), l.a1.self(), l.b1)
	})
}

func TestP2_FirstAddressAndNamedPort(t *testing.T) {
	each(t, func(l *lab) {
		s := l.service("web")
		two := l.a2.ready()
		two.Addresses = append(two.Addresses, l.b1.ip.String())
		other := l.slice(s, ready(l.b2)...) // same protocols, other names
		other.Name = "other"
		for i := range other.Ports {
			name := *other.Ports[i].Name + "x"
			other.Ports[i].Name = &name
		}
		nameless := l.slice(s, ready(l.b2)...)
		nameless.Name = "nameless"
		nameless.Ports[0].Name, nameless.Ports[1].Port = nil, nil
		l.put(s, l.slice(s, two), other, nameless)
		l.reaches(l.a1, vip(s), l.a1.self(), l.a2)
	})
}

// A terminating copy of an endpoint in one slice does not hide the ready one in
// another.
func TestP3_DuplicatesAreOneEndpoint(t *testing.T) {
	each(t, func(l *lab) {
		s := nodePort(l.service("web"), localPolicy)
		stale, fresh := l.slice(s, l.a1.draining(), l.b1.draining()), l.slice(s, l.a1.ready())
		nowhere := l.a1.ready()
		nowhere.NodeName = nil
		fresh.Name, fresh.Endpoints = "fresh", append(fresh.Endpoints, nowhere)
		l.put(s, stale, fresh)
		l.reaches(l.a2, vip(s), l.a2.self(), l.a1)
		l.reaches(l.out, port30080(l.a), l.out.self(), l.a1) // it is local if any copy says so
	})
}

// Where an endpoint is says its nodeName, not its address.
func TestP4_LocalByNodeName(t *testing.T) {
	each(t, func(l *lab) {
		s := nodePort(l.service("web"), localPolicy)
		other := l.a2.ready()
		*other.NodeName = "b"
		l.put(s, l.slice(s, l.a1.ready(), other))
		l.reaches(l.out, port30080(l.a), l.out.self(), l.a1)
		nameless := l.a2.ready()
		nameless.NodeName = nil
		l.put(l.slice(s, nameless))
		l.silent(port30080(l.a), l.out)
	})
}

func TestP10_DrainingOnlyWhenNothingIsReady(t *testing.T) {
	each(t, func(l *lab) {
		s := l.service("web")
		l.put(s, l.slice(s, l.a1.draining(), l.b1.ready(), l.b2.notReady()))
		l.reaches(l.a2, vip(s), l.a2.self(), l.b1)
		l.put(l.slice(s, l.a1.draining(), l.b1.draining(), l.b2.notReady()))
		l.reaches(l.a2, vip(s), l.a2.self(), l.a1, l.b1)
		l.put(l.slice(s, l.a1.dying(), l.b1.draining()))
		l.reaches(l.a2, vip(s), l.a2.self(), l.b1)
	})
}

func TestP11_LocalSetFallsBackByItself(t *testing.T) {
	each(t, func(l *lab) {
		s := internalLocal(nodePort(l.service("web"), localPolicy))
		l.put(s, l.slice(s, l.a1.draining(), l.b1.ready(), l.b2.draining()))
		l.reaches(l.a2, vip(s), l.a2.self(), l.a1) // ready ones elsewhere do not count
		l.reaches(l.out, port30080(l.a), l.out.self(), l.a1)
		l.reaches(l.out, port30080(l.b), l.out.self(), l.b1)
		l.put(l.slice(s, l.a1.draining(), l.a2.ready()))
		l.reaches(l.out, port30080(l.a), l.out.self(), l.a2)
	})
}

// A load balancer that has not yet heard of the 503 still gets answers.
func TestP91_DrainingEndpointsStillGetTraffic(t *testing.T) {
	each(t, func(l *lab) {
		s := balanced(l.service("web"), l.ext(1), localPolicy)
		s.Spec.HealthCheckNodePort = 32000
		l.put(s, l.slice(s, l.a1.draining(), l.b1.ready()))
		l.reaches(l.out, l.ext(1), l.out.self(), l.a1)
		l.reaches(l.out, port30080(l.a), l.out.self(), l.a1)
	})
}

func TestP12_Hints(t *testing.T) {
	each(t, func(l *lab) {
		zone := func(m machine, zones ...string) discoveryv1.Endpoint {
			e := m.ready()
			e.Hints = &discoveryv1.EndpointHints{}
			for _, z := range zones {
				e.Hints.ForZones = append(e.Hints.ForZones, discoveryv1.ForZone{Name: z})
			}
			return e
		}
		s := nodePort(l.service("web"), clusterPolicy)
		l.put(s, l.slice(s, zone(l.a1, "zone-a"), zone(l.b1, "zone-b"), zone(l.b2, "zone-a")))
		l.reaches(l.a2, vip(s), l.a2.self(), l.a1, l.b2)
		l.reaches(l.b2, vip(s), l.b2.self(), l.b1)
		l.reaches(l.out, port30080(l.b), l.b.face, l.b1)
		withNode := zone(l.b2, "zone-a")
		withNode.Hints.ForNodes = []discoveryv1.ForNode{{Name: "b"}}
		first := zone(l.a1, "zone-a")
		first.Hints.ForNodes = []discoveryv1.ForNode{{Name: "a"}}
		l.put(l.slice(s, first, withNode)) // node hints go before zone hints
		l.reaches(l.a2, vip(s), l.a2.self(), l.a1)
		l.put(l.slice(s, zone(l.a1, "zone-a"), zone(l.b1, "zone-b"), l.b2.ready())) // one without: none counts
		l.reaches(l.a2, vip(s), l.a2.self(), l.a1, l.b1, l.b2)
		l.put(l.slice(s, zone(l.b1, "zone-b"), zone(l.b2, "zone-b"))) // none for this zone
		l.reaches(l.a2, vip(s), l.a2.self(), l.b1, l.b2)
		local := internalLocal(s.DeepCopy()) // policies look at no hints
		l.put(local, l.slice(s, zone(l.a1, "zone-b"), zone(l.b1, "zone-a")))
		l.reaches(l.a2, vip(s), l.a2.self(), l.a1)
	})
}

// The two policies of one Service choose separately.
func TestP13_P14_EachPolicyChoosesItsOwnSet(t *testing.T) {
	each(t, func(l *lab) {
		s := internalLocal(nodePort(l.service("web"), clusterPolicy))
		l.put(s, l.slice(s, ready(l.a1, l.b1)...))
		l.reaches(l.a2, vip(s), l.a2.self(), l.a1)
		l.reaches(l.out, port30080(l.a), l.a.face, l.a1, l.b1)
		turned := nodePort(s.DeepCopy(), localPolicy)
		turned.Spec.InternalTrafficPolicy = nil
		l.put(turned)
		l.reaches(l.a2, vip(s), l.a2.self(), l.a1, l.b1)
		l.reaches(l.out, port30080(l.a), l.out.self(), l.a1)
	})
}

func TestP15_P16_NeverUsed(t *testing.T) {
	each(t, func(l *lab) {
		s := l.service("web")
		l.put(s, l.slice(s, l.a1.notReady(), l.a2.dying(), l.b1.endpoint(false, true, false), l.b2.ready()))
		l.reaches(l.a1, vip(s), l.a1.self(), l.b2)
		l.put(l.slice(s, l.a1.notReady(), l.a2.dying(), l.b1.endpoint(false, true, false)))
		l.refused(l.b2, vip(s))
	})
}

// Published although not ready: such endpoints are marked ready, also while they
// terminate, and are like any other.
func TestP17_PublishedNotReadyAddresses(t *testing.T) {
	each(t, func(l *lab) {
		s := l.service("web")
		l.put(s, l.slice(s, l.a2.endpoint(true, false, true), l.b1.ready(), l.b2.endpoint(true, false, false)))
		l.reaches(l.a1, vip(s), l.a1.self(), l.a2, l.b1, l.b2)
	})
}

func TestP18_RefusedOrIgnored(t *testing.T) {
	each(t, func(l *lab) {
		s := nodePort(l.service("web"), localPolicy)
		l.put(s, l.slice(s, l.b1.draining()))
		l.silent(port30080(l.a), l.out) // one that drains elsewhere is one
		l.put(l.slice(s, l.b1.dying(), l.b2.notReady()))
		l.refused(l.out, port30080(l.a)) // those are none
		l.put(internalLocal(s.DeepCopy()), l.slice(s, l.b1.ready()))
		l.silent(vip(s), l.a1, l.a.machine)
	})
}

func TestP19_FallbackLooksWhereThePolicyLooks(t *testing.T) {
	each(t, func(l *lab) {
		s := nodePort(l.service("web"), clusterPolicy)
		l.put(s, l.slice(s, l.a1.draining(), l.b1.ready()))
		l.reaches(l.out, port30080(l.a), l.a.self(), l.b1)
		l.put(nodePort(s.DeepCopy(), localPolicy))
		l.reaches(l.out, port30080(l.a), l.out.self(), l.a1)
		l.reaches(l.out, port30080(l.b), l.out.self(), l.b1)
		l.put(s, l.slice(s, l.a1.draining(), l.b1.draining()))
		l.reaches(l.out, port30080(l.a), l.a.face, l.a1, l.b1)
	})
}

// Six standard deviations to either side of the third that is fair: the test
// fails by chance once in hundreds of millions of runs.
func TestP20_FairShares(t *testing.T) {
	each(t, func(l *lab) {
		s := l.service("web")
		l.put(s, l.slice(s, ready(l.a2, l.b1, l.b2)...))
		const tries = 900
		counts := map[string]int{}
		for range tries / 90 {
			for i, r := range l.a1.Volley(both(vip(s), 45), 0, patient) {
				if r.Err != nil {
					l.t.Fatalf("connection %d: %v", i, r.Err)
				}
				counts[r.Answer.Name]++
			}
		}
		for _, m := range []machine{l.a2, l.b1, l.b2} {
			if n := counts[m.name]; n < 300-85 || n > 300+85 {
				l.t.Errorf("%s got %d of %d connections: %v", m.name, n, tries, counts)
			}
		}
	})
}

// A UDP port is balanced like a TCP port; later datagrams of a flow stay where
// the first one went.
func TestP52_UDPFlowsStay(t *testing.T) {
	each(t, func(l *lab) {
		s := l.service("dns")
		l.put(s, l.slice(s, ready(l.a2, l.b1, l.b2)...))
		for range 8 {
			flow := l.dialUDP(l.a1, vip(s))
			first := l.askOn(flow)
			for range 20 {
				if again := l.askOn(flow); again != first {
					l.t.Fatalf("a flow went to %+v, then to %+v", first, again)
				}
			}
		}
		l.put(l.slice(s))
		if r := l.a1.Volley([]netlab.Shot{{UDP: true, To: vip(s)}}, 0, patient)[0]; r.Err == nil {
			l.t.Errorf("without endpoints: %+v", r.Answer)
		}
	})
}

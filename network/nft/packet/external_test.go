package packet

import (
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

func TestP34_NodePortOnEveryNode(t *testing.T) {
	each(t, func(l *lab) {
		s := nodePort(l.service("web"), clusterPolicy)
		l.put(s, l.slice(s, ready(l.a1, l.b1)...))
		for _, n := range []*node{l.a, l.b} {
			l.reaches(l.out, port30080(n), n.face, l.a1, l.b1)
		}
		l.put(l.slice(s, ready(l.b1)...))
		l.reaches(l.out, port30080(l.a), l.a.self(), l.b1) // also from a node without an endpoint
		l.put(l.slice(s))
		l.refused(l.out, port30080(l.a))
		l.refused(l.out, port30080(l.b))
	})
}

func TestP35_LocalPolicyKeepsTheSource(t *testing.T) {
	each(t, func(l *lab) {
		s := nodePort(l.service("web"), localPolicy)
		l.put(s, l.slice(s, ready(l.a1, l.a2, l.b1)...))
		l.reaches(l.out, port30080(l.a), l.out.self(), l.a1, l.a2)
		l.reaches(l.out, port30080(l.b), l.out.self(), l.b1)
		l.put(l.slice(s, ready(l.b1)...))
		l.silent(port30080(l.a), l.out) // none here, some elsewhere
		l.put(l.slice(s))
		l.refused(l.out, port30080(l.a)) // none anywhere
	})
}

func TestP36_PodToItsNodesPort(t *testing.T) {
	each(t, func(l *lab) {
		s := nodePort(l.service("web"), localPolicy)
		l.put(s, l.slice(s, ready(l.a1, l.b1)...))
		l.reaches(l.a2, port30080(l.a), l.a2.self(), l.a1, l.b1)
		l.put(l.slice(s, ready(l.b1)...))
		l.reaches(l.a2, port30080(l.a), l.a2.self(), l.b1)
		l.put(l.slice(s))
		l.refused(l.a2, port30080(l.a))
	})
}

func TestP37_PodToAnotherNodesPort(t *testing.T) {
	each(t, func(l *lab) {
		s := nodePort(l.service("web"), localPolicy)
		l.put(s, l.slice(s, ready(l.a1, l.b1, l.b2)...))
		l.reaches(l.a2, port30080(l.b), l.a2.self(), l.b1, l.b2)
		l.reaches(l.a.machine, port30080(l.b), l.a.self(), l.b1, l.b2)
		l.put(l.slice(s, ready(l.a1)...))
		l.silent(port30080(l.b), l.a2, l.a.machine)
	})
}

func TestP38_NodeToItsOwnPort(t *testing.T) {
	each(t, func(l *lab) {
		s := nodePort(l.service("web"), localPolicy)
		l.put(s, l.slice(s, ready(l.a1, l.b1)...))
		l.reaches(l.a.machine, port30080(l.a), l.a.face, l.a1, l.b1)
		l.put(l.slice(s, ready(l.b1)...))
		l.reaches(l.a.machine, port30080(l.a), l.a.self(), l.b1)
		l.put(l.slice(s))
		l.refused(l.a.machine, port30080(l.a))
	})
}

func TestP39_LoadBalancerClusterPolicy(t *testing.T) {
	each(t, func(l *lab) {
		s := balanced(l.service("web"), l.ext(1), clusterPolicy)
		l.put(s, l.slice(s, ready(l.a1, l.b1)...))
		for _, n := range []*node{l.a, l.b} {
			l.enter(n)
			l.reaches(l.out, l.ext(1), n.face, l.a1, l.b1)
		}
		l.put(l.slice(s))
		l.refused(l.out, l.ext(1))
	})
}

func TestP40_LoadBalancerLocalPolicy(t *testing.T) {
	each(t, func(l *lab) {
		s := balanced(l.service("web"), l.ext(1), localPolicy)
		l.put(s, l.slice(s, ready(l.a1, l.b1)...))
		l.reaches(l.out, l.ext(1), l.out.self(), l.a1)
		l.enter(l.b)
		l.reaches(l.out, l.ext(1), l.out.self(), l.b1)
		l.put(l.slice(s, ready(l.a1)...))
		l.silent(l.ext(1), l.out)
		l.put(l.slice(s))
		l.refused(l.out, l.ext(1))
	})
}

func TestP41_PodToLoadBalancerStaysInside(t *testing.T) {
	each(t, func(l *lab) {
		s := balanced(l.service("web"), l.ext(1), localPolicy)
		l.put(s, l.slice(s, ready(l.a1, l.b1)...))
		l.reaches(l.a2, l.ext(1), l.a2.self(), l.a1, l.b1)
		l.reaches(l.b2, l.ext(1), l.b2.self(), l.a1, l.b1)
		l.put(l.slice(s, ready(l.b1)...))
		l.reaches(l.a2, l.ext(1), l.a2.self(), l.b1)
		l.put(l.slice(s))
		l.refused(l.a2, l.ext(1))
	})
}

func TestP42_NodeToLoadBalancer(t *testing.T) {
	each(t, func(l *lab) {
		s := balanced(l.service("web"), l.ext(1), localPolicy)
		l.put(s, l.slice(s, ready(l.a1, l.b1)...))
		l.reaches(l.a.machine, l.ext(1), l.a.face, l.a1, l.b1)
		l.put(l.slice(s, ready(l.b1)...))
		l.reaches(l.a.machine, l.ext(1), l.a.self(), l.b1)
	})
}

func TestP43_ExternalIPs(t *testing.T) {
	each(t, func(l *lab) {
		cluster, local := external(l.service("cluster"), l.ext(1), clusterPolicy), external(l.service("local"), l.ext(2), localPolicy)
		l.put(cluster, l.slice(cluster, ready(l.a1, l.b1)...), local, l.slice(local, ready(l.a1, l.b1)...))
		l.reaches(l.out, l.ext(1), l.a.face, l.a1, l.b1)
		l.reaches(l.a2, l.ext(1), l.a2.self(), l.a1, l.b1)
		l.reaches(l.a.machine, l.ext(1), l.a.face, l.a1, l.b1)
		l.reaches(l.out, l.ext(2), l.out.self(), l.a1)
		l.reaches(l.a2, l.ext(2), l.a2.self(), l.a1, l.b1)
		l.put(l.slice(local, ready(l.b1)...))
		l.silent(l.ext(2), l.out)
		l.put(l.slice(local), l.slice(cluster))
		l.refused(l.out, l.ext(1))
		l.refused(l.out, l.ext(2))
	})
}

// Of two Services with one address the elder has it, with its own policy and
// ranges and nothing of the other's.
func TestP43_TheElderHasASharedAddress(t *testing.T) {
	each(t, func(l *lab) {
		elder, younger := external(l.service("elder"), l.ext(1), clusterPolicy), balanced(l.service("younger"), l.ext(1), localPolicy)
		younger.Spec.LoadBalancerSourceRanges = []string{bare(l.f.elsewhere).String()}
		elder.CreationTimestamp, younger.CreationTimestamp = metav1.Unix(1000, 0), metav1.Unix(2000, 0)
		l.put(younger, l.slice(younger, ready(l.a1)...))
		l.silent(l.ext(1), l.out, l.a2)
		l.put(elder, l.slice(elder, ready(l.b1)...))
		l.reaches(l.out, l.ext(1), l.a.self(), l.b1)
		l.reaches(l.a2, l.ext(1), l.a2.self(), l.b1)
		l.reaches(l.a.machine, l.ext(1), l.a.self(), l.b1)
		l.remove(elder)
		l.silent(l.ext(1), l.out, l.a2)
	})
}

// A node's address as an external address takes no node port away from an older Service.
func TestP43_TheElderKeepsItsNodePort(t *testing.T) {
	each(t, func(l *lab) {
		elder := nodePort(l.service("elder"), clusterPolicy)
		younger := external(l.service("younger"), port30080(l.a), clusterPolicy)
		for i := range younger.Spec.Ports {
			younger.Spec.Ports[i].Port = 30080
		}
		elder.CreationTimestamp, younger.CreationTimestamp = metav1.Unix(1000, 0), metav1.Unix(2000, 0)
		l.put(elder, l.slice(elder, ready(l.b1)...), younger, l.slice(younger, ready(l.a1)...))
		l.reaches(l.out, port30080(l.a), l.a.self(), l.b1)
		l.remove(elder)
		l.reaches(l.out, port30080(l.a), []netip.Addr{l.a.ip, l.f.gateways[0]}, l.a1)
	})
}

// A load balancer that is a proxy, or known by name only, is not bypassed.
func TestP44_ProxyModeIsLeftAlone(t *testing.T) {
	each(t, func(l *lab) {
		s := balanced(l.service("web"), l.ext(1), clusterPolicy)
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{
			{IP: l.ext(1).Addr().String(), IPMode: ptr.To(corev1.LoadBalancerIPModeProxy)},
			{Hostname: "lb.example.com"},
			{IP: l.ext(2).Addr().String(), IPMode: ptr.To(corev1.LoadBalancerIPModeVIP)},
		}
		// The load balancer itself is the client's machine here.
		l.out.Address(bare(l.ext(1).Addr()))
		l.router.Via(l.out.ip, bare(l.ext(1).Addr()))
		l.out.Serve(l.ext(1), "balancer")
		l.put(s, l.slice(s, ready(l.a1)...))
		balancer := machine{name: "balancer"}
		l.reaches(l.a2, l.ext(1), l.a.self(), balancer)
		l.reaches(l.a.machine, l.ext(1), l.a.self(), balancer)
		l.reaches(l.a2, l.ext(2), l.a2.self(), l.a1)
		changed := s.DeepCopy()
		changed.Status.LoadBalancer.Ingress[0].IPMode = nil // the API's default is VIP
		l.put(changed)
		l.reaches(l.a2, l.ext(1), l.a2.self(), l.a1)
	})
}

func TestP45_SourceRanges(t *testing.T) {
	each(t, func(l *lab) {
		s := external(balanced(l.service("web"), l.ext(1), clusterPolicy), l.ext(2), clusterPolicy)
		s.Spec.LoadBalancerSourceRanges = []string{bare(l.f.elsewhere).String(), " " + bare(l.a2.ip).String()}
		l.put(s, l.slice(s, ready(l.b1)...))
		l.silent(l.ext(1), l.out, l.a1, l.a.machine)
		allowed := both(l.ext(1), 4)
		for i := range allowed {
			allowed[i].Source = l.f.elsewhere
		}
		l.hits(l.out, allowed, l.a.self(), l.b1)
		l.reaches(l.a2, l.ext(1), l.a2.self(), l.b1)
		for _, open := range []netip.AddrPort{vip(s), l.ext(2), port30080(l.a)} { // those are not limited
			l.reaches(l.out, open, l.a.self(), l.b1)
		}
		s = s.DeepCopy()
		s.Spec.LoadBalancerSourceRanges = nil
		l.put(s)
		l.reaches(l.out, l.ext(1), l.a.self(), l.b1)
	})
}

// Ranges also hold under policy Local, where the client's address is kept.
func TestP45_SourceRangesWithLocalPolicy(t *testing.T) {
	each(t, func(l *lab) {
		s := balanced(l.service("web"), l.ext(1), localPolicy)
		s.Annotations = map[string]string{"service.beta.kubernetes.io/load-balancer-source-ranges": bare(l.f.elsewhere).String()}
		l.put(s, l.slice(s, ready(l.a1)...))
		l.silent(l.ext(1), l.out, l.a2, l.a.machine)
		allowed := both(l.ext(1), 4)
		for i := range allowed {
			allowed[i].Source = l.f.elsewhere
		}
		l.hits(l.out, allowed, []netip.Addr{l.f.elsewhere}, l.a1)
	})
}

// A load balancer may give its address to nodes as well; a node that is in the
// ranges then asks with that address as its own.
func TestP45_NodeThatHoldsTheAddress(t *testing.T) {
	each(t, func(l *lab) {
		s := balanced(l.service("web"), l.ext(1), clusterPolicy)
		s.Spec.LoadBalancerSourceRanges = []string{bare(l.a.ip).String()}
		l.a.Address(bare(l.ext(1).Addr()))
		l.b.Address(bare(l.ext(1).Addr()))
		l.put(s, l.slice(s, ready(l.a1, l.b1)...))
		l.reaches(l.a.machine, l.ext(1), l.a.face, l.a1, l.b1)
		l.silent(l.ext(1), l.b.machine, l.out)
	})
}

// As in kube-proxy's nftables mode, a node port is no loopback port.
func TestP46_LoopbackIsNotServed(t *testing.T) {
	each(t, func(l *lab) {
		s := nodePort(l.service("web"), clusterPolicy)
		l.put(s, l.slice(s, ready(l.a1, l.b1)...))
		loopback := netip.MustParseAddr("127.0.0.1")
		if l.a.ip.Is6() {
			loopback = netip.IPv6Loopback()
		}
		l.refused(l.a.machine, netip.AddrPortFrom(loopback, 30080))
	})
}

func TestP47_NodePortsOnThePrimaryAddressOnly(t *testing.T) {
	each(t, func(l *lab) {
		other := netip.AddrPortFrom(l.f.gateways[0], 30080)
		s := nodePort(l.service("web"), clusterPolicy)
		l.put(s, l.slice(s, ready(l.a1, l.b1)...))
		l.refused(l.a2, other)
		l.refused(l.a.machine, other)
		l.reaches(l.a2, port30080(l.a), l.a2.self(), l.a1, l.b1)
	})
}

func TestP57_InternalPolicyIsNotForTheOutside(t *testing.T) {
	each(t, func(l *lab) {
		s := internalLocal(external(balanced(l.service("web"), l.ext(1), clusterPolicy), l.ext(2), clusterPolicy))
		l.put(s, l.slice(s, ready(l.a1, l.b1)...))
		for _, to := range []netip.AddrPort{l.ext(1), l.ext(2), port30080(l.a)} {
			l.reaches(l.out, to, l.a.face, l.a1, l.b1)
			l.reaches(l.a2, to, l.a2.self(), l.a1, l.b1)
		}
		l.reaches(l.a2, vip(s), l.a2.self(), l.a1)
	})
}

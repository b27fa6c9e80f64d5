// Package lbtest makes random Services, EndpointSlices and packets, for tests
// that hold several implementations of the same rules against each other.
package lbtest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/lb"
)

// Universe is the set of names and addresses a test draws from, all of one IP
// family. An empty list leaves out what would be drawn from it.
type Universe struct {
	Nodes    []string       // at least two; the first has the pods of Here
	Zones    []string       // may hold the empty zone
	Services netip.Prefix   // the range of cluster addresses
	Here     []netip.Addr   // endpoints on the first node
	Away     []netip.Addr   // endpoints on the other nodes
	Abroad   []netip.Addr   // endpoints on no node
	External []netip.Addr   // external and load balancer addresses; several Services may claim one
	Ports    []int32        // the ports of endpoints
	Sources  []netip.Prefix // for loadBalancerSourceRanges
}

// Service returns a random Service with the given name and number; the number
// makes its cluster address and node ports unique.
func (u Universe) Service(rnd *rand.Rand, n int) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprint("s", n),
		CreationTimestamp: metav1.Unix(int64(rnd.IntN(1000)), 0)}}
	s.Spec.ClusterIP = nth(u.Services, 257+n).String()
	s.Spec.ClusterIPs = []string{s.Spec.ClusterIP}
	s.Spec.Type = pick(rnd, corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer)
	policies := []corev1.ServiceInternalTrafficPolicy{corev1.ServiceInternalTrafficPolicyCluster, corev1.ServiceInternalTrafficPolicyLocal}
	s.Spec.InternalTrafficPolicy = ptr.To(pick(rnd, policies...))
	together := rnd.IntN(2) == 0 // the same number for TCP and UDP
	for i := range 1 + rnd.IntN(2) {
		p := corev1.ServicePort{Name: fmt.Sprint("p", i), Port: int32(80 + i),
			Protocol: pick(rnd, corev1.ProtocolTCP, corev1.ProtocolTCP, corev1.ProtocolUDP)}
		if together && i > 0 {
			p.Port, p.Protocol = 80, other(s.Spec.Ports[0].Protocol)
		}
		s.Spec.Ports = append(s.Spec.Ports, p)
	}
	if s.Spec.Type != corev1.ServiceTypeClusterIP {
		for i := range s.Spec.Ports {
			s.Spec.Ports[i].NodePort = int32(30000+2*n) + s.Spec.Ports[i].Port - 80
		}
	}
	if rnd.IntN(3) == 0 {
		s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	}
	if len(u.External) > 0 {
		u.addExternal(rnd, s)
	}
	if s.Spec.Type != corev1.ServiceTypeClusterIP || len(s.Spec.ExternalIPs) > 0 {
		s.Spec.ExternalTrafficPolicy = pick(rnd, corev1.ServiceExternalTrafficPolicyCluster, corev1.ServiceExternalTrafficPolicyLocal)
	}
	if how := rnd.IntN(12); how < 4 { // through the engine, or nearly
		if s.Annotations == nil {
			s.Annotations = map[string]string{}
		}
		s.Annotations[api.AnnotationL7] = []string{api.L7HTTP, api.L7HTTP, api.L7Gateway, "tcp"}[how]
	}
	switch rnd.IntN(30) { // now and then one that is nobody's business
	case 0:
		s.Labels = map[string]string{"service.kubernetes.io/service-proxy-name": "other"}
	case 1:
		s.Labels = map[string]string{"service.kubernetes.io/headless": ""}
	}
	return s
}

func other(p corev1.Protocol) corev1.Protocol {
	if p == corev1.ProtocolUDP {
		return corev1.ProtocolTCP
	}
	return corev1.ProtocolUDP
}

// addExternal gives some Services addresses for the outside, and some of those
// limits to who may use them.
func (u Universe) addExternal(rnd *rand.Rand, s *corev1.Service) {
	if rnd.IntN(4) == 0 {
		s.Spec.ExternalIPs = []string{pick(rnd, u.External...).String()}
	}
	if s.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return
	}
	in := corev1.LoadBalancerIngress{IP: pick(rnd, u.External...).String()}
	in.IPMode = pick(rnd, nil, nil, ptr.To(corev1.LoadBalancerIPModeVIP), ptr.To(corev1.LoadBalancerIPModeProxy))
	s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{in, {Hostname: "lb.example.com"}}
	if len(u.Sources) == 0 || rnd.IntN(2) == 0 {
		return
	}
	for range 1 + rnd.IntN(3) {
		s.Spec.LoadBalancerSourceRanges = append(s.Spec.LoadBalancerSourceRanges, pick(rnd, u.Sources...).String())
	}
	if rnd.IntN(4) == 0 { // the older spelling
		s.Annotations = map[string]string{"service.beta.kubernetes.io/load-balancer-source-ranges": strings.Join(s.Spec.LoadBalancerSourceRanges, ", ")}
		s.Spec.LoadBalancerSourceRanges = nil
	}
}

// nth is the address n places after the first of a range.
func nth(in netip.Prefix, n int) netip.Addr {
	b := in.Addr().AsSlice()
	for i := len(b) - 1; n > 0; i-- {
		n += int(b[i])
		b[i] = byte(n)
		n >>= 8
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}

// Slices returns random EndpointSlices of the Service numbered n, in which
// some endpoints may be mentioned twice.
func (u Universe) Slices(rnd *rand.Rand, n int) []*discoveryv1.EndpointSlice {
	var all []*discoveryv1.EndpointSlice
	hints := rnd.IntN(4) // how many endpoints in four carry hints
	for i := range pick(rnd, 0, 1, 1, 2, 2) {
		s := &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("s%d-%d", n, i),
				Labels: map[string]string{discoveryv1.LabelServiceName: fmt.Sprint("s", n)}},
			AddressType: discoveryv1.AddressTypeIPv4,
		}
		if u.Services.Addr().Is6() {
			s.AddressType = discoveryv1.AddressTypeIPv6
		}
		if rnd.IntN(20) == 0 {
			s.Labels["service.kubernetes.io/service-proxy-name"] = "other"
		}
		for p := range 1 + rnd.IntN(2) {
			for _, proto := range []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP} {
				s.Ports = append(s.Ports, discoveryv1.EndpointPort{
					Name: ptr.To(fmt.Sprint("p", p)), Port: ptr.To(u.Ports[p%len(u.Ports)]), Protocol: ptr.To(proto)})
			}
		}
		if rnd.IntN(5) == 0 {
			s.Annotations = map[string]string{api.AnnotationWeight: pick(rnd, "1", "2", "3", "9", "70", "100", "0", "x", "-1")}
			if rnd.IntN(3) == 0 {
				s.Annotations[api.AnnotationWeightGroup] = "g"
			}
		}
		for range rnd.IntN(7) {
			s.Endpoints = append(s.Endpoints, u.endpoint(rnd, hints))
		}
		all = append(all, s)
	}
	return all
}

func (u Universe) endpoint(rnd *rand.Rand, hints int) discoveryv1.Endpoint {
	e := discoveryv1.Endpoint{NodeName: ptr.To(u.Nodes[0])}
	all := slices.Concat(u.Here, u.Away, u.Abroad)
	i := rnd.IntN(len(all))
	e.Addresses = []string{all[i].String()}
	switch {
	case i >= len(u.Here)+len(u.Away):
		e.NodeName = nil
	case i >= len(u.Here):
		e.NodeName = ptr.To(u.Nodes[1+i%(len(u.Nodes)-1)])
	}
	if rnd.IntN(8) == 0 { // only the first counts
		e.Addresses = append(e.Addresses, pick(rnd, all...).String())
	}
	if rnd.IntN(2) > 0 {
		e.Conditions.Ready = ptr.To(rnd.IntN(2) == 0)
	}
	if rnd.IntN(4) > 0 {
		e.Conditions.Serving = ptr.To(rnd.IntN(2) == 0)
	}
	if rnd.IntN(4) > 0 {
		e.Conditions.Terminating = ptr.To(rnd.IntN(2) == 0)
	}
	// Hints hang on the address, so that two mentions agree about them.
	if i%4 < hints {
		e.Hints = &discoveryv1.EndpointHints{}
		if zone := u.Zones[i%len(u.Zones)]; zone != "" {
			e.Hints.ForZones = []discoveryv1.ForZone{{Name: zone}}
		}
		if i%3 > 0 {
			e.Hints.ForNodes = []discoveryv1.ForNode{{Name: u.Nodes[i%len(u.Nodes)]}}
		}
	}
	return e
}

// Destinations lists every address, protocol and port that any of the Services
// mentions, and some that none does, in order.
func Destinations(services []*corev1.Service, node lb.Node) []lb.Packet {
	seen := map[lb.Packet]bool{}
	for _, s := range services {
		addrs := append([]string{s.Spec.ClusterIP}, s.Spec.ExternalIPs...)
		for _, in := range s.Status.LoadBalancer.Ingress {
			if in.IP != "" {
				addrs = append(addrs, in.IP)
			}
		}
		for _, p := range s.Spec.Ports {
			for _, proto := range []lb.Protocol{lb.TCP, lb.UDP} {
				for _, a := range addrs {
					seen[lb.Packet{Dest: netip.AddrPortFrom(netip.MustParseAddr(a), uint16(p.Port)), Proto: proto}] = true
				}
				for _, a := range node.Addrs {
					if p.NodePort != 0 {
						seen[lb.Packet{Dest: netip.AddrPortFrom(a, uint16(p.NodePort)), Proto: proto}] = true
					}
				}
			}
		}
	}
	var all []lb.Packet
	for p := range seen {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b lb.Packet) int { return cmp.Or(a.Dest.Compare(b.Dest), cmp.Compare(a.Proto, b.Proto)) })
	return all
}

func pick[T any](rnd *rand.Rand, from ...T) T { return from[rnd.IntN(len(from))] }

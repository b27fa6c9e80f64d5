// Package lbtest makes random Services, EndpointSlices and packets, for tests
// that hold several implementations of the same rules against each other.
package lbtest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/lb"
)

// Universe is the set of names and addresses a test draws from.
type Universe struct {
	Nodes    []string     // the first is the node under test
	Zones    []string     // may hold the empty zone
	Here     []netip.Addr // pods of the first node
	Away     []netip.Addr // pods of the other nodes
	External []netip.Addr // external and load balancer addresses
	Ports    []int32      // the ports of pods
}

// Service returns a random Service with the given name and number; the number
// makes its cluster address and node ports unique.
func (u Universe) Service(rnd *rand.Rand, n int) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprint("s", n)}}
	s.Spec.ClusterIP = fmt.Sprintf("10.96.%d.%d", 1+n/250, 1+n%250)
	s.Spec.ClusterIPs = []string{s.Spec.ClusterIP}
	s.Spec.Type = pick(rnd, corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer)
	policies := []corev1.ServiceInternalTrafficPolicy{corev1.ServiceInternalTrafficPolicyCluster, corev1.ServiceInternalTrafficPolicyLocal}
	s.Spec.InternalTrafficPolicy = ptr.To(pick(rnd, policies...))
	for i := range 1 + rnd.IntN(2) {
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{
			Name: fmt.Sprint("p", i), Port: int32(80 + i),
			Protocol: pick(rnd, corev1.ProtocolTCP, corev1.ProtocolTCP, corev1.ProtocolUDP),
		})
	}
	if s.Spec.Type != corev1.ServiceTypeClusterIP {
		s.Spec.ExternalTrafficPolicy = pick(rnd, corev1.ServiceExternalTrafficPolicyCluster, corev1.ServiceExternalTrafficPolicyLocal)
		for i := range s.Spec.Ports {
			s.Spec.Ports[i].NodePort = int32(30000 + 2*n + i)
		}
	}
	if rnd.IntN(3) == 0 {
		s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	}
	if n < len(u.External) {
		address := u.External[n].String()
		if s.Spec.Type == corev1.ServiceTypeLoadBalancer {
			s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: address}}
		} else if rnd.IntN(2) == 0 {
			s.Spec.ExternalIPs = []string{address}
		}
	}
	return s
}

// Slices returns random EndpointSlices of the Service numbered n, in which
// some endpoints may be mentioned twice.
func (u Universe) Slices(rnd *rand.Rand, n int) []*discoveryv1.EndpointSlice {
	var all []*discoveryv1.EndpointSlice
	hints := rnd.IntN(4) // how many endpoints in four carry hints
	for i := range rnd.IntN(3) {
		s := &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("s%d-%d", n, i),
				Labels: map[string]string{discoveryv1.LabelServiceName: fmt.Sprint("s", n)}},
			AddressType: discoveryv1.AddressTypeIPv4,
		}
		for p := range 1 + rnd.IntN(2) {
			for _, proto := range []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP} {
				s.Ports = append(s.Ports, discoveryv1.EndpointPort{
					Name: ptr.To(fmt.Sprint("p", p)), Port: ptr.To(u.Ports[p%len(u.Ports)]), Protocol: ptr.To(proto)})
			}
		}
		for range rnd.IntN(5) {
			s.Endpoints = append(s.Endpoints, u.endpoint(rnd, hints))
		}
		all = append(all, s)
	}
	return all
}

func (u Universe) endpoint(rnd *rand.Rand, hints int) discoveryv1.Endpoint {
	e := discoveryv1.Endpoint{NodeName: ptr.To(u.Nodes[0])}
	i := rnd.IntN(len(u.Here) + len(u.Away))
	if i < len(u.Here) {
		e.Addresses = []string{u.Here[i].String()}
	} else {
		e.Addresses = []string{u.Away[i-len(u.Here)].String()}
		e.NodeName = ptr.To(u.Nodes[1+i%(len(u.Nodes)-1)])
	}
	if rnd.IntN(4) > 0 {
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
// mentions, and some that none does.
func Destinations(services []*corev1.Service, node lb.Node) []lb.Packet {
	seen := map[lb.Packet]bool{}
	for _, s := range services {
		addrs := append([]string{s.Spec.ClusterIP}, s.Spec.ExternalIPs...)
		for _, in := range s.Status.LoadBalancer.Ingress {
			addrs = append(addrs, in.IP)
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
	return all
}

func pick[T any](rnd *rand.Rand, from ...T) T { return from[rnd.IntN(len(from))] }

package packet

import (
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

const (
	clusterPolicy = corev1.ServiceExternalTrafficPolicyCluster
	localPolicy   = corev1.ServiceExternalTrafficPolicyLocal
)

// service is a new ClusterIP Service with port 80, for TCP and UDP, to port 8080.
func (l *lab) service(name string) *corev1.Service {
	l.named++
	ip := nth(l.f.services, 100+l.named).String()
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprint(name, "-", l.named)}}
	s.Spec.Type = corev1.ServiceTypeClusterIP
	s.Spec.ClusterIP, s.Spec.ClusterIPs = ip, []string{ip}
	s.Spec.Ports = []corev1.ServicePort{
		{Name: "tcp", Port: 80, Protocol: corev1.ProtocolTCP}, {Name: "udp", Port: 80, Protocol: corev1.ProtocolUDP},
	}
	return s
}

// nodePort turns a Service into one of type NodePort, on port 30080.
func nodePort(s *corev1.Service, policy corev1.ServiceExternalTrafficPolicy) *corev1.Service {
	s.Spec.Type, s.Spec.ExternalTrafficPolicy = corev1.ServiceTypeNodePort, policy
	for i := range s.Spec.Ports {
		s.Spec.Ports[i].NodePort = 30080
	}
	return s
}

// balanced turns a Service into one of type LoadBalancer, with node port 30080
// and the load balancer's address.
func balanced(s *corev1.Service, at netip.AddrPort, policy corev1.ServiceExternalTrafficPolicy) *corev1.Service {
	nodePort(s, policy)
	s.Spec.Type = corev1.ServiceTypeLoadBalancer
	s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: at.Addr().String()}}
	return s
}

// external gives a Service an external address.
func external(s *corev1.Service, at netip.AddrPort, policy corev1.ServiceExternalTrafficPolicy) *corev1.Service {
	s.Spec.ExternalIPs = append(s.Spec.ExternalIPs, at.Addr().String())
	s.Spec.ExternalTrafficPolicy = policy
	return s
}

func internalLocal(s *corev1.Service) *corev1.Service {
	s.Spec.InternalTrafficPolicy = ptr.To(corev1.ServiceInternalTrafficPolicyLocal)
	return s
}

func sticky(s *corev1.Service, seconds int32) *corev1.Service {
	s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
	s.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: ptr.To(seconds)}}
	return s
}

// vip is where a Service's cluster address answers.
func vip(s *corev1.Service) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(s.Spec.ClusterIP), 80)
}

// port30080 is where a node's node port is.
func port30080(n *node) netip.AddrPort { return netip.AddrPortFrom(n.ip, 30080) }

// ext is the nth address of load balancers and externalIPs, with port 80.
func (l *lab) ext(n int) netip.AddrPort { return netip.AddrPortFrom(nth(l.f.external, n), 80) }

// slice is the one EndpointSlice of a Service, with both of its ports.
func (l *lab) slice(of *corev1.Service, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: of.Namespace, Name: of.Name + "-1",
		Labels: map[string]string{discoveryv1.LabelServiceName: of.Name}}, AddressType: discoveryv1.AddressTypeIPv4,
		Ports: []discoveryv1.EndpointPort{
			{Name: ptr.To("tcp"), Port: ptr.To[int32](8080), Protocol: ptr.To(corev1.ProtocolTCP)},
			{Name: ptr.To("udp"), Port: ptr.To[int32](8080), Protocol: ptr.To(corev1.ProtocolUDP)},
		}, Endpoints: endpoints}
	if l.f.cluster.Addr().Is6() {
		s.AddressType = discoveryv1.AddressTypeIPv6
	}
	return s
}

func (m machine) endpoint(ready, serving, terminating bool) discoveryv1.Endpoint {
	e := discoveryv1.Endpoint{Addresses: []string{m.ip.String()}, Conditions: discoveryv1.EndpointConditions{
		Ready: ptr.To(ready), Serving: ptr.To(serving), Terminating: ptr.To(terminating)}}
	if m.node != "" {
		e.NodeName = ptr.To(m.node)
	}
	return e
}

func (m machine) ready() discoveryv1.Endpoint    { return m.endpoint(true, true, false) }
func (m machine) notReady() discoveryv1.Endpoint { return m.endpoint(false, false, false) }
func (m machine) draining() discoveryv1.Endpoint { return m.endpoint(false, true, true) }
func (m machine) dying() discoveryv1.Endpoint    { return m.endpoint(false, false, true) }

func ready(all ...machine) []discoveryv1.Endpoint {
	var endpoints []discoveryv1.Endpoint
	for _, m := range all {
		endpoints = append(endpoints, m.ready())
	}
	return endpoints
}

package health

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
)

// Port returns the port on which a Service's health is asked for, zero if it is not: only a LoadBalancer with
// externalTrafficPolicy Local has one (rules S70, P90; kube-proxy). A nil Service has none.
func Port(svc *corev1.Service) uint16 {
	if svc == nil || api.OthersServe(svc) || svc.Spec.Type != corev1.ServiceTypeLoadBalancer ||
		svc.Spec.ExternalTrafficPolicy != corev1.ServiceExternalTrafficPolicyLocal {
		return 0
	}
	if p := svc.Spec.HealthCheckNodePort; p > 0 && p <= 65535 {
		return uint16(p)
	}
	return 0
}

// Serves reports whether the Service has an address of the family: without one a listener of that family would
// answer for traffic that cannot arrive.
func Serves(svc *corev1.Service, ipv6 bool) bool {
	return slices.ContainsFunc(api.Families(svc), func(f corev1.IPFamily) bool { return (f == corev1.IPv6Protocol) == ipv6 })
}

// endpointsOn is how many of a Service's endpoints a node has: of a Gateway's the engine is one, wherever there is an engine.
func (s *Server) endpointsOn(name types.NamespacedName, ipv6 bool) int {
	svc, slices := s.world.Service(name)
	if s.cfg.Engine && svc != nil && svc.Annotations[api.AnnotationL7] == api.L7Gateway {
		return 1
	}
	return LocalEndpoints(slices, s.cfg.NodeName, ipv6)
}

// LocalEndpoints counts the ready endpoints that a Service has on the named node, by address: several ports of
// one pod are one endpoint. A terminating endpoint is not ready and does not count, although it may still get
// traffic while it serves (rules P90, P91; kube-proxy). One that is published regardless of readiness
// carries ready=true and counts.
func LocalEndpoints(all []*discoveryv1.EndpointSlice, node string, ipv6 bool) int {
	family := discoveryv1.AddressTypeIPv4
	if ipv6 {
		family = discoveryv1.AddressTypeIPv6
	}
	found := map[string]struct{}{}
	for _, s := range all {
		if s.AddressType != family || !hasPort(s) || api.OthersServe(s) {
			continue
		}
		for _, e := range s.Endpoints {
			if api.EndpointReady(&e.Conditions) && len(e.Addresses) > 0 && e.NodeName != nil && *e.NodeName == node {
				found[e.Addresses[0]] = struct{}{}
			}
		}
	}
	return len(found)
}

// hasPort reports whether the slice's endpoints can be reached at all (rule P2).
func hasPort(s *discoveryv1.EndpointSlice) bool {
	for _, p := range s.Ports {
		if p.Name != nil && p.Port != nil {
			return true
		}
	}
	return false
}

package lb

import (
	"maps"
	"slices"

	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"fairlead.dev/fairlead/api"
)

// Where the L7 engine of every node takes connections to Services: addresses of the node's own link, the same on all, that mean
// nothing beyond it. The first is link-local, of the block that no host may choose for itself (RFC 3927, 2.1). A link-local
// one of IPv6 could only be reached by packets of its own link, so the second is unique local (RFC 4193). They are nobody's
// frontend (P63, P113).
var (
	EngineIPv4 = netip.MustParseAddrPort("169.254.255.70:7070")
	EngineIPv6 = netip.MustParseAddrPort("[fd66:6169:726c:6561::70]:7070")
)

// throughEngine reports whether connections to a port are for the L7 engine (P110, P111). A Gateway's Service has nothing else
// that could serve it; any other is balanced as ever where there is no engine. UDP is always balanced as ever.
func throughEngine(s *corev1.Service, port *corev1.ServicePort, node Node) bool {
	if ProtocolOf(port.Protocol) != TCP {
		return false
	}
	how := s.Annotations[api.AnnotationL7]
	return how == api.L7Gateway || how == api.L7HTTP && node.Engine.IsValid()
}

// engineSet is the set of a port that the engine serves: the engine of this node is the only backend. What the Service says of
// its endpoints is for the engine to follow, see Endpoints.
func engineSet(port *corev1.ServicePort, node Node) Set {
	s := Set{Port: port.Name, Proto: TCP, Scope: Cluster, Verdict: Refuse}
	if node.Engine.IsValid() {
		s.Verdict, s.Backends = Forward, []Backend{{Addr: node.Engine, Local: true}}
	}
	return s
}

// Endpoints returns what connections to one port of a Service would be balanced over by the kernel under a scope, as node sees
// it, in the IP family of node: what an L7 engine picks from, so that the two cannot disagree (P114). It does not matter whether
// the Service has an address. A Verdict other than Forward says why there are no Backends.
func Endpoints(service *corev1.Service, endpointSlices []*discoveryv1.EndpointSlice, port *corev1.ServicePort, scope Scope, node Node) Set {
	if service.Spec.ClusterIP == corev1.ClusterIPNone { // its slices are for names only to the kernel, and endpoints to the engine
		endpointSlices = slices.Clone(endpointSlices)
		for i, s := range endpointSlices {
			named := *s
			named.Labels = maps.Clone(s.Labels)
			delete(named.Labels, corev1.IsHeadlessService)
			endpointSlices[i] = &named
		}
	}
	return newSet(service, endpointSlices, port, scope, collect(endpointSlices, port, node), node)
}

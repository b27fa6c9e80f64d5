package plan

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/api"
)

// Topology says what became of a Service's wish for hints in mode Auto, by address family: empty
// when they were given, otherwise why not. It is nil when the Service has no such wish.
type Topology map[discoveryv1.AddressType]string

// hint decides which zones and nodes each endpoint is meant for. A proxy follows hints only when
// every ready endpoint has them (rule E95).
//
// trafficDistribution PreferClose and its newer name PreferSameZone give each ready endpoint its
// own zone (rule E90), PreferSameNode its node as well (rule E91). Endpoints that are not ready
// keep what they have. The annotation for mode Auto overrides it (rule E93). Anything else removes
// all hints (rule E92).
func hint(svc *corev1.Service, groups map[group]*desired, nodes map[string]*corev1.Node) Topology {
	if Automatic(svc) {
		return balanceFamilies(svc, groups, nodes)
	}
	switch ptr.Deref(svc.Spec.TrafficDistribution, "") {
	case corev1.ServiceTrafficDistributionPreferClose, corev1.ServiceTrafficDistributionPreferSameZone:
		keepClose(groups, false)
	case corev1.ServiceTrafficDistributionPreferSameNode:
		keepClose(groups, true)
	}
	return nil
}

// balanceFamilies balances each address family by itself.
func balanceFamilies(svc *corev1.Service, groups map[group]*desired, nodes map[string]*corev1.Node) Topology {
	outcome := Topology{}
	for _, family := range api.Families(svc) {
		var endpoints []*desiredEndpoint
		for g, want := range groups {
			if g.family != api.AddressType(family) {
				continue
			}
			for i := range want.endpoints {
				endpoints = append(endpoints, &want.endpoints[i])
			}
		}
		outcome[api.AddressType(family)] = balance(endpoints, nodes)
	}
	return outcome
}

// keepClose gives every ready endpoint its own zone, and its node if that is wanted.
func keepClose(groups map[group]*desired, nodes bool) {
	for _, want := range groups {
		for i := range want.endpoints {
			e := &want.endpoints[i]
			if !*e.endpoint.Conditions.Ready {
				e.anyHints = true
				continue
			}
			e.endpoint.Hints = closeTo(&e.endpoint, nodes)
		}
	}
}

// closeTo returns the hints that keep traffic near an endpoint; nil when its place is unknown.
func closeTo(ep *discoveryv1.Endpoint, nodes bool) *discoveryv1.EndpointHints {
	hints := &discoveryv1.EndpointHints{}
	if ep.Zone != nil {
		hints.ForZones = []discoveryv1.ForZone{{Name: *ep.Zone}}
	}
	if nodes && ep.NodeName != nil {
		hints.ForNodes = []discoveryv1.ForNode{{Name: *ep.NodeName}}
	}
	if len(hints.ForZones)+len(hints.ForNodes) == 0 {
		return nil
	}
	return hints
}

package endpoints

import (
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"
)

// hint decides which zones and nodes each endpoint is meant for. A proxy follows hints only when
// every ready endpoint has them (rule E95).
//
// trafficDistribution PreferClose and its newer name PreferSameZone give each ready endpoint its
// own zone (rule E90), PreferSameNode its node as well (rule E91). Endpoints that are not ready
// keep what they have. Anything else removes all hints (rule E92).
func hint(svc *corev1.Service, groups map[group]*roster) {
	zones, nodes := false, false
	switch ptr.Deref(svc.Spec.TrafficDistribution, "") {
	case corev1.ServiceTrafficDistributionPreferClose, corev1.ServiceTrafficDistributionPreferSameZone:
		zones = true
	case corev1.ServiceTrafficDistributionPreferSameNode:
		zones, nodes = true, true
	default:
		return
	}
	for _, want := range groups {
		for i := range want.members {
			m := &want.members[i]
			if !*m.endpoint.Conditions.Ready {
				m.anyHints = true
				continue
			}
			m.endpoint.Hints = closeTo(&m.endpoint, zones, nodes)
		}
	}
}

// closeTo returns the hints that keep traffic near an endpoint; nil when its place is unknown.
func closeTo(ep *discoveryv1.Endpoint, zones, nodes bool) *discoveryv1.EndpointHints {
	hints := &discoveryv1.EndpointHints{}
	if zones && ep.Zone != nil {
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

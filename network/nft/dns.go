package nft

import (
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/nft/plan"
)

// service is what the World says of a Service, and of the DNS Service what it
// means here: only the other nodes' servers, and nothing if there are none of
// this family. Its label that keeps proxies away is for those that do not serve
// it themselves.
func (p *Proxy) service(f *plan.Family, name types.NamespacedName) (*corev1.Service, []*discoveryv1.EndpointSlice) {
	service, all := p.world.Service(name)
	if service == nil || !slices.Contains(p.dns, service.Spec.ClusterIP) {
		return service, all
	}
	elsewhere, others := make([]*discoveryv1.EndpointSlice, len(all)), 0
	for i, s := range all {
		s = s.DeepCopy()
		s.Endpoints = slices.DeleteFunc(s.Endpoints, func(e discoveryv1.Endpoint) bool {
			return e.NodeName != nil && *e.NodeName == p.cfg.NodeName
		})
		elsewhere[i] = s
		if (s.AddressType == discoveryv1.AddressTypeIPv6) == f.V6 {
			others += len(s.Endpoints)
		}
	}
	if others == 0 {
		return nil, nil
	}
	service = service.DeepCopy()
	maps.DeleteFunc(service.Labels, func(label, _ string) bool { return label == api.LabelServiceProxyName })
	return service, elsewhere
}

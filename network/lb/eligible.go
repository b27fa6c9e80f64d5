package lb

import (
	"cmp"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"fairlead.dev/fairlead/api"
)

// endpoint is one address and port behind one Service port, with what decides
// whether it may be used.
type endpoint struct {
	addr  netip.AddrPort
	local bool
	ready bool
	// draining is serving and terminating: good enough when nothing is ready.
	draining bool
	nodes    []discoveryv1.ForNode
	zones    []discoveryv1.ForZone
}

func (e endpoint) usable() bool { return e.ready || e.draining } // P15, P16

func (e endpoint) isHinted() bool { return len(e.nodes) > 0 || len(e.zones) > 0 }

func (e endpoint) backend() Backend {
	return Backend{Addr: e.addr, Local: e.local, Terminating: !e.ready}
}

// collect gathers the endpoints of one Service port from all slices, by
// address, each once.
func collect(all []*discoveryv1.EndpointSlice, port *corev1.ServicePort, node Node) []endpoint {
	family := discoveryv1.AddressTypeIPv4
	if node.IPv6 {
		family = discoveryv1.AddressTypeIPv6
	}
	total := 0
	for _, s := range all {
		total += len(s.Endpoints)
	}
	found := make([]endpoint, 0, total)
	for _, s := range all {
		if s.AddressType != family || api.OthersServe(s) { // P1
			continue
		}
		if weight, _, _ := api.Weight(s); weight == 0 { // P21
			continue
		}
		for i := range s.Ports {
			if number, ok := matchPort(&s.Ports[i], port); ok {
				for j := range s.Endpoints {
					if e, ok := newEndpoint(&s.Endpoints[j], number, node); ok {
						found = append(found, e)
					}
				}
			}
		}
	}
	return merge(found)
}

// matchPort applies P2: slices and Services agree on a port by its name.
func matchPort(p *discoveryv1.EndpointPort, port *corev1.ServicePort) (uint16, bool) {
	if p.Name == nil || p.Port == nil || *p.Name != port.Name || *p.Port < 1 || *p.Port > 65535 {
		return 0, false
	}
	var proto corev1.Protocol
	if p.Protocol != nil {
		proto = *p.Protocol
	}
	return uint16(*p.Port), ProtocolOf(proto) == ProtocolOf(port.Protocol)
}

// newEndpoint is one endpoint of a slice on one of its ports, if it is of the node's family.
func newEndpoint(from *discoveryv1.Endpoint, port uint16, node Node) (endpoint, bool) {
	if len(from.Addresses) == 0 {
		return endpoint{}, false
	}
	a, ok := addrOf(from.Addresses[0], node) // P2: only the first
	if !ok {
		return endpoint{}, false
	}
	e := endpoint{
		addr:     netip.AddrPortFrom(a, port),
		local:    from.NodeName != nil && *from.NodeName == node.Name && node.Name != "", // P4
		ready:    api.EndpointReady(&from.Conditions),
		draining: api.EndpointDraining(&from.Conditions),
	}
	if from.Hints != nil {
		e.nodes, e.zones = from.Hints.ForNodes, from.Hints.ForZones
	}
	return e, true
}

// merge applies P3: an address and port listed several times is one endpoint,
// local and ready if any copy is. A terminating copy does not hide a ready one.
func merge(found []endpoint) []endpoint {
	slices.SortStableFunc(found, func(a, b endpoint) int {
		return cmp.Or(a.addr.Compare(b.addr), compareBool(b.ready, a.ready))
	})
	merged := found[:0]
	for _, e := range found {
		if last := len(merged) - 1; last >= 0 && merged[last].addr == e.addr {
			merged[last].local = merged[last].local || e.local
			merged[last].draining = merged[last].draining || e.draining
			continue
		}
		merged = append(merged, e)
	}
	return merged
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

func backendsOf(all []endpoint, keep func(endpoint) bool) []Backend {
	b := make([]Backend, 0, len(all))
	for _, e := range all {
		if keep(e) {
			b = append(b, e.backend())
		}
	}
	return b
}

// eligibleLocal is the Local set: ready endpoints here, else draining ones here (P11).
func eligibleLocal(all []endpoint) []Backend {
	if b := backendsOf(all, func(e endpoint) bool { return e.local && e.ready }); len(b) > 0 {
		return b
	}
	return backendsOf(all, func(e endpoint) bool { return e.local && e.draining })
}

// eligibleCluster is the Cluster set: ready endpoints after topology hints,
// else draining ones anywhere (P10, P19).
func eligibleCluster(all []endpoint, node Node) []Backend {
	if !slices.ContainsFunc(all, func(e endpoint) bool { return e.ready }) {
		return backendsOf(all, func(e endpoint) bool { return e.draining })
	}
	if !slices.ContainsFunc(all, endpoint.isHinted) { // the usual case, for speed
		return backendsOf(all, func(e endpoint) bool { return e.ready })
	}
	chosen := hinted(all, node)
	return backendsOf(all, func(e endpoint) bool { return e.ready && chosen(e) })
}

// hinted applies P12: hints count only if every ready endpoint carries them
// and at least one of them points here; node hints go before zone hints.
func hinted(all []endpoint, node Node) func(endpoint) bool {
	forNode := func(e endpoint) bool {
		return e.ready && slices.ContainsFunc(e.nodes, func(n discoveryv1.ForNode) bool { return n.Name == node.Name })
	}
	forZone := func(e endpoint) bool {
		return e.ready && slices.ContainsFunc(e.zones, func(z discoveryv1.ForZone) bool { return z.Name == node.Zone })
	}
	lacksNodes := func(e endpoint) bool { return e.ready && len(e.nodes) == 0 }
	lacksZones := func(e endpoint) bool { return e.ready && len(e.zones) == 0 }
	switch {
	case !slices.ContainsFunc(all, lacksNodes) && slices.ContainsFunc(all, forNode):
		return forNode
	case node.Zone != "" && !slices.ContainsFunc(all, lacksZones) && slices.ContainsFunc(all, forZone):
		return forZone
	}
	return func(endpoint) bool { return true }
}

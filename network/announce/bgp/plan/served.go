package plan

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/lb"
)

// Served is what this node does with connections to an address of one Service.
type Served struct {
	Addr     netip.Addr
	External bool // of spec.externalIPs
	Verdict  lb.Verdict
}

// Serves lists the addresses of a Service that could be announced, with what becomes of connections to them on this node: they are
// forwarded if those to one of its ports are.
func Serves(svc *corev1.Service, all []*discoveryv1.EndpointSlice, node *corev1.Node, engine []netip.AddrPort) []Served {
	if svc == nil || len(svc.Status.LoadBalancer.Ingress)+len(svc.Spec.ExternalIPs) == 0 {
		return nil
	}
	var found []Served
	for _, ipv6 := range []bool{false, true} {
		at := lb.Node{Name: node.Name, Zone: node.Labels[corev1.LabelTopologyZone], IPv6: ipv6}
		for _, e := range engine {
			if e.Addr().Is6() == ipv6 {
				at.Engine = e
			}
		}
		rows := lb.Derive(svc, all, at)
		for _, f := range rows.Frontends {
			if f.Kind == lb.LoadBalancer || f.Kind == lb.ExternalIP {
				found = merge(found, Served{f.Addr.Addr(), f.Kind == lb.ExternalIP, rows.Set(f.Port, f.Scope).Verdict})
			}
		}
	}
	return found
}

// merge adds what is done with one port of an address. Forwarding one port goes before silence for another, and that before a
// refusal.
func merge(to []Served, s Served) []Served {
	for i := range to {
		if to[i].Addr == s.Addr && to[i].External == s.External {
			if s.Verdict == lb.Forward || s.Verdict == lb.Drop && to[i].Verdict == lb.Refuse {
				to[i].Verdict = s.Verdict
			}
			return to
		}
	}
	return append(to, s)
}

// Announced are the addresses that this node is to announce; true for those that a Service has as an external IP. Services that share an address
// share its route: one that has its endpoints on other nodes alone keeps it from this node.
func Announced(node *corev1.Node, services [][]Served) map[netip.Addr]bool {
	forwards, elsewhere := map[netip.Addr]bool{}, map[netip.Addr]bool{}
	if _, excluded := node.Labels[corev1.LabelNodeExcludeBalancers]; excluded {
		return forwards
	}
	own := api.NodeIPs(node)
	for _, all := range services {
		for _, s := range all {
			switch s.Verdict {
			case lb.Forward:
				forwards[s.Addr] = forwards[s.Addr] || s.External
			case lb.Drop:
				elsewhere[s.Addr] = true
			}
		}
	}
	for addr := range elsewhere {
		delete(forwards, addr)
	}
	for _, addr := range own { // everybody knows where a node itself is
		delete(forwards, addr)
	}
	return forwards
}

package health

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
)

// ServiceSummary is one Service as the whole cluster has it.
type ServiceSummary struct {
	Namespace   string           `json:"namespace"`
	Name        string           `json:"name"`
	Type        string           `json:"type"`
	Addresses   []string         `json:"addresses,omitempty"` // where it answers; an ExternalName's other name
	Ready       int              `json:"readyEndpoints"`
	Total       int              `json:"totalEndpoints"`
	Endpoints   []EndpointStatus `json:"endpoints"`
	Connections uint64           `json:"connections"`        // also to endpoints that are gone
	Since       time.Time        `json:"since,omitzero"`     // when the last node took over the last change
	Nodes       []string         `json:"nodes"`              // that have it in the kernel
	Missing     []string         `json:"missingNodes"`       // that should and do not, or could not be asked
	Needed      bool             `json:"neededInKernel"`     // whether nodes have anything to program
	ServedBy    string           `json:"servedBy,omitempty"` // another proxy, which its label names
}

// EndpointStatus is one address behind a Service.
type EndpointStatus struct {
	Address     string `json:"address"`
	Node        string `json:"node,omitempty"`
	State       string `json:"state"` // ready, not ready or terminating
	Connections uint64 `json:"connections"`
}

// Summarize puts together what the API and the nodes say. Nodes that could not be asked are in unasked.
func Summarize(services []corev1.Service, all []discoveryv1.EndpointSlice, reports []Report, unasked []string) []ServiceSummary {
	slicesOf := map[types.NamespacedName][]*discoveryv1.EndpointSlice{}
	for i := range all {
		name := api.ServiceOf(&all[i])
		slicesOf[name] = append(slicesOf[name], &all[i])
	}
	said := map[types.NamespacedName]map[string]ServiceReport{}
	for _, r := range reports {
		for _, s := range r.Services {
			name := types.NamespacedName{Namespace: s.Namespace, Name: s.Name}
			if said[name] == nil {
				said[name] = map[string]ServiceReport{}
			}
			said[name][r.Node] = s
		}
	}
	summaries := make([]ServiceSummary, 0, len(services))
	for i := range services {
		name := api.Name(&services[i])
		o := summarize(&services[i], slicesOf[name], said[name])
		for _, r := range reports {
			if s, ok := said[name][r.Node]; ok && !s.Programmed.IsZero() {
				o.Nodes = append(o.Nodes, r.Node)
			} else if o.Needed {
				o.Missing = append(o.Missing, r.Node)
			}
		}
		if o.Needed {
			o.Missing = append(o.Missing, unasked...)
		}
		summaries = append(summaries, o)
	}
	slices.SortFunc(summaries, func(a, b ServiceSummary) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return summaries
}

func summarize(svc *corev1.Service, all []*discoveryv1.EndpointSlice, said map[string]ServiceReport) ServiceSummary {
	o := ServiceSummary{Namespace: svc.Namespace, Name: svc.Name, Type: string(svc.Spec.Type), Addresses: addresses(svc), Nodes: []string{}, Missing: []string{},
		Needed: svc.Spec.Type != corev1.ServiceTypeExternalName && !api.Headless(svc)}
	if by, other := svc.Labels[api.LabelServiceProxyName]; other { // rule P1
		o.Needed, o.ServedBy = false, by
	}
	counts := map[string]uint64{}
	for _, s := range said {
		if s.Programmed.After(o.Since) {
			o.Since = s.Programmed
		}
		for _, e := range s.Endpoints {
			counts[e.Address.String()] += e.Connections
			o.Connections += e.Connections
		}
	}
	o.Endpoints = statuses(all, counts)
	o.Ready, o.Total = readiness(svc, o.Endpoints)
	return o
}

// readiness counts endpoints, each once whatever its ports, and those of two families in the Service's first.
func readiness(svc *corev1.Service, all []EndpointStatus) (ready, total int) {
	seen := map[netip.Addr]bool{}
	for _, e := range all {
		ip, err := netip.ParseAddr(e.Address)
		if at, err2 := netip.ParseAddrPort(e.Address); err2 == nil {
			ip, err = at.Addr(), nil
		}
		other := len(svc.Spec.IPFamilies) > 1 && ip.Is6() != (svc.Spec.IPFamilies[0] == corev1.IPv6Protocol)
		if err == nil && (seen[ip] || other) {
			continue
		}
		seen[ip] = err == nil
		if total++; e.State == "ready" {
			ready++
		}
	}
	return ready, total
}

// addresses are where a Service answers, each once.
func addresses(svc *corev1.Service) []string {
	if svc.Spec.Type == corev1.ServiceTypeExternalName {
		return []string{svc.Spec.ExternalName}
	}
	all := slices.Concat(api.ClusterIPs(svc), svc.Spec.ExternalIPs)
	for _, in := range svc.Status.LoadBalancer.Ingress {
		if in.IP != "" {
			all = append(all, in.IP)
		}
	}
	return all
}

// statuses lists the endpoints of all families with their ports, in the order of their addresses.
func statuses(all []*discoveryv1.EndpointSlice, counts map[string]uint64) []EndpointStatus {
	found := map[string]EndpointStatus{}
	for _, s := range all {
		for _, e := range s.Endpoints {
			status := EndpointStatus{State: state(e.Conditions)}
			if e.NodeName != nil {
				status.Node = *e.NodeName
			}
			if len(e.Addresses) == 0 {
				continue
			}
			for _, at := range portsOf(e.Addresses[0], s.Ports) {
				status.Address, status.Connections = at, counts[at]
				if before, ok := found[at]; !ok || before.State != "ready" {
					found[at] = status
				}
			}
		}
	}
	list := make([]EndpointStatus, 0, len(found))
	for _, e := range found {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b EndpointStatus) int {
		x, err1 := netip.ParseAddrPort(a.Address)
		y, err2 := netip.ParseAddrPort(b.Address)
		if err1 != nil || err2 != nil {
			return cmp.Compare(a.Address, b.Address)
		}
		return x.Compare(y)
	})
	return list
}

// portsOf is an address with each of the ports, or alone if there is none.
func portsOf(address string, ports []discoveryv1.EndpointPort) []string {
	ip, err := netip.ParseAddr(address)
	var all []string
	for _, p := range ports {
		if err == nil && p.Port != nil {
			all = append(all, netip.AddrPortFrom(ip, uint16(*p.Port)).String())
		}
	}
	if len(all) == 0 {
		return []string{address}
	}
	return all
}

func state(c discoveryv1.EndpointConditions) string {
	switch {
	case api.EndpointReady(&c): // also one that terminates and is published regardless
		return "ready"
	case c.Terminating != nil && *c.Terminating:
		return "terminating"
	}
	return "not ready"
}

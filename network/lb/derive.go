package lb

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"fairlead.dev/fairlead/api"
)

// Node is what Derive has to know of the node it derives for.
type Node struct {
	Name  string       // matched with the endpoints' nodeName (P4)
	Zone  string       // label topology.kubernetes.io/zone; may be empty
	Addrs []netip.Addr // the addresses on which node ports answer (P47)
	IPv6  bool         // derive the IPv6 rows instead of the IPv4 ones
	// Reserved is what no frontend may be, but by the cluster's own allocation.
	Reserved Reserved
	// Engine is where the node's L7 engine takes connections to Services (P110); zero: the node has none.
	Engine netip.AddrPort
}

// defaultAffinity is the API's default for sessionAffinityConfig.clientIP.timeoutSeconds.
const defaultAffinity = 10800 * time.Second

// Derive returns the rows of one Service on one node. The slices are those
// that name the Service, in any order. The service may be nil: no rows.
func Derive(service *corev1.Service, endpointSlices []*discoveryv1.EndpointSlice, node Node) Rows {
	if service == nil {
		return Rows{}
	}
	r := Rows{
		Service: api.Name(service),
		Created: service.CreationTimestamp.Time,
	}
	if !isProxied(service, node) {
		return r
	}
	r.Frontends = make([]Frontend, 0, len(service.Spec.Ports))
	r.Sets = make([]Set, 0, len(service.Spec.Ports))
	for i := range service.Spec.Ports {
		port := &service.Spec.Ports[i]
		first := len(r.Frontends)
		r.Frontends = appendFrontends(r.Frontends, service, port, node)
		if len(r.Frontends) == first {
			continue
		}
		if throughEngine(service, port, node) {
			for k := first; k < len(r.Frontends); k++ { // the policies have no say
				f := &r.Frontends[k]
				f.Scope, f.KeepSource, f.Shortcut = Cluster, true, false
			}
			r.Sets = append(r.Sets, engineSet(port, node))
			continue
		}
		endpoints := collect(endpointSlices, port, node)
		for _, scope := range scopesOf(r.Frontends[first:]) {
			r.Sets = append(r.Sets, newSet(service, endpointSlices, port, scope, endpoints, node))
		}
		if ProtocolOf(port.Protocol) == UDP {
			r.Serving = append(r.Serving, servingOn(port, endpoints))
		}
	}
	return r
}

// isProxied applies P1: what has no virtual address of this family, or says
// somebody else serves it, is left alone.
func isProxied(s *corev1.Service, node Node) bool {
	isOurs := func(ip string) bool { _, ok := addrOf(ip, node); return ok }
	return s.Spec.Type != corev1.ServiceTypeExternalName && !api.OthersServe(s) && slices.ContainsFunc(api.ClusterIPs(s), isOurs)
}

// addrOf parses an address of the node's family; the other family has a proxy
// of its own.
func addrOf(text string, node Node) (netip.Addr, bool) {
	a, err := netip.ParseAddr(text)
	if err != nil || a.Is4In6() || a.Zone() != "" || a.Is6() != node.IPv6 || a.IsUnspecified() {
		return netip.Addr{}, false
	}
	return a, true
}

func appendFrontends(to []Frontend, s *corev1.Service, port *corev1.ServicePort, node Node) []Frontend {
	add := func(kind Kind, addr netip.Addr, number int32, local bool, sources []netip.Prefix) {
		f := Frontend{Kind: kind, Proto: ProtocolOf(port.Protocol), Port: port.Name, Sources: sources,
			Addr: netip.AddrPortFrom(addr, uint16(number))}
		switch {
		case kind == ClusterIP && local: // P13; P56: the external policy has no say
			f.Scope = Local
		case local: // P14; P57: the internal policy has no say
			f.Scope, f.KeepSource, f.Shortcut = Local, true, true
		}
		if !slices.ContainsFunc(to, func(o Frontend) bool { return o.Addr == f.Addr && o.Proto == f.Proto }) {
			to = append(to, f)
		}
	}
	itp := s.Spec.InternalTrafficPolicy
	internalLocal := itp != nil && *itp == corev1.ServiceInternalTrafficPolicyLocal
	for _, text := range api.ClusterIPs(s) {
		if a, ok := addrOf(text, node); ok {
			add(ClusterIP, a, port.Port, internalLocal, nil)
		}
	}
	externalLocal := s.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
	for _, text := range s.Spec.ExternalIPs {
		a, ok := addrOf(text, node)
		if ok && node.Reserved.WhyNamed(netip.AddrPortFrom(a, uint16(port.Port)), ProtocolOf(port.Protocol)) == "" { // P63
			add(ExternalIP, a, port.Port, externalLocal, nil)
		}
	}
	if s.Spec.Type == corev1.ServiceTypeLoadBalancer {
		for i := range s.Status.LoadBalancer.Ingress {
			in := &s.Status.LoadBalancer.Ingress[i]
			if a, ok := addrOf(in.IP, node); ok && api.VIP(in) && node.Reserved.Why(a) == "" { // P44, P63
				add(LoadBalancer, a, port.Port, externalLocal, sourceRanges(s, a, node))
			}
		}
	}
	hasNodePort := s.Spec.Type == corev1.ServiceTypeNodePort || s.Spec.Type == corev1.ServiceTypeLoadBalancer
	if hasNodePort && port.NodePort != 0 {
		for _, a := range node.Addrs {
			taken := ProtocolOf(port.Protocol) == TCP && node.Reserved.Ports[netip.AddrPortFrom(a, uint16(port.NodePort))] != ""
			if a.Is6() == node.IPv6 && !taken {
				add(NodePort, a, port.NodePort, externalLocal, nil)
			}
		}
	}
	return to
}

// sourceRanges returns the prefixes a load balancer address is open to. A list
// that is given but holds nothing of this family closes it (P45). A node that
// holds the address itself, as some load balancers want it, is its own client by
// that very address: whoever lets in the node means that as well.
func sourceRanges(s *corev1.Service, at netip.Addr, node Node) []netip.Prefix {
	texts := s.Spec.LoadBalancerSourceRanges
	if len(texts) == 0 {
		if a := strings.TrimSpace(s.Annotations[corev1.AnnotationLoadBalancerSourceRangesKey]); a != "" {
			texts = strings.Split(a, ",")
		}
	}
	var ranges []netip.Prefix
	for _, text := range texts {
		p, ok := api.ParsePrefix(strings.TrimSpace(text))
		if ok && p.Addr().Is6() == node.IPv6 {
			ranges = append(ranges, p)
		}
	}
	if len(texts) > 0 && len(ranges) == 0 {
		nobody := netip.IPv4Unspecified()
		if node.IPv6 {
			nobody = netip.IPv6Unspecified()
		}
		return []netip.Prefix{netip.PrefixFrom(nobody, nobody.BitLen())}
	}
	letsInNode := func(p netip.Prefix) bool { return slices.ContainsFunc(node.Addrs, p.Contains) }
	if slices.ContainsFunc(ranges, letsInNode) {
		ranges = append(ranges, netip.PrefixFrom(at, at.BitLen()))
	}
	return withoutCovered(ranges)
}

// withoutCovered drops prefixes that lie within others.
func withoutCovered(all []netip.Prefix) []netip.Prefix {
	slices.SortFunc(all, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	var kept []netip.Prefix
	for _, p := range all {
		if n := len(kept); n == 0 || !kept[n-1].Overlaps(p) {
			kept = append(kept, p)
		}
	}
	return kept
}

// scopesOf lists the scopes that the frontends of one port use.
func scopesOf(fs []Frontend) []Scope {
	var cluster, local bool
	for _, f := range fs {
		local = local || f.Scope == Local
		cluster = cluster || f.Scope == Cluster || f.Shortcut
	}
	var scopes []Scope
	if cluster {
		scopes = append(scopes, Cluster)
	}
	if local {
		scopes = append(scopes, Local)
	}
	return scopes
}

func newSet(service *corev1.Service, endpointSlices []*discoveryv1.EndpointSlice, port *corev1.ServicePort, scope Scope, endpoints []endpoint, node Node) Set {
	s := Set{Port: port.Name, Proto: ProtocolOf(port.Protocol), Scope: scope, Affinity: affinityOf(service),
		InTurn: service.Annotations[api.AnnotationBalance] == api.BalanceInTurn, ByClient: service.Annotations[api.AnnotationBalance] == api.BalanceByClient}
	if scope == Local {
		s.Backends = eligibleLocal(endpoints)
	} else {
		s.Backends = eligibleCluster(endpoints, node)
	}
	s.Shares = sharesOf(endpointSlices, port, node, s.Backends)
	switch {
	case len(s.Backends) > 0:
		s.Verdict = Forward
	case slices.ContainsFunc(endpoints, endpoint.usable): // P18
		s.Verdict = Drop
	default:
		s.Verdict = Refuse
	}
	return s
}

func servingOn(port *corev1.ServicePort, endpoints []endpoint) Serving {
	s := Serving{Port: port.Name}
	for _, b := range backendsOf(endpoints, endpoint.usable) {
		s.Endpoints = append(s.Endpoints, b.Addr)
	}
	return s
}

func affinityOf(s *corev1.Service) time.Duration {
	if s.Spec.SessionAffinity != corev1.ServiceAffinityClientIP {
		return 0
	}
	if c := s.Spec.SessionAffinityConfig; c != nil && c.ClientIP != nil && c.ClientIP.TimeoutSeconds != nil {
		return time.Duration(*c.ClientIP.TimeoutSeconds) * time.Second
	}
	return defaultAffinity
}

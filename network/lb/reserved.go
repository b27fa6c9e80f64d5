package lb

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"fairlead.dev/fairlead/api"
)

// Reserved is what no Service may take over by spec.externalIPs, by
// status.loadBalancer or by a node port (P63): whoever may write these would
// otherwise have the connections of nodes and pods to the cluster itself. An
// address that a node merely holds besides its own, as some load balancers want
// it, is not among them. The zero value knows the addresses only that are
// reserved in every cluster.
type Reserved struct {
	Addrs  map[netip.Addr]string     // and what each is, as in "the address of node n1"
	Ranges map[netip.Prefix]string   // and whose each is
	Ports  map[netip.AddrPort]string // TCP; and who listens there
}

// everywhere are the ranges that mean something else than a host on every network.
var everywhere = map[netip.Prefix]string{
	netip.MustParsePrefix("0.0.0.0/8"):          "the unspecified address",
	netip.MustParsePrefix("127.0.0.0/8"):        "a loopback address",
	netip.MustParsePrefix("169.254.0.0/16"):     "a link-local address",
	netip.MustParsePrefix("224.0.0.0/4"):        "a multicast address",
	netip.MustParsePrefix("255.255.255.255/32"): "the broadcast address",
	netip.MustParsePrefix("::/128"):             "the unspecified address",
	netip.MustParsePrefix("::1/128"):            "a loopback address",
	netip.MustParsePrefix("::ffff:0:0/96"):      "an IPv4 address written as IPv6",
	netip.MustParsePrefix("fe80::/10"):          "a link-local address",
	netip.MustParsePrefix("ff00::/8"):           "a multicast address",
	netip.PrefixFrom(EngineIPv6.Addr(), 128):    "the address of the nodes' L7 engines",
}

// NewReserved gathers what is reserved from the nodes, the slices of the API
// server's Service, and the ranges of pods and Services.
func NewReserved(nodes []*corev1.Node, servers []*discoveryv1.EndpointSlice, pods, services []netip.Prefix) Reserved {
	r := Reserved{Addrs: map[netip.Addr]string{}, Ranges: map[netip.Prefix]string{}, Ports: map[netip.AddrPort]string{}}
	for _, n := range nodes {
		for _, ip := range api.NodeIPs(n) {
			r.Addrs[ip] = fmt.Sprintf("the address of node %s", n.Name)
			if port := n.Status.DaemonEndpoints.KubeletEndpoint.Port; port > 0 {
				r.Ports[netip.AddrPortFrom(ip, uint16(port))] = fmt.Sprintf("the agent of node %s", n.Name)
			}
		}
		for _, p := range api.PodRanges(n) {
			r.Ranges[p] = "in the range of pods"
		}
	}
	for _, s := range servers {
		for i := range s.Endpoints {
			for _, text := range s.Endpoints[i].Addresses {
				ip, err := netip.ParseAddr(text)
				for _, p := range s.Ports {
					if err == nil && p.Port != nil {
						r.AddAPI(netip.AddrPortFrom(ip.Unmap(), uint16(*p.Port)))
					}
				}
			}
		}
	}
	for _, p := range pods {
		r.Ranges[p.Masked()] = "in the range of pods"
	}
	for _, p := range services {
		r.Ranges[p.Masked()] = "in the range of cluster addresses"
	}
	return r
}

// AddAPI reserves an address at which an API server answers.
func (r *Reserved) AddAPI(at netip.AddrPort) {
	r.Addrs[at.Addr()] = "the address of the API server"
	r.Ports[at] = "the API server"
}

// Why says what an address is that no Service may have by its status, as in "the
// address of node n1". It is empty for all others.
func (r Reserved) Why(a netip.Addr) string {
	if what := r.Addrs[a.Unmap().WithZone("")]; what != "" {
		return what
	}
	return r.within(a)
}

// WhyNamed says the same of an address and port that spec.externalIPs names. Who may
// set that field at all is said by the server, and a node's own address is what
// many name there: all of it but what the cluster itself listens on.
func (r Reserved) WhyNamed(at netip.AddrPort, proto Protocol) string {
	if what := r.within(at.Addr()); what != "" || proto != TCP {
		return what
	}
	return r.Ports[netip.AddrPortFrom(at.Addr().WithZone(""), at.Port())]
}

// within is Why for the ranges.
func (r Reserved) within(a netip.Addr) string {
	for _, ranges := range []map[netip.Prefix]string{everywhere, r.Ranges} {
		holds := func(p netip.Prefix) bool { return p.Contains(a.WithZone("")) }
		found := slices.DeleteFunc(slices.Collect(maps.Keys(ranges)), func(p netip.Prefix) bool { return !holds(p) })
		if len(found) > 0 { // the widest, so that the answer is always the same
			return ranges[slices.MinFunc(found, func(a, b netip.Prefix) int { return cmp.Compare(a.Bits(), b.Bits()) })]
		}
	}
	return ""
}

// Exposed reports whether a Service has frontends that Reserved has a say in.
func Exposed(s *corev1.Service) bool {
	return len(s.Spec.ExternalIPs) > 0 || s.Spec.Type == corev1.ServiceTypeLoadBalancer || s.Spec.Type == corev1.ServiceTypeNodePort
}

// Equal reports whether two are alike.
func (r Reserved) Equal(o Reserved) bool {
	return maps.Equal(r.Addrs, o.Addrs) && maps.Equal(r.Ranges, o.Ranges) && maps.Equal(r.Ports, o.Ports)
}

package zone

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"fairlead.dev/fairlead/api"
	"k8s.io/utils/ptr"
)

// records is what one Service contributes to the Zone.
type records struct {
	service Name
	names   []named
	reverse []pointer
}

type named struct {
	name Name
	node *Node
}

// pointer is an address and what it belongs to.
type pointer struct {
	addr netip.Addr
	belongs
}

// belongs names a Service as a whole (for its ClusterIP, label empty), or its endpoint called label.
type belongs struct {
	service Name
	label   string
}

// endpoint is one ready address of a Service with the ports it listens on.
type endpoint struct {
	host
	ports []port
}

type port struct {
	name, proto string // proto in lower case
	number      uint16
}

// derive computes what a Service contributes: a pure function of the Service, its EndpointSlices and
// the name of the cluster zone's "svc" branch. A Service whose name does not fit in DNS contributes
// nothing.
func derive(branch Name, svc *corev1.Service, eps []*discoveryv1.EndpointSlice) records {
	ns, ok := branch.Child(svc.Namespace)
	if !ok {
		return records{}
	}
	own, ok := ns.Child(svc.Name)
	if !ok {
		return records{}
	}
	r := records{service: own}
	switch {
	case svc.Spec.Type == corev1.ServiceTypeExternalName:
		r.external(svc.Spec.ExternalName)
	case svc.Spec.ClusterIP == corev1.ClusterIPNone:
		r.headless(readyEndpoints(svc, eps))
	default:
		r.cluster(svc, readyEndpoints(svc, eps))
	}
	return r
}

// external is rule N10: an alias. A name that is an address literal is not resolved (as documented for
// ExternalName), and nothing exists below the name (rule N11).
func (r *records) external(to string) {
	if _, err := netip.ParseAddr(to); err == nil {
		return
	}
	alias, ok := ParseName(to)
	if !ok || alias == "\x00" {
		return
	}
	r.add(r.service, &Node{Alias: alias, Sets: []RRSet{DataSet(TypeCNAME, TTL, string(alias))}})
}

// cluster is rules N2, N3, N4 and N12: the ClusterIPs, and an SRV record with the Service's port for
// each named port. Asked at the Service itself, SRV lists the unnamed port too (CoreDNS does, for
// clients that look for peers).
func (r *records) cluster(svc *corev1.Service, eps []endpoint) {
	addrs := clusterIPs(svc)
	if len(addrs) == 0 {
		return
	}
	var all []target
	ports := map[port][]target{}
	for _, p := range svc.Spec.Ports {
		t := target{port: uint16(p.Port), host: r.service, addrs: addrs}
		all = append(all, t)
		key := port{name: p.Name, proto: protocol(p.Protocol)}
		ports[key] = append(ports[key], t)
	}
	n := &Node{Sets: addrSets(addrs)}
	for _, ep := range eps {
		n.hosts = append(n.hosts, ep.host)
		r.reverse = append(r.reverse, pointer{ep.addr, belongs{r.service, ep.label}})
	}
	if len(all) > 0 {
		n.Sets = append(n.Sets, srvSet(r.service, all))
	}
	r.add(r.service, n)
	for _, ip := range addrs {
		r.reverse = append(r.reverse, pointer{ip, belongs{service: r.service}})
	}
	r.addPorts(ports)
}

// headless is rules N5 to N9 and N13 to N16: the ready endpoints' addresses under the Service's name
// and under their own, and SRV records with the endpoint's port. Without a ready endpoint the name
// does not exist.
func (r *records) headless(eps []endpoint) {
	if len(eps) == 0 {
		return
	}
	byLabel := map[string][]netip.Addr{}
	var addrs []netip.Addr
	for _, ep := range eps {
		addrs = append(addrs, ep.addr)
		byLabel[ep.label] = append(byLabel[ep.label], ep.addr)
		r.reverse = append(r.reverse, pointer{ep.addr, belongs{r.service, ep.label}})
	}
	hosts := map[string]Name{}
	for label, addrs := range byLabel {
		if n, ok := r.service.Child(label); ok {
			hosts[label] = n
			r.add(n, &Node{Sets: addrSets(addrs)})
		}
	}
	var all []target
	ports := map[port][]target{}
	for _, ep := range eps {
		for _, p := range ep.ports {
			t := target{port: p.number, host: hosts[ep.label], addrs: byLabel[ep.label]}
			all = append(all, t)
			key := port{name: p.name, proto: p.proto}
			ports[key] = append(ports[key], t)
		}
	}
	n := &Node{Sets: addrSets(slices.Compact(addrs))} // sorted: two labels may share an address
	if len(all) > 0 {
		n.Sets = append(n.Sets, srvSet(r.service, all))
	}
	r.add(r.service, n)
	r.addPorts(ports)
}

// addPorts adds _port._proto below the Service for each named port, and the _proto between them: RFC
// 8020 has a name exist whose child does.
func (r *records) addPorts(ports map[port][]target) {
	between := map[string]Name{}
	for p, targets := range ports {
		if p.name == "" {
			continue // rule N12
		}
		proto, ok := r.service.Child("_" + p.proto)
		if !ok {
			continue
		}
		if _, seen := between[p.proto]; !seen {
			between[p.proto] = proto
			r.add(proto, emptyNode)
		}
		if own, ok := proto.Child("_" + p.name); ok {
			r.add(own, &Node{Sets: []RRSet{srvSet(own, targets)}})
		}
	}
}

// emptyNode is a name that exists only because names below it do.
var emptyNode = &Node{}

func (r *records) add(n Name, at *Node) { r.names = append(r.names, named{n, at}) }

func clusterIPs(svc *corev1.Service) []netip.Addr {
	var addrs []netip.Addr
	for _, s := range api.ClusterIPs(svc) {
		if ip, err := netip.ParseAddr(s); err == nil {
			addrs = append(addrs, ip)
		}
	}
	return addrs
}

// readyEndpoints lists a Service's ready addresses, sorted, each with all ports under which any slice
// names it. Ready is what the API says: ready true or unset, or a Service that publishes addresses
// that are not (rule N14).
func readyEndpoints(svc *corev1.Service, eps []*discoveryv1.EndpointSlice) []endpoint {
	found := map[host]*endpoint{}
	for _, slice := range eps {
		ports := slicePorts(slice)
		for _, ep := range slice.Endpoints {
			if !api.EndpointReady(&ep.Conditions) && !svc.Spec.PublishNotReadyAddresses {
				continue
			}
			for _, text := range ep.Addresses {
				ip, err := netip.ParseAddr(text)
				if err != nil {
					continue // an FQDN slice has no address to give
				}
				h := host{label: hostLabel(ep.Hostname, ip), addr: ip}
				if found[h] == nil {
					found[h] = &endpoint{host: h}
				}
				found[h].ports = append(found[h].ports, ports...)
			}
		}
	}
	list := make([]endpoint, 0, len(found))
	for _, ep := range found {
		list = append(list, *ep)
	}
	slices.SortFunc(list, func(a, b endpoint) int {
		return cmp.Or(a.addr.Compare(b.addr), strings.Compare(a.label, b.label))
	})
	return list
}

// hostLabel is rules N6 and N7: the endpoint's hostname, else its address with dashes.
func hostLabel(hostname *string, ip netip.Addr) string {
	if hostname != nil && *hostname != "" {
		return strings.ToLower(*hostname)
	}
	return dashed(ip)
}

// slicePorts lists the ports a slice names; a port without a number means every port and so has no SRV
// record.
func slicePorts(slice *discoveryv1.EndpointSlice) []port {
	var ports []port
	for _, p := range slice.Ports {
		if p.Port == nil {
			continue
		}
		own := port{proto: protocol(ptr.Deref(p.Protocol, "")), number: uint16(*p.Port)}
		if p.Name != nil {
			own.name = strings.ToLower(*p.Name)
		}
		ports = append(ports, own)
	}
	return ports
}

func protocol(p corev1.Protocol) string { return strings.ToLower(string(api.Protocol(p))) }

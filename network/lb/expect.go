package lb

import (
	"net/netip"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"fairlead.dev/fairlead/api"
)

// Origin says where a packet enters.
type Origin uint8

// The origins of packets on a node.
const (
	FromPod     Origin = iota // a pod of this node, with its own network namespace
	FromNode                  // a process in the node's own network namespace
	FromOutside               // anywhere else
)

// Packet is the first packet of a connection, as it reaches a node.
type Packet struct {
	Origin Origin
	Source netip.Addr
	Dest   netip.AddrPort
	Proto  Protocol
}

// Outcome is what the specification allows to happen to a Packet. If Served is
// false the destination is no Service's address, and the packet goes on as if
// there were no service proxy.
type Outcome struct {
	Served   bool
	Verdict  Verdict
	Backends map[netip.AddrPort]bool // any of these, when Verdict is Forward
	// KeepsSource reports whether the endpoint sees the client's own address,
	// provided it is not itself the client: a connection that returns to where
	// it came from always shows an address of the node (P33).
	KeepsSource bool
	// Sticky names the Service port that remembers the client, empty for none:
	// while the endpoint of the client's last connection under the same policy,
	// see Local, is among the Backends, it is the only one allowed; without such a
	// connection that of the last one under the other policy.
	Sticky string
	Local  bool // the Backends are the Local set, not the Cluster set
	// Shares are what part of new connections each of the Backends gets, nearly, where slices have weights; nil: all get as much.
	Shares map[netip.AddrPort]float64
}

// Expect says what has to happen to a packet, from nothing but the API objects,
// by reading all of them. It is the specification in executable form: slow,
// literal, and written without a look at Derive.
func Expect(p Packet, services []*corev1.Service, all []*discoveryv1.EndpointSlice, node Node) Outcome {
	var found *corev1.Service
	var at corev1.ServicePort
	var how destinationKind
	known := false // some Service has the address, on whatever port
	for _, s := range services {
		if s.Spec.Type == "ExternalName" || s.Spec.ClusterIP == "None" || s.Spec.ClusterIP == "" { // P1
			continue
		}
		if hasLabel(s.Labels, "service.kubernetes.io/service-proxy-name") || hasLabel(s.Labels, "service.kubernetes.io/headless") {
			continue
		}
		if !sameFamily(s, node) {
			continue
		}
		for _, port := range s.Spec.Ports {
			for _, ip := range s.Spec.ClusterIPs {
				known = known || ip == p.Dest.Addr().String()
			}
			if name(port.Protocol) != p.Proto.String() {
				continue
			}
			// Of several that claim one address the eldest has it.
			if k := destination(p, s, port, node); k != elsewhere && (found == nil || elder(s, found)) {
				found, at, how = s, port, k
			}
		}
	}
	switch {
	case found == nil && known:
		return Outcome{Served: true, Verdict: Refuse}
	case found == nil:
		return Outcome{}
	case how == balancer && !open(p, found, node):
		return Outcome{Served: true, Verdict: Drop}
	}
	if through := found.Annotations["fairlead.dev/l7"]; p.Proto == TCP && (through == "gateway" || through == "http" && node.Engine.IsValid()) {
		out := Outcome{Served: true, Verdict: Refuse, KeepsSource: true, Backends: map[netip.AddrPort]bool{}}
		if node.Engine.IsValid() {
			out.Verdict, out.Backends[node.Engine] = Forward, true
		}
		return out
	}
	return decide(p, found, at, all, node, how == internal)
}

// sameFamily says whether a Service is of the node's IP family at all.
func sameFamily(s *corev1.Service, node Node) bool {
	for _, ip := range s.Spec.ClusterIPs {
		if strings.Contains(ip, ":") == node.IPv6 {
			return true
		}
	}
	return false
}

func elder(a, b *corev1.Service) bool {
	if !a.CreationTimestamp.Time.Equal(b.CreationTimestamp.Time) {
		return a.CreationTimestamp.Time.Before(b.CreationTimestamp.Time)
	}
	if a.Namespace != b.Namespace {
		return a.Namespace < b.Namespace
	}
	return a.Name < b.Name
}

// open says whether a Service's load balancer addresses are for the source.
func open(p Packet, s *corev1.Service, node Node) bool {
	ranges := s.Spec.LoadBalancerSourceRanges
	if old := s.Annotations["service.beta.kubernetes.io/load-balancer-source-ranges"]; len(ranges) == 0 && old != "" {
		ranges = strings.Split(old, ",")
	}
	if len(ranges) == 0 {
		return true
	}
	for _, text := range ranges {
		r, ok := api.ParsePrefix(strings.TrimSpace(text))
		if !ok {
			continue
		}
		if r.Contains(p.Source) {
			return true
		}
		for _, a := range node.Addrs {
			if r.Contains(a) && p.Source == p.Dest.Addr() { // a node that holds the address
				return true
			}
		}
	}
	return false
}

func hasLabel(labels map[string]string, key string) bool {
	_, ok := labels[key]
	return ok
}

func name(p corev1.Protocol) string {
	switch p {
	case "UDP":
		return "udp"
	case "SCTP":
		return "sctp"
	default:
		return "tcp"
	}
}

// destinationKind says by which kind of address a packet is for a Service.
type destinationKind int

const (
	elsewhere destinationKind = iota
	internal                  // the cluster address
	external                  // a node port or an external address
	balancer                  // a load balancer's address
)

func destination(p Packet, s *corev1.Service, port corev1.ServicePort, node Node) destinationKind {
	to, number := p.Dest.Addr().String(), int32(p.Dest.Port())
	if number == port.Port {
		for _, ip := range s.Spec.ClusterIPs {
			if ip == to {
				return internal
			}
		}
		for _, ip := range s.Spec.ExternalIPs {
			_, used := node.Reserved.Ports[p.Dest]
			if ip == to && !nobodys(p.Dest.Addr(), node.Reserved) && !(used && p.Proto == TCP) {
				return external
			}
		}
		if s.Spec.Type == "LoadBalancer" {
			for _, in := range s.Status.LoadBalancer.Ingress {
				if in.IP == to && !infrastructure(p.Dest.Addr(), node.Reserved) && (in.IPMode == nil || *in.IPMode == "VIP") {
					return balancer
				}
			}
		}
	}
	if (s.Spec.Type == "NodePort" || s.Spec.Type == "LoadBalancer") && number == port.NodePort {
		for _, a := range node.Addrs {
			_, used := node.Reserved.Ports[p.Dest]
			if a.String() == to && !(used && p.Proto == TCP) {
				return external
			}
		}
	}
	return elsewhere
}

// infrastructure says whether an address is the cluster's own, or nobody's.
func infrastructure(a netip.Addr, known Reserved) bool {
	for own := range known.Addrs {
		if own == a {
			return true
		}
	}
	return nobodys(a, known)
}

// nobodys says whether an address is none of a host, or a pod's or a Service's.
func nobodys(a netip.Addr, known Reserved) bool {
	if a.IsLoopback() || a.IsUnspecified() || a.IsMulticast() || a.IsLinkLocalUnicast() || a.Is4In6() {
		return true
	}
	if a.String() == "fd66:6169:726c:6561::70" { // the engine's own
		return true
	}
	if a.Is4() && (a.As4()[0] == 0 || a.As4() == [4]byte{255, 255, 255, 255}) {
		return true
	}
	for r := range known.Ranges {
		if r.Contains(a) {
			return true
		}
	}
	return false
}

func decide(p Packet, s *corev1.Service, port corev1.ServicePort, all []*discoveryv1.EndpointSlice, node Node, byClusterIP bool) Outcome {
	local := s.Spec.InternalTrafficPolicy != nil && *s.Spec.InternalTrafficPolicy == "Local"
	keeps := p.Origin == FromPod
	if !byClusterIP {
		local = s.Spec.ExternalTrafficPolicy == "Local" && p.Origin == FromOutside
		keeps = keeps || local
	}
	copies := copiesOf(s, port, all, node)
	best := pick(copies, local)
	out := Outcome{Served: true, KeepsSource: keeps, Local: local, Backends: map[netip.AddrPort]bool{}}
	if s.Spec.SessionAffinity == "ClientIP" {
		out.Sticky = s.Namespace + "/" + s.Name + ":" + port.Name
	}
	for _, c := range best {
		out.Backends[c.at] = true
	}
	if !local {
		narrow(out.Backends, best, node)
	}
	out.Shares = shares(copies, out.Backends)
	switch {
	case len(out.Backends) > 0:
		out.Verdict = Forward
	case len(pick(copies, false)) > 0:
		out.Verdict = Drop
	default:
		out.Verdict = Refuse
	}
	return out
}

// specEndpoint is one mention of an endpoint in one slice.
type specEndpoint struct {
	at       netip.AddrPort
	here     bool
	ready    bool
	draining bool
	hints    *discoveryv1.EndpointHints
	weight   float64 // of its slice and all others with the same group
	group    string
	weighted bool
}

func copiesOf(s *corev1.Service, port corev1.ServicePort, all []*discoveryv1.EndpointSlice, node Node) []specEndpoint {
	family := discoveryv1.AddressTypeIPv4
	if node.IPv6 {
		family = discoveryv1.AddressTypeIPv6
	}
	var copies []specEndpoint
	for _, sl := range all {
		if sl.Namespace != s.Namespace || sl.Labels["kubernetes.io/service-name"] != s.Name || sl.AddressType != family {
			continue
		}
		if hasLabel(sl.Labels, "service.kubernetes.io/service-proxy-name") || hasLabel(sl.Labels, "service.kubernetes.io/headless") {
			continue
		}
		weight, group, weighted := weightOf(sl)
		if weight == 0 {
			continue
		}
		for _, sp := range sl.Ports {
			if sp.Name == nil || sp.Port == nil || *sp.Name != port.Name {
				continue
			}
			if sp.Protocol != nil && name(*sp.Protocol) != name(port.Protocol) {
				continue
			}
			for _, e := range sl.Endpoints {
				c := specEndpoint{hints: e.Hints, weight: weight, group: group, weighted: weighted}
				c.at = netip.AddrPortFrom(netip.MustParseAddr(e.Addresses[0]), uint16(*sp.Port))
				c.here = e.NodeName != nil && *e.NodeName == node.Name
				c.ready = e.Conditions.Ready == nil || *e.Conditions.Ready
				stopped := e.Conditions.Serving != nil && !*e.Conditions.Serving
				c.draining = !stopped && e.Conditions.Terminating != nil && *e.Conditions.Terminating
				copies = append(copies, c)
			}
		}
	}
	return copies
}

// pick returns the ready copies, or if there are none the draining ones; of
// this node only if local is set. An endpoint is here if any mention says so.
func pick(copies []specEndpoint, local bool) []specEndpoint {
	here := map[netip.AddrPort]bool{}
	for _, c := range copies {
		here[c.at] = here[c.at] || c.here
	}
	var ready, draining []specEndpoint
	for _, c := range copies {
		if local && !here[c.at] {
			continue
		}
		if c.ready {
			ready = append(ready, c)
		} else if c.draining {
			draining = append(draining, c)
		}
	}
	if len(ready) > 0 {
		return ready
	}
	return draining
}

// narrow removes the endpoints that the hints send elsewhere. Hints are about
// ready endpoints only.
func narrow(backends map[netip.AddrPort]bool, best []specEndpoint, node Node) {
	forNode, forZone := map[netip.AddrPort]bool{}, map[netip.AddrPort]bool{}
	everyNode, everyZone := true, true
	for _, c := range best {
		if !c.ready {
			return
		}
		if c.hints == nil || len(c.hints.ForNodes) == 0 {
			everyNode = false
		}
		if c.hints == nil || len(c.hints.ForZones) == 0 {
			everyZone = false
		}
		if c.hints == nil {
			continue
		}
		for _, n := range c.hints.ForNodes {
			if n.Name == node.Name {
				forNode[c.at] = true
			}
		}
		for _, z := range c.hints.ForZones {
			if z.Name == node.Zone && node.Zone != "" {
				forZone[c.at] = true
			}
		}
	}
	keep := forNode
	if !everyNode || len(forNode) == 0 {
		keep = forZone
		if !everyZone || len(forZone) == 0 {
			return
		}
	}
	for at := range backends {
		if !keep[at] {
			delete(backends, at)
		}
	}
}

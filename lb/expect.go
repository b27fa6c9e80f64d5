package lb

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
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
// false no Service answers at the destination, and the packet goes on as if
// there were no service proxy.
type Outcome struct {
	Served   bool
	Verdict  Verdict
	Backends map[netip.AddrPort]bool // any of these, when Verdict is Forward
	// KeepsSource reports whether the endpoint sees the client's own address,
	// provided it is not itself the client: a connection that returns to where
	// it came from always shows an address of the node (P33).
	KeepsSource bool
}

// Expect says what has to happen to a packet, from nothing but the API objects,
// by reading all of them. It is the specification in executable form: slow,
// literal, and written without a look at Derive.
func Expect(p Packet, services []*corev1.Service, all []*discoveryv1.EndpointSlice, node Node) Outcome {
	for _, s := range services {
		if s.Spec.Type == "ExternalName" || s.Spec.ClusterIP == "None" || s.Spec.ClusterIP == "" {
			continue
		}
		if hasLabel(s.Labels, "service.kubernetes.io/service-proxy-name") || hasLabel(s.Labels, "service.kubernetes.io/headless") {
			continue
		}
		for _, port := range s.Spec.Ports {
			if name(port.Protocol) != p.Proto.String() {
				continue
			}
			if internal, external := destination(p, s, port, node); internal || external {
				return decide(p, s, port, all, node, internal)
			}
		}
	}
	return Outcome{}
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

// destination says whether the packet is for this port of this Service, and
// whether by its cluster address or by one meant for the outside.
func destination(p Packet, s *corev1.Service, port corev1.ServicePort, node Node) (internal, external bool) {
	to, number := p.Dest.Addr().String(), int32(p.Dest.Port())
	if number == port.Port {
		if s.Spec.ClusterIP == to {
			return true, false
		}
		for _, ip := range s.Spec.ExternalIPs {
			if ip == to {
				return false, true
			}
		}
		if s.Spec.Type == "LoadBalancer" {
			for _, in := range s.Status.LoadBalancer.Ingress {
				if in.IP == to && (in.IPMode == nil || *in.IPMode == "VIP") {
					return false, true
				}
			}
		}
	}
	if (s.Spec.Type == "NodePort" || s.Spec.Type == "LoadBalancer") && number == port.NodePort {
		for _, a := range node.Addrs {
			if a.String() == to {
				return false, true
			}
		}
	}
	return false, false
}

func decide(p Packet, s *corev1.Service, port corev1.ServicePort, all []*discoveryv1.EndpointSlice, node Node, internal bool) Outcome {
	local := s.Spec.InternalTrafficPolicy != nil && *s.Spec.InternalTrafficPolicy == "Local"
	keeps := p.Origin == FromPod
	if !internal {
		local = s.Spec.ExternalTrafficPolicy == "Local" && p.Origin == FromOutside
		keeps = keeps || local
	}
	copies := copiesOf(s, port, all, node)
	best := pick(copies, local)
	out := Outcome{Served: true, KeepsSource: keeps, Backends: map[netip.AddrPort]bool{}}
	for _, c := range best {
		out.Backends[c.at] = true
	}
	if !local {
		narrow(out.Backends, best, node)
	}
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
}

func copiesOf(s *corev1.Service, port corev1.ServicePort, all []*discoveryv1.EndpointSlice, node Node) []specEndpoint {
	var copies []specEndpoint
	for _, sl := range all {
		if sl.Namespace != s.Namespace || sl.Labels["kubernetes.io/service-name"] != s.Name || sl.AddressType != "IPv4" {
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
				c := specEndpoint{hints: e.Hints}
				c.at = netip.AddrPortFrom(netip.MustParseAddr(e.Addresses[0]), uint16(*sp.Port))
				c.here = e.NodeName != nil && *e.NodeName == node.Name
				c.ready = e.Conditions.Ready == nil || *e.Conditions.Ready
				serving := c.ready
				if e.Conditions.Serving != nil {
					serving = *e.Conditions.Serving
				}
				c.draining = serving && e.Conditions.Terminating != nil && *e.Conditions.Terminating
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

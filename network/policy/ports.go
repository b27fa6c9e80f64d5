package policy

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/lb"
)

// PortRange is the ports of a protocol from First to Last.
type PortRange struct {
	Protocol    lb.Protocol // 0: all protocols, and then all ports
	First, Last uint16
}

const lastPort = 1<<16 - 1

var everything = PortRange{Last: lastPort}

// IsEverything reports whether it is all ports of all protocols, and what has no ports.
func (r PortRange) IsEverything() bool { return r == everything }

// has reports whether a packet goes to one of the ports. One without ports goes to port 0 here, which only all ports have.
func (r PortRange) has(p lb.Protocol, port uint16) bool {
	return r == everything || r.Protocol == p && r.First <= port && port <= r.Last
}

func (r PortRange) String() string {
	switch {
	case r == everything:
		return "all"
	case r.First == r.Last:
		return fmt.Sprintf("%s/%d", r.Protocol, r.First)
	}
	return fmt.Sprintf("%s/%d-%d", r.Protocol, r.First, r.Last)
}

// portSet is ports in order, none twice, and nothing beside everything.
type portSet []PortRange

// newPortSet brings ranges into order and joins those that meet.
func newPortSet(all []PortRange) portSet {
	if slices.Contains(all, everything) {
		return portSet{everything}
	}
	all = slices.Clone(all)
	slices.SortFunc(all, func(a, b PortRange) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.First, b.First))
	})
	var set portSet
	for _, r := range all {
		if n := len(set); n > 0 && set[n-1].Protocol == r.Protocol && int(r.First) <= int(set[n-1].Last)+1 {
			set[n-1].Last = max(set[n-1].Last, r.Last)
			continue
		}
		set = append(set, r)
	}
	return set
}

func (s portSet) key() string {
	var b strings.Builder
	for _, r := range s {
		fmt.Fprintf(&b, "%d/%d-%d ", r.Protocol, r.First, r.Last)
	}
	return b.String()
}

// portName is a port that a rule names; which number that is says each pod.
type portName struct {
	protocol lb.Protocol
	name     string
}

// ports are what a rule lets pass to.
type ports struct {
	fixed []PortRange
	named []portName
}

// portsOf reads a rule's ports. Without any it is everything.
func portsOf(all []networkingv1.NetworkPolicyPort) ports {
	if len(all) == 0 {
		return ports{fixed: []PortRange{everything}}
	}
	var p ports
	for i := range all {
		protocol := lb.TCP
		if all[i].Protocol != nil {
			protocol = lb.ProtocolOf(*all[i].Protocol)
		}
		switch port, end := all[i].Port, all[i].EndPort; {
		case port == nil:
			p.fixed = append(p.fixed, PortRange{protocol, 0, lastPort})
		case port.Type == intstr.String:
			p.named = append(p.named, portName{protocol, port.StrVal})
		case end != nil:
			p.fixed = append(p.fixed, PortRange{protocol, uint16(port.IntVal), uint16(*end)})
		default:
			p.fixed = append(p.fixed, PortRange{protocol, uint16(port.IntVal), uint16(port.IntVal)})
		}
	}
	return p
}

// appendTo adds the ports, as a pod that calls its ports so offers them.
func (p ports) appendTo(all []PortRange, called named) []PortRange {
	all = append(all, p.fixed...)
	for _, n := range p.named {
		if number, ok := called[n]; ok {
			all = append(all, PortRange{n.protocol, number, number})
		}
	}
	return all
}

// named is what a pod calls its ports.
type named map[portName]uint16

// namedOf are the names of a pod's ports. Of two of one name the first counts, as with Services (rule E8).
func namedOf(pod *corev1.Pod) named {
	var all named
	for c := range api.ServingContainers(&pod.Spec) {
		for i := range c.Ports {
			n := portName{lb.ProtocolOf(c.Ports[i].Protocol), c.Ports[i].Name}
			if _, twice := all[n]; n.name == "" || twice {
				continue
			}
			if all == nil {
				all = named{}
			}
			all[n] = uint16(c.Ports[i].ContainerPort)
		}
	}
	return all
}

// key is what a pod calls the ports that matter, as text.
func (n named) key(matter []portName) string {
	if len(n) == 0 {
		return ""
	}
	var b strings.Builder
	for _, p := range matter {
		if number, ok := n[p]; ok {
			fmt.Fprintf(&b, "%d/%s=%d ", p.protocol, p.name, number)
		}
	}
	return b.String()
}

// only are the ports that matter.
func (n named) only(matter []portName) named {
	kept := named{}
	for _, p := range matter {
		if number, ok := n[p]; ok {
			kept[p] = number
		}
	}
	return kept
}

func comparePortNames(a, b portName) int {
	return cmp.Or(cmp.Compare(a.protocol, b.protocol), cmp.Compare(a.name, b.name))
}

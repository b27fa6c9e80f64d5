package plan

import (
	"cmp"
	"maps"
	"math"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"fairlead.dev/fairlead/api"
)

// overload is how much more than its fair share an endpoint may get, at most, so that traffic
// stays in its zone: a fifth (rule E94; KEP-2433).
const overload = 0.2

// Why hints are not given in mode Auto: the words of Kubernetes' events (rule E94).
const (
	fewEndpoints = "Insufficient number of endpoints"
	oneZone      = "Nodes only ready in one zone"
	unknownNodes = "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"
	zonelessPod  = "One or more endpoints do not have a zone specified"
	tooUneven    = "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold"
)

// Automatic reports whether a Service asks for hints in proportion to the zones' CPUs. The older
// annotation wins when there are both (rule E93).
func Automatic(svc *corev1.Service) bool {
	mode, ok := svc.Annotations[corev1.DeprecatedAnnotationTopologyAwareHints]
	if !ok {
		mode = svc.Annotations[corev1.AnnotationTopologyMode]
	}
	return mode == "Auto" || mode == "auto"
}

// share is one zone's part in the work.
type share struct {
	zone  string
	cpu   int64
	fair  float64 // endpoints in proportion to CPU
	least int     // endpoints without which those of the zone are overloaded
	have  []*desiredEndpoint
}

// spare returns how far the zone is above its fair share, and whether it can give an endpoint away.
func (s *share) spare() (float64, bool) {
	return float64(len(s.have)) - s.fair, len(s.have) > s.least
}

// balance gives each ready endpoint the zone it is to serve: its own, as far as possible, and
// another one where a zone has fewer endpoints than its part of all CPUs demands. It returns why it
// cannot, and gives no hints then; all or nothing, because proxies ignore hints that are not
// complete (rules E93 to E95). The same endpoints and nodes always give the same hints.
func balance(endpoints []*desiredEndpoint, nodes map[string]*corev1.Node) (problem string) {
	shares, problem := zoneShares(nodes)
	if problem != "" {
		return problem
	}
	ready := readyEndpoints(endpoints)
	if len(ready) < len(shares) {
		return fewEndpoints
	}
	for _, e := range ready {
		if e.endpoint.Zone == nil {
			return zonelessPod
		}
		name := *e.endpoint.Zone
		if shares[name] == nil {
			shares[name] = &share{zone: name} // no ready node is left there
		}
		shares[name].have = append(shares[name].have, e)
	}
	if !apportion(shares, len(ready)) {
		return tooUneven
	}
	for _, s := range shares {
		for _, e := range s.have {
			e.endpoint.Hints = &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: s.zone}}}
		}
	}
	return ""
}

// readyEndpoints returns the ready endpoints in a fixed order.
func readyEndpoints(endpoints []*desiredEndpoint) []*desiredEndpoint {
	var ready []*desiredEndpoint
	for _, e := range endpoints {
		if *e.endpoint.Conditions.Ready {
			ready = append(ready, e)
		}
	}
	slices.SortFunc(ready, func(a, b *desiredEndpoint) int { return identify(&a.endpoint).compare(identify(&b.endpoint)) })
	return ready
}

// zoneShares adds up the capacities of the nodes of each zone.
func zoneShares(nodes map[string]*corev1.Node) (shares map[string]*share, problem string) {
	shares = map[string]*share{}
	for _, node := range nodes {
		c := CapacityOf(node)
		switch {
		case !c.counts:
			continue
		case c.zone == "" || c.cpu == 0:
			return nil, unknownNodes
		case shares[c.zone] == nil:
			shares[c.zone] = &share{zone: c.zone}
		}
		shares[c.zone].cpu += c.cpu
	}
	if len(shares) < 2 {
		return nil, oneZone
	}
	return shares, ""
}

// Capacity is what a node adds to its zone.
type Capacity struct {
	zone   string
	cpu    int64 // allocatable, in thousandths
	counts bool  // it is ready, and no control plane node, on which ordinary pods do not run
}

// CapacityOf returns what a node adds to its zone.
func CapacityOf(node *corev1.Node) Capacity {
	_, controlPlane := node.Labels[api.LabelControlPlane]
	return Capacity{
		zone:   Zone(node),
		cpu:    node.Status.Allocatable.Cpu().MilliValue(),
		counts: api.NodeReady(node) && !controlPlane,
	}
}

// apportion moves endpoints between zones until each has the least that it needs; false when there
// are not enough. Each move is from the zone furthest above its fair share, so few are moved.
func apportion(shares map[string]*share, endpoints int) bool {
	var cpu int64
	for _, s := range shares {
		cpu += s.cpu
	}
	needed := 0
	for _, s := range shares {
		s.fair = float64(endpoints) * float64(s.cpu) / float64(cpu)
		s.least = int(math.Ceil(s.fair / (1 + overload)))
		needed += s.least
	}
	if needed > endpoints {
		return false
	}
	zones := slices.Sorted(maps.Keys(shares))
	for _, zone := range zones {
		for poor := shares[zone]; len(poor.have) < poor.least; {
			rich := shares[slices.MaxFunc(zones, func(a, b string) int { return compareSpare(shares[a], shares[b]) })]
			poor.have, rich.have = append(poor.have, rich.have[0]), rich.have[1:]
		}
	}
	return true
}

// compareSpare puts the zones that can give an endpoint away last, and of these the richest.
func compareSpare(a, b *share) int {
	x, canA := a.spare()
	y, canB := b.spare()
	if canA != canB {
		if canB {
			return -1
		}
		return 1
	}
	return cmp.Compare(x, y)
}

// Zone returns the zone of a node, empty when it names none.
func Zone(node *corev1.Node) string { return node.Labels[corev1.LabelTopologyZone] }

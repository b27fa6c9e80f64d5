package placement

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/component-helpers/resource"

	"fairlead.dev/fairlead/api"
)

// amounts are quantities by resource: millicores of cpu, bytes or pieces of all
// others.
type amounts map[corev1.ResourceName]int64

// A request that states nothing still costs something when nodes are compared
// (the same figures as upstream's scheduler).
const (
	assumedMilliCPU = 100
	assumedMemory   = 200 << 20
)

// hostPort is a port a pod takes on its node. An unset host IP is "0.0.0.0".
type hostPort struct {
	ip       string
	protocol corev1.Protocol
	port     int32
}

// load is what one pod costs its node, and the group it should be spread with.
type load struct {
	requests amounts
	cpu, mem int64 // for comparing nodes; never zero
	ports    []hostPort
	group    string // empty: counts for no group
}

// Node is a node and the pods counted on it.
type Node struct {
	Object *corev1.Node
	pods   map[types.UID]load
	used   amounts
	cpu    int64
	mem    int64
	ports  map[hostPort]int
	groups map[string]int
}

// NewNode returns a node without pods.
func NewNode(object *corev1.Node) *Node {
	return &Node{Object: object, pods: map[types.UID]load{}, used: amounts{}, ports: map[hostPort]int{}, groups: map[string]int{}}
}

// Empty reports whether no pod is counted on the node.
func (n *Node) Empty() bool { return len(n.pods) == 0 }

// Has reports whether the pod is counted on the node.
func (n *Node) Has(uid types.UID) bool {
	_, counted := n.pods[uid]
	return counted
}

// Put counts p on the node, replacing what was counted for it.
func (n *Node) Put(p *corev1.Pod) {
	n.Remove(p.UID)
	l := loadOf(p)
	n.pods[p.UID] = l
	n.count(l, 1)
}

// Remove stops counting the pod.
func (n *Node) Remove(uid types.UID) {
	if l, ok := n.pods[uid]; ok {
		delete(n.pods, uid)
		n.count(l, -1)
	}
}

func (n *Node) count(l load, sign int64) {
	for name, v := range l.requests {
		n.used[name] += sign * v
	}
	n.cpu += sign * l.cpu
	n.mem += sign * l.mem
	for _, p := range l.ports {
		if n.ports[p] += int(sign); n.ports[p] == 0 {
			delete(n.ports, p)
		}
	}
	if l.group != "" {
		if n.groups[l.group] += int(sign); n.groups[l.group] == 0 {
			delete(n.groups, l.group)
		}
	}
}

// loadOf is what p costs. A terminating pod still costs, but no longer counts as
// one of its group: its replacement may take its place.
func loadOf(p *corev1.Pod) load {
	l := load{requests: amounts{}, ports: portsOf(p)}
	for name, q := range resource.PodRequests(p, resource.PodResourcesOptions{}) {
		if name == corev1.ResourceCPU {
			l.requests[name] = q.MilliValue()
		} else {
			l.requests[name] = q.Value()
		}
	}
	l.cpu, l.mem = l.requests[corev1.ResourceCPU], l.requests[corev1.ResourceMemory]
	if l.cpu == 0 {
		l.cpu = assumedMilliCPU
	}
	if l.mem == 0 {
		l.mem = assumedMemory
	}
	if p.DeletionTimestamp == nil {
		l.group = GroupOf(p)
	}
	return l
}

// portsOf lists the host ports of the pod's containers and sidecars.
func portsOf(p *corev1.Pod) []hostPort {
	var out []hostPort
	add := func(c *corev1.Container) {
		for _, port := range c.Ports {
			if port.HostPort == 0 {
				continue
			}
			h := hostPort{ip: port.HostIP, protocol: api.Protocol(port.Protocol), port: port.HostPort}
			if h.ip == "" {
				h.ip = "0.0.0.0"
			}
			out = append(out, h)
		}
	}
	for c := range api.ServingContainers(&p.Spec) {
		add(c)
	}
	return out
}

// GroupOf names the pods that should not share a node if they need not: those of
// one controller, or, without a controller, those with the same labels.
func GroupOf(p *corev1.Pod) string {
	if ref := metav1.GetControllerOfNoCopy(p); ref != nil {
		return string(ref.UID)
	}
	if len(p.Labels) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString(p.Namespace)
	for _, k := range slices.Sorted(maps.Keys(p.Labels)) {
		b.WriteString("," + k + "=" + p.Labels[k])
	}
	return b.String()
}

// conflicts reports whether the port is taken (rule D15): same protocol and
// number, and the same IP or one of them all IPs.
func (n *Node) conflicts(want hostPort) bool {
	if n.ports[want] > 0 {
		return true
	}
	for have := range n.ports {
		if have.port == want.port && have.protocol == want.protocol &&
			(have.ip == "0.0.0.0" || want.ip == "0.0.0.0") {
			return true
		}
	}
	return false
}

// taintsOf are the node's taints and those its state implies before the node
// controller has written them: unschedulable and not ready.
func taintsOf(n *corev1.Node) []corev1.Taint {
	taints := n.Spec.Taints
	if !api.NodeReady(n) {
		taints = append(slices.Clip(taints), corev1.Taint{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoSchedule})
	}
	return taints
}

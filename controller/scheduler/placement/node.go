package placement

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
)

// Node is a node and the pods counted on it.
type Node struct {
	Object *corev1.Node // nil: not known (yet)

	allocatable amounts
	images      map[string]int64 // bytes by name

	pods      map[types.UID]*Pod
	nominated map[types.UID]*Pod // those that wait for room that is being made for them here
	social    map[types.UID]*Pod // of pods, those that say something of other pods
	used      amounts
	cpu       int64
	mem       int64
	ports     map[hostPort]int
	groups    map[string]int
}

// NewNode returns a node without pods.
func NewNode(object *corev1.Node) *Node {
	n := &Node{pods: map[types.UID]*Pod{}, used: amounts{}, ports: map[hostPort]int{}, groups: map[string]int{}}
	n.Set(object)
	return n
}

// Set has the node be as object says, nil for not known.
func (n *Node) Set(object *corev1.Node) {
	n.Object, n.allocatable, n.images = object, nil, nil
	if object == nil {
		return
	}
	n.allocatable = amountsOf(object.Status.Allocatable)
	n.images = make(map[string]int64, len(object.Status.Images))
	for i := range object.Status.Images {
		for _, name := range object.Status.Images[i].Names {
			n.images[name] = object.Status.Images[i].SizeBytes
		}
	}
}

// Empty reports whether no pod is counted on the node, and none waits for it.
func (n *Node) Empty() bool { return len(n.pods)+len(n.nominated) == 0 }

// Has reports whether the pod is counted on the node.
func (n *Node) Has(uid types.UID) bool {
	_, counted := n.pods[uid]
	return counted
}

// Put counts p on the node, replacing what was counted for it.
func (n *Node) Put(p *Pod) {
	n.Remove(p.UID)
	n.pods[p.UID] = p
	n.count(p, 1)
	if p.terms != nil {
		if n.social == nil {
			n.social = map[types.UID]*Pod{}
		}
		n.social[p.UID] = p
	}
}

// Remove stops counting the pod.
func (n *Node) Remove(uid types.UID) {
	if p, ok := n.pods[uid]; ok {
		delete(n.pods, uid)
		delete(n.social, uid)
		n.count(p, -1)
	}
}

// Nominate notes that room is being made on the node for p.
func (n *Node) Nominate(p *Pod) {
	if n.nominated == nil {
		n.nominated = map[types.UID]*Pod{}
	}
	n.nominated[p.UID] = p
}

// Dismiss ends what Nominate began.
func (n *Node) Dismiss(uid types.UID) { delete(n.nominated, uid) }

// Nominated are the pods that room is being made for on the node, of a priority below the given one.
func (n *Node) Nominated(below int32) (out []*Pod) {
	for _, p := range n.nominated {
		if p.Priority < below {
			out = append(out, p)
		}
	}
	return out
}

// expected are the pods that have at least the right of p to room on the node, and are to come.
func (n *Node) expected(p *Pod) (out []*Pod) {
	for _, other := range n.nominated {
		if other.Priority >= p.Priority && other.UID != p.UID {
			out = append(out, other)
		}
	}
	return out
}

// clone is a node like n that can be changed beside it.
func (n *Node) clone() *Node {
	c := *n
	c.pods, c.social, c.used = maps.Clone(n.pods), maps.Clone(n.social), maps.Clone(n.used)
	c.ports, c.groups = maps.Clone(n.ports), maps.Clone(n.groups)
	return &c
}

func (n *Node) count(p *Pod, sign int64) {
	for name, v := range p.requests {
		n.used[name] += sign * v
	}
	n.cpu += sign * p.cpu
	n.mem += sign * p.mem
	for _, port := range p.ports {
		if n.ports[port] += int(sign); n.ports[port] == 0 {
			delete(n.ports, port)
		}
	}
	if p.group != "" {
		if n.groups[p.group] += int(sign); n.groups[p.group] == 0 {
			delete(n.groups, p.group)
		}
	}
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

// taints are the node's taints and those its state implies before the node
// controller has written them: not ready.
func (n *Node) taints() []corev1.Taint {
	taints := n.Object.Spec.Taints
	if !api.NodeReady(n.Object) {
		taints = append(slices.Clip(taints), corev1.Taint{Key: corev1.TaintNodeNotReady, Effect: corev1.TaintEffectNoSchedule})
	}
	return taints
}

// imageName is an image's name as nodes list it.
func imageName(name string) string {
	if strings.LastIndex(name, ":") <= strings.LastIndex(name, "/") {
		return name + ":latest"
	}
	return name
}

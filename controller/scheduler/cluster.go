package scheduler

import (
	"cmp"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// cluster is the Nodes with their pods, kept up to date by informer events and by
// the scheduler's own decisions.
type cluster struct {
	mu    sync.Mutex           // guards below
	nodes map[string]*Node     // a node with a nil Object is not known (yet), but has pods
	where map[types.UID]string // the node each pod is counted on
	list  []*Node              // the known nodes by name; nil when out of date
}

func newCluster() *cluster {
	return &cluster{nodes: map[string]*Node{}, where: map[types.UID]string{}}
}

// node returns the named node, creating it. The caller holds mu.
func (c *cluster) node(name string) *Node {
	n := c.nodes[name]
	if n == nil {
		n = NewNode(nil)
		c.nodes[name] = n
	}
	return n
}

func (c *cluster) setNode(object *corev1.Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.node(object.Name).Object = object
	c.list = nil
}

func (c *cluster) removeNode(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.node(name).Object = nil
	if len(c.nodes[name].pods) == 0 {
		delete(c.nodes, name)
	}
	c.list = nil
}

// put counts the pod on the node.
func (c *cluster) put(p *corev1.Pod, node string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.take(p.UID)
	c.node(node).Put(p)
	c.where[p.UID] = node
}

// remove stops counting the pod; it reports whether it was counted.
func (c *cluster) remove(uid types.UID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.take(uid)
}

func (c *cluster) take(uid types.UID) bool {
	name, ok := c.where[uid]
	if !ok {
		return false
	}
	delete(c.where, uid)
	n := c.nodes[name]
	n.Remove(uid)
	if n.Object == nil && len(n.pods) == 0 {
		delete(c.nodes, name)
	}
	return true
}

// counted reports whether the pod has a node already, if only by decision.
func (c *cluster) counted(uid types.UID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.where[uid]
	return ok
}

// place decides for the pod and counts it on its node at once. Without a node it
// returns the message that says why.
func (c *cluster) place(p *corev1.Pod) (node, message string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.list == nil {
		c.list = make([]*Node, 0, len(c.nodes))
		for _, n := range c.nodes {
			if n.Object != nil {
				c.list = append(c.list, n)
			}
		}
		slices.SortFunc(c.list, func(a, b *Node) int { return cmp.Compare(a.Object.Name, b.Object.Name) })
	}
	node, reasons := Place(p, c.list)
	if node == "" {
		return "", reasons.Message(len(c.list))
	}
	c.nodes[node].Put(p)
	c.where[p.UID] = node
	return node, ""
}

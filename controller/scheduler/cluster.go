package scheduler

import (
	"cmp"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/controller/scheduler/placement"
	"fairlead.dev/fairlead/kube"
)

// cluster is the Nodes with their pods, kept up to date by informer events and by
// the scheduler's own decisions.
type cluster struct {
	// assumed are the pods, each by itself, that have a node by decision, until the cache shows it.
	assumed kube.OwnWrites[types.UID, *corev1.Pod]

	mu    sync.Mutex                 // guards below
	nodes map[string]*placement.Node // a node with a nil Object is not known (yet), but has pods
	where map[types.UID]string       // the node each pod is counted on
	list  []*placement.Node          // the known nodes by name; nil when out of date
}

func newCluster() *cluster {
	return &cluster{
		assumed: kube.OwnWrites[types.UID, *corev1.Pod]{Shows: func(cached, _ *corev1.Pod) bool { return cached.Spec.NodeName != "" }},
		nodes:   map[string]*placement.Node{}, where: map[types.UID]string{},
	}
}

// node returns the named node, creating it. The caller holds mu.
func (c *cluster) node(name string) *placement.Node {
	n := c.nodes[name]
	if n == nil {
		n = placement.NewNode(nil)
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
	if c.nodes[name].Empty() {
		delete(c.nodes, name)
	}
	c.list = nil
}

// put counts a pod where the cache shows it.
func (c *cluster) put(p *corev1.Pod) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count(kube.Latest(&c.assumed, p))
}

// count counts a pod on its node. The caller holds mu.
func (c *cluster) count(p *corev1.Pod) {
	c.take(p.UID)
	c.node(p.Spec.NodeName).Put(p)
	c.where[p.UID] = p.Spec.NodeName
}

// remove stops counting a pod that needs no node any more; it reports whether it was counted.
func (c *cluster) remove(uid types.UID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.assumed.Forget(uid)
	return c.take(uid)
}

// refused stops counting a pod whose binding the server has refused, unless the cache shows it on a node all the same.
func (c *cluster) refused(uid types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.assumed.Withdraw(uid, uid) {
		c.take(uid)
	}
}

// unsure goes on counting a pod of whose binding nobody knows what has become; it reports whether the binding has to be
// repeated: not when the cache shows the pod on a node, or the pod is gone.
func (c *cluster) unsure(uid types.UID) bool { return c.assumed.NoAnswer(uid, uid) }

func (c *cluster) take(uid types.UID) bool {
	name, ok := c.where[uid]
	if !ok {
		return false
	}
	delete(c.where, uid)
	n := c.nodes[name]
	n.Remove(uid)
	if n.Object == nil && n.Empty() {
		delete(c.nodes, name)
	}
	return true
}

// decided reports whether the pod has a node already, if only by a decision whose binding is under way.
func (c *cluster) decided(uid types.UID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, counted := c.where[uid]
	_, repeat := c.assumed.Unanswered(uid, uid)
	return counted && !repeat
}

// place decides for the pod and counts it on its node at once. Without a node it
// returns the message that says why. A binding that may have happened is asked for
// again as it was.
func (c *cluster) place(p *corev1.Pod) (node, message string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if before, repeat := c.assumed.Unanswered(p.UID, p.UID); repeat && c.node(before.Spec.NodeName).Object != nil {
		c.assumed.Asked(p.UID, before)
		return before.Spec.NodeName, ""
	}
	c.take(p.UID)
	if c.list == nil {
		c.list = make([]*placement.Node, 0, len(c.nodes))
		for _, n := range c.nodes {
			if n.Object != nil {
				c.list = append(c.list, n)
			}
		}
		slices.SortFunc(c.list, func(a, b *placement.Node) int { return cmp.Compare(a.Object.Name, b.Object.Name) })
	}
	node, reasons := placement.Place(p, c.list)
	if node == "" {
		return "", reasons.Message(len(c.list))
	}
	assumed := *p
	assumed.Spec.NodeName = node
	c.assumed.Asked(p.UID, &assumed)
	c.count(&assumed)
	return node, ""
}

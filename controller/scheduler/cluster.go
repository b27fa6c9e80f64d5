package scheduler

import (
	"cmp"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/labels"
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
	makes map[types.UID]string       // the node on which room is being made for a pod
	view  placement.Cluster          // its Nodes are nil when they are out of date
}

func newCluster(namespaces func(string) labels.Set) *cluster {
	return &cluster{
		view: placement.Cluster{Namespaces: namespaces}, makes: map[types.UID]string{},
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
	n := c.node(object.Name)
	if n.Object == nil {
		c.view.Nodes = nil
	}
	n.Set(object)
}

func (c *cluster) removeNode(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.node(name).Set(nil)
	c.tidy(name)
	c.view.Nodes = nil
}

// tidy forgets a node of which nothing is known.
func (c *cluster) tidy(name string) {
	if n := c.nodes[name]; n.Object == nil && n.Empty() {
		delete(c.nodes, name)
	}
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
	c.node(p.Spec.NodeName).Put(placement.NewPod(p))
	c.where[p.UID] = p.Spec.NodeName
	c.dismiss(p.UID)
}

// nominated has room be made for the pod on the node; "" for on none any more. It reports whether that was so before.
func (c *cluster) nominated(p *corev1.Pod, node string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nominate(p, node)
}

// nominate is nominated. The caller holds mu.
func (c *cluster) nominate(p *corev1.Pod, node string) (was bool) {
	was = c.dismiss(p.UID)
	if node != "" {
		c.makes[p.UID] = node
		c.node(node).Nominate(placement.NewPod(p))
	}
	return was
}

// dismiss ends that room is made for the pod; it reports whether that was. The caller holds mu.
func (c *cluster) dismiss(uid types.UID) bool {
	before, was := c.makes[uid]
	if was {
		delete(c.makes, uid)
		c.nodes[before].Dismiss(uid)
		c.tidy(before)
	}
	return was
}

// remove stops counting a pod that needs no node any more; it reports whether there may be more room now.
func (c *cluster) remove(uid types.UID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.assumed.Forget(uid)
	waited := c.dismiss(uid)
	return c.take(uid) || waited
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
	c.nodes[name].Remove(uid)
	c.tidy(name)
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

// outcome is what is decided about a pod.
type outcome struct {
	node    string
	volumes placement.Bindings

	message   string           // without a node: why
	heals     placement.Change // and what may change that
	room      string           // the node on which room is made for the pod
	victims   []*placement.Pod // and who has to leave it
	displaced []*placement.Pod // and who waits in vain for room there
	over      bool             // room that was made for it is given up
}

// place decides for the pod and counts it on its node at once. A binding that may have happened is asked for
// again as it was. Budgets are asked for only if somebody has to leave; while they are not known nobody has to.
func (c *cluster) place(p *corev1.Pod, budgets func() ([]*policyv1.PodDisruptionBudget, bool)) outcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	if before, repeat := c.assumed.Unanswered(p.UID, p.UID); repeat && c.node(before.Spec.NodeName).Object != nil {
		c.assumed.Asked(p.UID, before)
		return outcome{node: before.Spec.NodeName}
	}
	c.take(p.UID)
	if at := c.makes[p.UID]; at != p.Status.NominatedNodeName {
		wish := *p
		wish.Status.NominatedNodeName = at
		p = &wish
	}
	d := placement.Place(p, c.snapshot())
	if d.Node == "" {
		return c.makeRoom(p, d, budgets)
	}
	assumed := *p
	assumed.Spec.NodeName = d.Node
	c.assumed.Asked(p.UID, &assumed)
	c.count(&assumed)
	return outcome{node: d.Node, volumes: d.Volumes}
}

// stored has decisions count with volumes.
func (c *cluster) stored(volumes *placement.Storage) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.view.Storage = volumes
}

// snapshot is the known nodes, and what else decisions are made from.
func (c *cluster) snapshot() *placement.Cluster {
	if c.view.Nodes == nil {
		c.view.Nodes = make([]*placement.Node, 0, len(c.nodes))
		for _, n := range c.nodes {
			if n.Object != nil {
				c.view.Nodes = append(c.view.Nodes, n)
			}
		}
		slices.SortFunc(c.view.Nodes, func(a, b *placement.Node) int { return cmp.Compare(a.Object.Name, b.Object.Name) })
	}
	return &c.view
}

// makeRoom decides who has to leave for a pod that has no node, and counts with it.
func (c *cluster) makeRoom(p *corev1.Pod, d placement.Decision, budgets func() ([]*policyv1.PodDisruptionBudget, bool)) outcome {
	out := outcome{message: d.Message(), heals: d.Heals}
	if len(c.view.Nodes) == 0 {
		return out
	}
	room, why, over := placement.Preempt(d, nil)
	if room != nil {
		all, known := budgets()
		if !known {
			out.message, out.heals = "", placement.Anything
			return out
		}
		if len(all) > 0 {
			room, why, over = placement.Preempt(d, all)
		}
	}
	out.message += " preemption: " + why
	out.over = over && p.Status.NominatedNodeName != ""
	switch {
	case room != nil:
		c.give(p, room, &out)
	case out.over:
		c.dismiss(p.UID)
	}
	return out
}

// give notes that room is made for the pod, and what has to be done for that.
func (c *cluster) give(p *corev1.Pod, room *placement.Preemption, out *outcome) {
	n := c.nodes[room.Node]
	out.room, out.displaced = room.Node, n.Nominated(*cmp.Or(p.Spec.Priority, new(int32)))
	for _, victim := range room.Victims {
		if !victim.Leaving {
			out.victims = append(out.victims, victim)
		}
		victim.Leave()
	}
	for _, other := range out.displaced {
		c.dismiss(other.UID)
	}
	c.nominate(p, room.Node)
}

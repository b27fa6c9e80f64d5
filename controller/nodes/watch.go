package nodes

import (
	"context"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/kube"
)

// watching is since when this process has been watching without a gap.
func (c *Controller) watching(now time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.watch.at(now)
}

// keepWatch looks often enough for a gap to be one.
func (c *Controller) keepWatch(ctx context.Context) {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		before := c.watching(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		if since := c.watching(now); !since.Equal(before) {
			c.log.Warn("fleet: nobody watched for a while, or the clock was set; nodes are judged by what is heard from now on")
		}
	}
}

// nodeChanged notes heartbeats in the node's status and queues the node.
func (c *Controller) nodeChanged(old, n *corev1.Node, _ bool) {
	if n == nil {
		c.nodeGone(old)
		return
	}
	c.mu.Lock()
	if old == nil {
		c.heard[n.Name] = time.Now()
		c.nodeQueue.Add(n.Name)
		c.dnsQueue.Add("")
		c.mu.Unlock()
		c.queuePods(n.Name)
		return
	}
	was, is := condition(old.Status.Conditions, corev1.NodeReady), condition(n.Status.Conditions, corev1.NodeReady)
	// Only the agent writes anything but Unknown.
	if is != nil && is.Status != corev1.ConditionUnknown && !apiequality.Semantic.DeepEqual(was, is) {
		c.heard[n.Name] = time.Now()
	}
	if was != nil && was.Status == corev1.ConditionTrue && (is == nil || is.Status != corev1.ConditionTrue) {
		c.turned[n.Name] = true
	}
	c.mu.Unlock()
	if !apiequality.Semantic.DeepEqual(old.Spec, n.Spec) {
		c.queuePods(n.Name)
	}
	ready := status(n.Status.Conditions, corev1.NodeReady)
	if status(old.Status.Conditions, corev1.NodeReady) != ready || !slices.Equal(old.Spec.PodCIDRs, n.Spec.PodCIDRs) {
		c.dnsQueue.Add("")
	}
	if ready == corev1.ConditionTrue && status(old.Status.Conditions, corev1.NodeReady) != ready {
		c.queueTainted() // now there is somewhere to go
	}
	c.nodeQueue.Add(n.Name)
}

// nodeGone forgets the node; its range is free, its pods go after the quarantine. Should its agent live and register again,
// it gets the same range, which its pods have addresses of.
func (c *Controller) nodeGone(n *corev1.Node) {
	c.mu.Lock()
	delete(c.heard, n.Name)
	delete(c.turned, n.Name)
	c.had[n.Name] = cidrs(n)
	c.mu.Unlock()
	c.queuePods(n.Name)
	c.dnsQueue.Add("")
	for _, obj := range c.nodes.GetIndexer().List() {
		if other := obj.(*corev1.Node); len(cidrs(other)) < len(c.ranges) {
			c.nodeQueue.Add(other.Name)
		}
	}
}

// leaseChanged notes that the node's agent is alive. A node that was silent is
// looked at at once, the others when their time is up.
func (c *Controller) leaseChanged(_, l *coordinationv1.Lease, _ bool) {
	if l == nil || l.Namespace != corev1.NamespaceNodeLease {
		return
	}
	c.mu.Lock()
	c.heard[l.Name] = time.Now()
	c.mu.Unlock()
}

func (c *Controller) podChanged(old, p *corev1.Pod, _ bool) {
	if p == nil {
		c.housed(old.UID)
		return
	}
	if p.Spec.NodeName == "" || old != nil && old.Spec.NodeName == p.Spec.NodeName &&
		apiequality.Semantic.DeepEqual(old.Spec.Tolerations, p.Spec.Tolerations) {
		return
	}
	c.podQueue.Add(kube.Key(p))
}

// housed forgets that a pod had no node: it has one, or is gone.
func (c *Controller) housed(pod types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.homeless, pod)
}

// podsOn are the pods of the node.
func (c *Controller) podsOn(node string) []*corev1.Pod {
	objs, err := c.pods.GetIndexer().ByIndex(nodeIndex, node)
	if err != nil {
		panic("BUG: fleet: " + err.Error()) // the index is added by New
	}
	out := make([]*corev1.Pod, len(objs))
	for i, obj := range objs {
		out[i] = obj.(*corev1.Pod)
	}
	return out
}

func (c *Controller) queuePods(node string) {
	for _, p := range c.podsOn(node) {
		c.podQueue.Add(kube.Key(p))
	}
}

// queueTainted queues the pods of all nodes with taints that evict.
func (c *Controller) queueTainted() {
	for _, obj := range c.nodes.GetIndexer().List() {
		n := obj.(*corev1.Node)
		for i := range n.Spec.Taints {
			if n.Spec.Taints[i].Effect == corev1.TaintEffectNoExecute {
				c.queuePods(n.Name)
				break
			}
		}
	}
}

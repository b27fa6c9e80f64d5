package nodes

import (
	"context"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/controller/nodes/lifecycle"
	"fairlead.dev/fairlead/kube"
)

// observing is since when this process has been observing without a gap.
func (c *Controller) observing(now time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.gaps.Observing(now)
}

// detectGaps looks often enough for a gap to be one.
func (c *Controller) detectGaps(ctx context.Context) {
	tick := time.NewTicker(lifecycle.CheckInterval)
	defer tick.Stop()
	for {
		before := c.observing(time.Now())
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := time.Now()
		if since := c.observing(now); !since.Equal(before) {
			c.log.Warn("this process did nothing for a while, or the clock was set; nodes are judged by what is observed from now on")
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
		c.observed[n.Name] = time.Now()
		c.nodeQueue.Add(n.Name)
		c.dnsQueue.Add("")
		c.mu.Unlock()
		c.queuePods(n.Name)
		return
	}
	was, is := api.NodeCondition(old.Status.Conditions, corev1.NodeReady), api.NodeCondition(n.Status.Conditions, corev1.NodeReady)
	// Only the agent writes anything but Unknown.
	if is != nil && is.Status != corev1.ConditionUnknown && !apiequality.Semantic.DeepEqual(was, is) {
		c.observed[n.Name] = time.Now()
	}
	if was != nil && was.Status == corev1.ConditionTrue && (is == nil || is.Status != corev1.ConditionTrue) {
		c.unready[n.Name] = true
	}
	c.mu.Unlock()
	if !apiequality.Semantic.DeepEqual(old.Spec, n.Spec) {
		c.queuePods(n.Name)
	}
	ready := lifecycle.ConditionStatus(n.Status.Conditions, corev1.NodeReady)
	if lifecycle.ConditionStatus(old.Status.Conditions, corev1.NodeReady) != ready || !slices.Equal(old.Spec.PodCIDRs, n.Spec.PodCIDRs) {
		c.dnsQueue.Add("")
	}
	if ready == corev1.ConditionTrue && lifecycle.ConditionStatus(old.Status.Conditions, corev1.NodeReady) != ready {
		c.queueTainted() // now there is somewhere to go
	}
	c.nodeQueue.Add(n.Name)
}

// nodeGone forgets the node; its CIDRs are free, its pods go after the quarantine. Should its agent live and register again,
// it gets the same CIDRs, which its pods have addresses of.
func (c *Controller) nodeGone(n *corev1.Node) {
	c.mu.Lock()
	delete(c.observed, n.Name)
	delete(c.unready, n.Name)
	c.released[n.Name] = api.PodRanges(n)
	c.mu.Unlock()
	c.countCIDRs(c.metrics.releases, nil, api.PodRanges(n))
	c.queuePods(n.Name)
	c.dnsQueue.Add("")
	for _, obj := range c.nodes.GetIndexer().List() {
		if other := obj.(*corev1.Node); len(api.PodRanges(other)) < len(c.podCIDRs) {
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
	c.observed[l.Name] = time.Now()
	c.mu.Unlock()
}

func (c *Controller) podChanged(old, p *corev1.Pod, _ bool) {
	if p == nil {
		c.forgetOrphan(old.UID)
		return
	}
	if p.Spec.NodeName == "" || old != nil && old.Spec.NodeName == p.Spec.NodeName &&
		apiequality.Semantic.DeepEqual(old.Spec.Tolerations, p.Spec.Tolerations) {
		return
	}
	c.podQueue.Add(kube.Key(p))
}

// forgetOrphan forgets that a pod had no node: it has one, or is gone.
func (c *Controller) forgetOrphan(pod types.UID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.orphans, pod)
}

// podsOn are the pods of the node.
func (c *Controller) podsOn(node string) []*corev1.Pod {
	objs, err := c.pods.GetIndexer().ByIndex(nodeIndex, node)
	if err != nil {
		panic("BUG: nodes: " + err.Error()) // the index is added by New
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

package nodes

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/controller/nodes/lifecycle"
	"fairlead.dev/fairlead/kube"
)

// syncNode allocates the node its CIDRs, judges it and, if it turned bad, its pods.
func (c *Controller) syncNode(ctx context.Context, name string) (time.Duration, error) {
	n := kube.Cached[corev1.Node](c.nodes, types.NamespacedName{Name: name})
	if n == nil {
		return 0, nil
	}
	if len(api.PodRanges(n)) < len(c.podCIDRs) {
		if err := c.allocateCIDRs(ctx, n); err != nil {
			return 0, err
		}
	}
	c.mu.Lock()
	now := time.Now()
	observed, unready := later(c.observed[name], c.gaps.Observing(now)), c.unready[name]
	c.mu.Unlock()
	plan := lifecycle.PlanNode(n, observed, now)
	if len(plan.Conditions) > 0 {
		c.log.Warn("node is silent", "node", name, "since", observed)
		c.events.Eventf(n, corev1.EventTypeNormal, "NodeNotReady", "Node %s status is now: NodeNotReady", name)
		if err := c.patchNode(ctx, n, map[string]any{"status": map[string]any{"conditions": plan.Conditions}}, types.StrategicMergePatchType, "status"); err != nil {
			return 0, fmt.Errorf("conditions: %w", err)
		}
		return 0, fmt.Errorf("%w for the conditions: taints need the resource version that they have made", kube.ErrWaiting)
	}
	if plan.Unreachable || unready {
		if err := c.markPodsNotReady(ctx, name); err != nil {
			return 0, err
		}
		c.mu.Lock()
		delete(c.unready, name)
		c.mu.Unlock()
	}
	if plan.TaintsChanged {
		patch := map[string]any{"metadata": map[string]any{"resourceVersion": n.ResourceVersion}, "spec": map[string]any{"taints": plan.Taints}}
		if err := c.patchNode(ctx, n, patch, types.MergePatchType); err != nil {
			return 0, fmt.Errorf("taints: %w", err)
		}
		c.metrics.evicted(n, plan.Taints)
	}
	if plan.Unreachable {
		return lifecycle.MonitorGracePeriod, nil
	}
	return plan.Recheck, nil
}

func (c *Controller) patchNode(ctx context.Context, n *corev1.Node, fields map[string]any, kind types.PatchType, subresources ...string) error {
	patch, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	_, err = c.client.CoreV1().Nodes().Patch(ctx, n.Name, kind, patch, metav1.PatchOptions{}, subresources...)
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// allocateCIDRs writes free CIDRs into a node that lacks some. While nobody knows what has become of that, they are nobody
// else's, and the node gets the same ones again.
func (c *Controller) allocateCIDRs(ctx context.Context, n *corev1.Node) error {
	with, repeat := c.own.Unanswered(everyNode, n.UID)
	if !repeat {
		var err error
		if with, err = c.withCIDRs(n); with == nil || err != nil {
			return err
		}
	}
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": n.UID},
		"spec":     map[string]any{"podCIDR": with.Spec.PodCIDR, "podCIDRs": with.Spec.PodCIDRs},
	})
	if err != nil {
		return err
	}
	c.own.Asked(everyNode, with)
	answer, err := c.client.CoreV1().Nodes().Patch(ctx, n.Name, types.MergePatchType, patch, metav1.PatchOptions{})
	switch {
	case err == nil:
		c.own.Wrote(everyNode, answer)
		c.countCIDRs(c.metrics.allocations, api.PodRanges(n), api.PodRanges(answer))
		return nil
	case kube.Refused(err):
		c.own.Withdraw(everyNode, n.UID)
	default:
		c.own.NoAnswer(everyNode, n.UID)
	}
	if apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("node %s: pod ranges %v: %w", n.Name, with.Spec.PodCIDRs, err)
}

// withCIDRs is the node with free CIDRs where it lacks some; nil when there is nothing to write.
func (c *Controller) withCIDRs(n *corev1.Node) (*corev1.Node, error) {
	version := c.nodes.GetStore().LastStoreSyncResourceVersion()
	var cached []*corev1.Node
	for _, obj := range c.nodes.GetStore().List() {
		cached = append(cached, obj.(*corev1.Node))
	}
	var taken []netip.Prefix
	for _, other := range c.own.View(everyNode, version, cached) {
		if other.UID == n.UID && len(api.PodRanges(other)) >= len(c.podCIDRs) {
			return nil, nil // written; the cache will show it
		}
		taken = append(taken, api.PodRanges(other)...)
	}
	cidrs, exhausted := lifecycle.AllocateCIDRs(c.podCIDRs, c.previousCIDRs(n, taken), taken)
	if exhausted.IsValid() {
		c.events.Eventf(n, corev1.EventTypeNormal, "CIDRNotAvailable", "Node %s status is now: CIDRNotAvailable", n.Name)
		return nil, fmt.Errorf("node %s: no /%d left in %s: delete nodes that are gone or start with a larger pod range", n.Name, lifecycle.NodeBits(exhausted), exhausted)
	}
	if len(cidrs) == len(api.PodRanges(n)) {
		return nil, nil
	}
	with := n.DeepCopy()
	with.Spec.PodCIDRs = make([]string, len(cidrs))
	for i, p := range cidrs {
		with.Spec.PodCIDRs[i] = p.String()
	}
	with.Spec.PodCIDR = with.Spec.PodCIDRs[0]
	return with, nil
}

// previousCIDRs are what the node has, or had before it was deleted if nobody else has it now.
func (c *Controller) previousCIDRs(n *corev1.Node, taken []netip.Prefix) []netip.Prefix {
	c.mu.Lock()
	released := c.released[n.Name]
	delete(c.released, n.Name)
	c.mu.Unlock()
	used := func(p netip.Prefix) bool { return slices.ContainsFunc(taken, p.Overlaps) }
	if len(api.PodRanges(n)) > 0 || slices.ContainsFunc(released, used) {
		return api.PodRanges(n)
	}
	return released
}

// markPodsNotReady sets Ready=False on the node's pods, so that they leave the endpoints
// (rule R35); the agent restores it when it is back.
func (c *Controller) markPodsNotReady(ctx context.Context, node string) error {
	for _, p := range c.podsOn(node) {
		if !api.PodReady(p) {
			continue
		}
		cond := *api.PodCondition(p.Status.Conditions, corev1.PodReady)
		cond.Status, cond.LastTransitionTime = corev1.ConditionFalse, metav1.Now()
		if err := c.patchPod(ctx, p, cond); err != nil {
			return fmt.Errorf("pod %s/%s: %w", p.Namespace, p.Name, err)
		}
		c.events.Event(p, corev1.EventTypeWarning, "NodeNotReady", "Node is not ready")
	}
	return nil
}

func (c *Controller) patchPod(ctx context.Context, p *corev1.Pod, cond corev1.PodCondition) error {
	patch, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": p.UID},
		"status":   map[string]any{"conditions": []corev1.PodCondition{cond}},
	})
	if err != nil {
		return err
	}
	_, err = c.client.CoreV1().Pods(p.Namespace).Patch(ctx, p.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil // gone, or another of the same name
	}
	return err
}

// syncPod evicts the pod when its node's taints say so, and removes it when its
// node is gone.
func (c *Controller) syncPod(ctx context.Context, key types.NamespacedName) (time.Duration, error) {
	p := kube.Cached[corev1.Pod](c.pods, key)
	if p == nil {
		return 0, nil
	}
	n := kube.Cached[corev1.Node](c.nodes, types.NamespacedName{Name: p.Spec.NodeName})
	if n == nil {
		return c.orphaned(ctx, p)
	}
	c.forgetOrphan(p.UID)
	if p.DeletionTimestamp != nil || api.Finished(p) {
		return 0, nil
	}
	now := time.Now()
	at, stays := lifecycle.PlanEviction(p, n.Spec.Taints, c.anyReady(), c.observing(now), now)
	if stays {
		return 0, nil
	}
	if at.After(now) {
		return at.Sub(now), nil
	}
	c.events.Eventf(p, corev1.EventTypeNormal, "TaintManagerEviction", "Marking for deletion Pod %s", key)
	if err := c.patchPod(ctx, p, corev1.PodCondition{
		Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "DeletionByTaintManager",
		Message: "Taint manager: deleting due to NoExecute taint", LastTransitionTime: metav1.Now(),
	}); err != nil {
		return 0, err
	}
	deleted, err := c.deletePod(ctx, p, metav1.DeleteOptions{})
	if deleted {
		c.metrics.deleted(at, time.Now())
	}
	return 0, err
}

func (c *Controller) anyReady() bool {
	for _, obj := range c.nodes.GetIndexer().List() {
		if api.NodeReady(obj.(*corev1.Node)) {
			return true
		}
	}
	return false
}

// orphaned removes a pod whose node does not exist, after the quarantine and after
// asking the server.
func (c *Controller) orphaned(ctx context.Context, p *corev1.Pod) (time.Duration, error) {
	if p.Spec.NodeName == "" {
		return 0, nil
	}
	now := time.Now()
	observing := c.observing(now)
	c.mu.Lock()
	since, ok := c.orphans[p.UID]
	if !ok {
		since = now
		c.orphans[p.UID] = since
	}
	c.mu.Unlock()
	if left := later(since, observing).Add(lifecycle.OrphanQuarantine).Sub(now); left > 0 {
		return left, nil
	}
	_, err := c.client.CoreV1().Nodes().Get(ctx, p.Spec.NodeName, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		return lifecycle.OrphanQuarantine, err
	}
	c.log.Info("pod removed, its node is gone", "pod", kube.Key(p).String(), "node", p.Spec.NodeName)
	atOnce := int64(0)
	deleted, err := c.deletePod(ctx, p, metav1.DeleteOptions{GracePeriodSeconds: &atOnce})
	c.metrics.removed(p.Namespace, deleted, err)
	return 0, err
}

// deletePod deletes exactly this pod; one that is gone already is no error.
func (c *Controller) deletePod(ctx context.Context, p *corev1.Pod, opts metav1.DeleteOptions) (deleted bool, err error) {
	opts.Preconditions = metav1.NewUIDPreconditions(string(p.UID))
	err = c.client.CoreV1().Pods(p.Namespace).Delete(ctx, p.Name, opts)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// later is the later of two times.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

package workload

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/kube"
)

// watch registers indexes and handlers. Handlers only put keys on queues.
func (c *Controller) watch() {
	for _, informer := range []cache.SharedIndexInformer{c.sets, c.pods} {
		if err := informer.AddIndexers(cache.Indexers{ownerIndex: indexOwner}); err != nil {
			panic(fmt.Sprintf("BUG: workload: %v", err)) // the informer was started, or given the same index, before New
		}
	}
	c.listed = []cache.DoneChecker{
		kube.Watch(c.deployments, c.deploymentChanged), kube.Watch(c.sets, c.setChanged), kube.Watch(c.pods, c.podChanged),
	}
}

// deploymentChanged queues the Deployment, or forgets one that is deleted.
func (c *Controller) deploymentChanged(old, d *appsv1.Deployment, _ bool) {
	if d == nil {
		c.ownSets.Forget(old.UID)
		c.ownDeployments.Forget(old.UID)
		return
	}
	c.deploymentQueue.Add(kube.Key(d))
}

// ownerKey is the key of obj's controller if that is of the kind.
func ownerKey(obj metav1.Object, kind string) (types.NamespacedName, bool) {
	ref := metav1.GetControllerOfNoCopy(obj)
	if ref == nil || ref.Kind != kind {
		return types.NamespacedName{}, false
	}
	return types.NamespacedName{Namespace: obj.GetNamespace(), Name: ref.Name}, true
}

// setChanged queues the ReplicaSet and the Deployments it belongs, belonged or
// could belong to.
func (c *Controller) setChanged(old, rs *appsv1.ReplicaSet, _ bool) {
	if rs == nil {
		c.ownPods.Forget(old.UID)
		c.ownSetSelf.Forget(old.UID)
		rs = old
	}
	c.setQueue.Add(kube.Key(rs))
	for _, obj := range kube.Versions(old, rs) {
		if key, ok := ownerKey(obj, "Deployment"); ok {
			c.deploymentQueue.Add(key)
		}
	}
	if metav1.GetControllerOfNoCopy(rs) == nil {
		for _, obj := range c.deployments.GetIndexer().List() {
			d := obj.(*appsv1.Deployment)
			if d.Namespace == rs.Namespace && selects(d.Spec.Selector, rs.Labels) {
				c.deploymentQueue.Add(kube.Key(d))
			}
		}
	}
}

// podChanged queues the ReplicaSets the pod belongs, belonged or could belong to.
func (c *Controller) podChanged(old, p *corev1.Pod, _ bool) {
	gone := p == nil
	if gone {
		p = old
	}
	for _, obj := range kube.Versions(old, p) {
		if key, ok := ownerKey(obj, "ReplicaSet"); ok {
			c.setQueue.Add(key)
		}
	}
	if metav1.GetControllerOfNoCopy(p) == nil {
		for _, obj := range c.sets.GetIndexer().List() {
			rs := obj.(*appsv1.ReplicaSet)
			if rs.Namespace == p.Namespace && selects(rs.Spec.Selector, p.Labels) {
				c.setQueue.Add(kube.Key(rs))
			}
		}
	}
	if gone || api.Finished(p) && old != nil && !api.Finished(old) {
		c.podGone(p)
	}
}

// podGone queues the pod's Deployment if that waits for old pods to go (Recreate).
func (c *Controller) podGone(p *corev1.Pod) {
	key, ok := ownerKey(p, "ReplicaSet")
	if !ok {
		return
	}
	rs := kube.Cached[appsv1.ReplicaSet](c.sets, key)
	if rs == nil {
		return
	}
	if key, ok := ownerKey(rs, "Deployment"); ok {
		if d := kube.Cached[appsv1.Deployment](c.deployments, key); d != nil && d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
			c.deploymentQueue.Add(key)
		}
	}
}

// selects reports whether a workload's selector takes objects with these labels;
// an empty or broken one takes none.
func selects(s *metav1.LabelSelector, set map[string]string) bool {
	selector, err := metav1.LabelSelectorAsSelector(s)
	return err == nil && !selector.Empty() && selector.Matches(labels.Set(set))
}

package workload

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
)

// watch registers indexes and handlers. Handlers only put keys on queues.
func (c *Controller) watch() {
	for _, informer := range []cache.SharedIndexInformer{c.sets, c.pods} {
		must(informer.AddIndexers(cache.Indexers{ownerIndex: indexOwner}))
	}
	handle(c.deployments, func(_, d *appsv1.Deployment) {
		c.deploymentQueue.Add(keyOf(d))
	}, func(d *appsv1.Deployment) {
		c.ownSets.forget(d.UID)
		c.ownDeployments.forget(d.UID)
	})
	handle(c.sets, c.setChanged, func(rs *appsv1.ReplicaSet) {
		c.ownPods.forget(rs.UID)
		c.ownSetSelf.forget(rs.UID)
		c.setChanged(rs, rs)
	})
	handle(c.pods, c.podChanged, func(p *corev1.Pod) {
		c.podChanged(p, p)
		c.podGone(p)
	})
}

// must reports a mistake in this program: an informer that was started or given
// the same index before New.
func must(err error) {
	if err != nil {
		panic(fmt.Sprintf("BUG: workload: %v", err))
	}
}

// handle calls changed for each new or changed object (old is the object itself
// when it is new) and gone for each that is deleted.
func handle[T metav1.Object](informer cache.SharedIndexInformer, changed func(old, obj T), gone func(T)) {
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { changed(obj.(T), obj.(T)) },
		UpdateFunc: func(old, obj any) { changed(old.(T), obj.(T)) },
		DeleteFunc: func(obj any) {
			if last, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = last.Obj
			}
			if t, ok := obj.(T); ok {
				gone(t)
			}
		},
	})
	must(err)
}

func keyOf(obj metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: obj.GetNamespace(), Name: obj.GetName()}
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
func (c *Controller) setChanged(old, rs *appsv1.ReplicaSet) {
	c.setQueue.Add(keyOf(rs))
	for _, obj := range []*appsv1.ReplicaSet{old, rs} {
		if key, ok := ownerKey(obj, "Deployment"); ok {
			c.deploymentQueue.Add(key)
		}
	}
	if metav1.GetControllerOfNoCopy(rs) == nil {
		for _, obj := range c.deployments.GetIndexer().List() {
			d := obj.(*appsv1.Deployment)
			if d.Namespace == rs.Namespace && selects(d.Spec.Selector, rs.Labels) {
				c.deploymentQueue.Add(keyOf(d))
			}
		}
	}
}

// podChanged queues the ReplicaSets the pod belongs, belonged or could belong to.
func (c *Controller) podChanged(old, p *corev1.Pod) {
	for _, obj := range []*corev1.Pod{old, p} {
		if key, ok := ownerKey(obj, "ReplicaSet"); ok {
			c.setQueue.Add(key)
		}
	}
	if metav1.GetControllerOfNoCopy(p) == nil {
		for _, obj := range c.sets.GetIndexer().List() {
			rs := obj.(*appsv1.ReplicaSet)
			if rs.Namespace == p.Namespace && selects(rs.Spec.Selector, p.Labels) {
				c.setQueue.Add(keyOf(rs))
			}
		}
	}
	if finished(p) && !finished(old) {
		c.podGone(p)
	}
}

// podGone queues the pod's Deployment if that waits for old pods to go (Recreate).
func (c *Controller) podGone(p *corev1.Pod) {
	key, ok := ownerKey(p, "ReplicaSet")
	if !ok {
		return
	}
	rs, ok := cached[*appsv1.ReplicaSet](c.sets, key)
	if !ok {
		return
	}
	if key, ok := ownerKey(rs, "Deployment"); ok {
		if d, ok := cached[*appsv1.Deployment](c.deployments, key); ok && d.Spec.Strategy.Type == appsv1.RecreateDeploymentStrategyType {
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

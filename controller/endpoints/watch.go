package endpoints

//lint:file-ignore SA1019 v1 Endpoints are deprecated for new clients; old ones still read what is written here.

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/controller/endpoints/plan"
	"fairlead.dev/fairlead/kube"
)

// watch translates events into names of Services to look at. What it returns is done when all first events have been seen.
func (c *Controller) watch() []cache.DoneChecker {
	return []cache.DoneChecker{
		kube.Watch(c.services, c.serviceChanged), kube.Watch(c.pods, c.podChanged), kube.Watch(c.nodes, c.nodeChanged),
		kube.Watch(c.endpoints, c.endpointsChanged), kube.Watch(c.slices, c.sliceChanged),
	}
}

func (c *Controller) serviceChanged(before, after *corev1.Service, _ bool) {
	key := kube.Key(kube.Versions(before, after)[0])
	if after != nil && api.Selects(after) {
		c.selectors.Set(key, after.Spec.Selector)
	} else {
		c.selectors.Set(key, nil)
	}
	c.slicesLoop.wanted(key)
	c.endpointsLoop.wanted(key)
	c.mirrorLoop.wanted(key)
}

// podChanged asks for every Service that selects the pod now or did before. When only the labels
// changed, a Service that selects it before and after has nothing to do (rule E14).
func (c *Controller) podChanged(before, after *corev1.Pod, _ bool) {
	services := map[types.NamespacedName]struct{}{}
	collect := func(pod *corev1.Pod) {
		for name := range c.selectors.Matching(pod.Namespace, pod.Labels) {
			services[types.NamespacedName{Namespace: pod.Namespace, Name: name}] = struct{}{}
		}
	}
	switch {
	case after == nil:
		collect(before)
	case before == nil:
		collect(after)
	case !plan.SamePod(before, after):
		collect(after)
		if !maps.Equal(before.Labels, after.Labels) {
			collect(before)
		}
	case !maps.Equal(before.Labels, after.Labels):
		was := c.selectors.Matching(before.Namespace, before.Labels)
		is := c.selectors.Matching(after.Namespace, after.Labels)
		for _, name := range symmetricDifference(was, is) {
			services[types.NamespacedName{Namespace: after.Namespace, Name: name}] = struct{}{}
		}
	}
	for key := range services {
		c.slicesLoop.wanted(key)
		c.endpointsLoop.wanted(key)
	}
}

// symmetricDifference returns what is in exactly one of two sets.
func symmetricDifference(a, b map[string]struct{}) []string {
	var names []string
	for name := range a {
		if _, ok := b[name]; !ok {
			names = append(names, name)
		}
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			names = append(names, name)
		}
	}
	return names
}

// nodeChanged asks for the Services of the node's pods when the node appears or moves to another
// zone: their endpoints had to wait for it, or name the old zone (rule E57). The Services in mode
// Auto depend on the size of all zones (rule E94).
func (c *Controller) nodeChanged(before, after *corev1.Node, first bool) {
	if first {
		return
	}
	if after != nil && (before == nil || plan.Zone(before) != plan.Zone(after)) {
		pods, err := c.pods.GetIndexer().ByIndex(podsByNode, after.Name)
		if err != nil {
			return // New has called Index
		}
		for _, obj := range pods {
			c.podChanged(nil, obj.(*corev1.Pod), false)
		}
	}
	if before != nil && after != nil && plan.CapacityOf(before) == plan.CapacityOf(after) {
		return
	}
	for _, obj := range c.services.GetStore().List() {
		if svc := obj.(*corev1.Service); plan.Automatic(svc) {
			c.slicesLoop.wanted(kube.Key(svc))
		}
	}
}

// endpointsChanged mirrors a hand-written object at once, brings a deleted one back (rule E33) and
// looks after an edited one. The objects that exist at the start are looked at because their Service
// may have been deleted while nobody looked (rule E34); later, one that is written by hand before its
// Service exists is left alone.
func (c *Controller) endpointsChanged(before, after *corev1.Endpoints, first bool) {
	if after == nil {
		key := kube.Key(before)
		if kube.Cached[corev1.Service](c.services, key) != nil {
			c.endpointsLoop.own.Lost(key, before)
		}
		c.mirrorLoop.wanted(key)
		c.endpointsLoop.wanted(key)
		return
	}
	key := kube.Key(after)
	c.mirrorLoop.wanted(key)
	ours := after.Labels[api.LabelEndpointsManagedBy] == api.EndpointsManager
	if before != nil && (ours || before.Labels[api.LabelEndpointsManagedBy] == api.EndpointsManager) && !plan.SameContent(before, after) {
		c.endpointsLoop.own.Changed(key, after)
	}
	switch {
	case first:
		c.endpointsLoop.wanted(key)
	case ours || kube.Cached[corev1.Service](c.services, key) != nil:
		c.endpointsLoop.written(key)
	}
}

// sliceChanged looks after slices that somebody may have edited or deleted (rule E67). A slice
// whose labels now name another Service or controller concerns both.
func (c *Controller) sliceChanged(before, after *discoveryv1.EndpointSlice, first bool) {
	if first {
		return
	}
	if before != nil && (after == nil || !sameKeeper(before, after)) {
		if l := c.keeper(before); l != nil {
			l.wanted(api.ServiceOf(before))
		}
	}
	if after != nil {
		if l := c.keeper(after); l != nil {
			l.written(api.ServiceOf(after))
		}
	}
}

// keeper returns the loop that keeps a slice, nil when it is none of ours (rule E87).
func (c *Controller) keeper(slice *discoveryv1.EndpointSlice) *loop[*discoveryv1.EndpointSlice] {
	switch slice.Labels[discoveryv1.LabelManagedBy] {
	case api.SlicesManager:
		return c.slicesLoop
	case api.MirrorManager:
		return c.mirrorLoop
	}
	return nil
}

func sameKeeper(a, b *discoveryv1.EndpointSlice) bool {
	return a.Labels[discoveryv1.LabelManagedBy] == b.Labels[discoveryv1.LabelManagedBy] && api.ServiceOf(a) == api.ServiceOf(b)
}

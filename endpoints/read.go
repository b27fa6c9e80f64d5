package endpoints

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
)

// podsOf returns the pods that a Service selects. The index is asked for every pair of the
// selector, and the shortest answer is searched.
func (c *Controller) podsOf(svc *corev1.Service) []*corev1.Pod {
	var candidates []any
	first := true
	for key, value := range svc.Spec.Selector {
		objs, err := c.pods.GetIndexer().ByIndex(podsByLabel, labelValue(svc.Namespace, key, value))
		if err != nil {
			return nil // the index exists: Run has added it
		}
		if first || len(objs) < len(candidates) {
			candidates, first = objs, false
		}
	}
	pods := make([]*corev1.Pod, 0, len(candidates))
	for _, obj := range candidates {
		if pod := obj.(*corev1.Pod); matches(svc.Spec.Selector, pod.Labels) {
			pods = append(pods, pod)
		}
	}
	return pods
}

// nodesFor returns the nodes that a plan looks at, as far as the cache has them: those of the pods,
// or all of them for a Service whose hints depend on the size of all zones.
func (c *Controller) nodesFor(svc *corev1.Service, pods []*corev1.Pod) map[string]*corev1.Node {
	nodes := map[string]*corev1.Node{}
	if automatic(svc) {
		for _, obj := range c.nodes.GetStore().List() {
			node := obj.(*corev1.Node)
			nodes[node.Name] = node
		}
		return nodes
	}
	for _, pod := range pods {
		name := pod.Spec.NodeName
		if _, known := nodes[name]; known || name == "" {
			continue
		}
		if node := cached[corev1.Node](c.nodes, types.NamespacedName{Name: name}); node != nil {
			nodes[name] = node
		}
	}
	return nodes
}

// cached returns an object from a cache, nil when it is not there.
func cached[T any](informer cache.SharedIndexInformer, key types.NamespacedName) *T {
	name := key.Name
	if key.Namespace != "" {
		name = key.Namespace + "/" + key.Name
	}
	obj, ok, err := informer.GetStore().GetByKey(name)
	if err != nil || !ok {
		return nil
	}
	found, _ := obj.(*T)
	return found
}

// labelValue and sliceValue build the values of the indexes.
func labelValue(namespace, key, value string) string {
	return namespace + indexSeparator + key + indexSeparator + value
}

func sliceValue(manager string, svc types.NamespacedName) string {
	return manager + indexSeparator + svc.Namespace + indexSeparator + svc.Name
}

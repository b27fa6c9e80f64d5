package endpoints

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/controller/endpoints/plan"
	"fairlead.dev/fairlead/kube"
)

// Names of the indexes that Index adds to the shared caches.
const (
	podsByLabel     = "endpoints/pods-by-label"
	podsByNode      = "endpoints/pods-by-node"
	slicesByService = "endpoints/slices-by-service"
	indexSeparator  = "\x00" // is in no name, label key or label value
)

// Index lets the shared caches of pods and slices answer "which pods have this label", "which pods are on this node" and "which
// slices does this controller keep for this Service" without a scan. It does nothing when they can already.
func Index(pods, slices cache.SharedIndexInformer) error {
	if _, again := pods.GetIndexer().GetIndexers()[podsByLabel]; again {
		return nil
	}
	err := pods.AddIndexers(cache.Indexers{
		podsByLabel: func(obj any) ([]string, error) {
			pod := obj.(*corev1.Pod)
			values := make([]string, 0, len(pod.Labels))
			for key, value := range pod.Labels {
				values = append(values, labelValue(pod.Namespace, key, value))
			}
			return values, nil
		},
		podsByNode: func(obj any) ([]string, error) {
			return []string{obj.(*corev1.Pod).Spec.NodeName}, nil
		},
	})
	if err == nil {
		err = slices.AddIndexers(cache.Indexers{
			slicesByService: func(obj any) ([]string, error) {
				slice := obj.(*discoveryv1.EndpointSlice)
				return []string{sliceValue(slice.Labels[discoveryv1.LabelManagedBy], api.ServiceOf(slice))}, nil
			},
		})
	}
	if err != nil {
		return fmt.Errorf("index the caches of pods and slices: %w", err)
	}
	return nil
}

// Pods returns the pods of a namespace that have all labels of a selector, from a cache that Index has prepared. The index is
// asked for every pair of the selector, and the shortest answer is searched. An empty selector matches no pod (rule E2).
func Pods(cached cache.Indexer, namespace string, selector map[string]string) []*corev1.Pod {
	var candidates []any
	first := true
	for key, value := range selector {
		objs, err := cached.ByIndex(podsByLabel, labelValue(namespace, key, value))
		if err != nil {
			return nil // New has called Index
		}
		if first || len(objs) < len(candidates) {
			candidates, first = objs, false
		}
	}
	pods := make([]*corev1.Pod, 0, len(candidates))
	for _, obj := range candidates {
		if pod := obj.(*corev1.Pod); api.Matches(selector, pod.Labels) {
			pods = append(pods, pod)
		}
	}
	return pods
}

// Slices returns the slices that a controller, by its managed-by label, keeps for a Service, from a cache that Index has
// prepared.
func Slices(cached cache.Indexer, manager string, svc types.NamespacedName) []*discoveryv1.EndpointSlice {
	objs, err := cached.ByIndex(slicesByService, sliceValue(manager, svc))
	if err != nil {
		return nil // New has called Index
	}
	found := make([]*discoveryv1.EndpointSlice, len(objs))
	for i, obj := range objs {
		found[i] = obj.(*discoveryv1.EndpointSlice)
	}
	return found
}

// podsOf returns the pods that a Service selects.
func (c *Controller) podsOf(svc *corev1.Service) []*corev1.Pod {
	return Pods(c.pods.GetIndexer(), svc.Namespace, svc.Spec.Selector)
}

// nodesFor returns the nodes that a plan looks at, as far as the cache has them: those of the pods,
// or all of them for a Service whose hints depend on the size of all zones.
func (c *Controller) nodesFor(svc *corev1.Service, pods []*corev1.Pod) map[string]*corev1.Node {
	nodes := map[string]*corev1.Node{}
	if plan.Automatic(svc) {
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
		if node := kube.Cached[corev1.Node](c.nodes, types.NamespacedName{Name: name}); node != nil {
			nodes[name] = node
		}
	}
	return nodes
}

// labelValue and sliceValue build the values of the indexes.
func labelValue(namespace, key, value string) string {
	return namespace + indexSeparator + key + indexSeparator + value
}

func sliceValue(manager string, svc types.NamespacedName) string {
	return manager + indexSeparator + svc.Namespace + indexSeparator + svc.Name
}

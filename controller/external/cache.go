package external

//lint:file-ignore SA1019 v1 Endpoints are what people write by hand.

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/controller/external/healthcheck"
	"fairlead.dev/fairlead/kube"
)

// view reads what the caches have of a Service.
func (c *Controller) view(key types.NamespacedName) healthcheck.View {
	return healthcheck.View{
		Service: kube.Cached[corev1.Service](c.services, key), Endpoints: kube.Cached[corev1.Endpoints](c.endpoints, key),
		Slices: SlicesByHand(c.slices.GetIndexer(), key),
	}
}

// slicesByHand is the index of Index.
const slicesByHand = "external/slices-by-hand"

// Index lets the shared cache of slices answer which of a Service's slices a person wrote. It does nothing when it can already.
func Index(informer cache.SharedIndexInformer) error {
	if _, again := informer.GetIndexer().GetIndexers()[slicesByHand]; again {
		return nil
	}
	err := informer.AddIndexers(cache.Indexers{slicesByHand: func(obj any) ([]string, error) {
		if slice, ok := obj.(*discoveryv1.EndpointSlice); ok && api.ByHand(slice) {
			return []string{api.ServiceOf(slice).String()}, nil
		}
		return nil, nil
	}})
	if err != nil {
		return fmt.Errorf("index the cache of slices: %w", err)
	}
	return nil
}

// SlicesByHand returns the slices that a person wrote for a Service, from a cache that Index has prepared.
func SlicesByHand(cached cache.Indexer, svc types.NamespacedName) []*discoveryv1.EndpointSlice {
	objs, err := cached.ByIndex(slicesByHand, svc.String())
	if err != nil {
		return nil // New has called Index
	}
	var found []*discoveryv1.EndpointSlice
	for _, obj := range objs {
		if slice, ok := obj.(*discoveryv1.EndpointSlice); ok {
			found = append(found, slice)
		}
	}
	return found
}

// annotated reports whether we have written on an object.
func annotated(obj metav1.Object) bool { return obj.GetAnnotations()[api.AnnotationUnhealthy] != "" }

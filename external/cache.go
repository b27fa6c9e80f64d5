package external

//lint:file-ignore SA1019 v1 Endpoints are what people write by hand.

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
)

// handle calls changed for each object that is new (old is nil), has changed, or is deleted (now is nil). What it returns
// tells whether the whole first list has been handed over.
func handle[T any](informer cache.SharedIndexInformer, changed func(old, now *T)) cache.InformerSynced {
	reg, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { changed(nil, obj.(*T)) },
		UpdateFunc: func(old, obj any) { changed(old.(*T), obj.(*T)) },
		DeleteFunc: func(obj any) {
			if last, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = last.Obj
			}
			if t, ok := obj.(*T); ok {
				changed(t, nil)
			}
		},
	})
	if err != nil {
		panic(fmt.Sprintf("BUG: external: %v", err)) // the informer was stopped before New
	}
	return reg.HasSynced
}

// lookup returns an object from a cache, nil when it is not there.
func lookup[T any](informer cache.SharedIndexInformer, key types.NamespacedName) *T {
	obj, ok, err := informer.GetStore().GetByKey(key.String())
	if err != nil || !ok {
		return nil
	}
	found, _ := obj.(*T)
	return found
}

// view reads what the caches have of a Service.
func (c *Controller) view(key types.NamespacedName) view {
	v := view{service: lookup[corev1.Service](c.services, key), endpoints: lookup[corev1.Endpoints](c.endpoints, key)}
	v.slices = SlicesByHand(c.slices.GetIndexer(), key)
	return v
}

// slicesByHand is the index of Index.
const slicesByHand = "external/slices-by-hand"

// Index lets the shared cache of slices answer which of a Service's slices a person wrote. It does nothing when it can already.
func Index(informer cache.SharedIndexInformer) error {
	if _, again := informer.GetIndexer().GetIndexers()[slicesByHand]; again {
		return nil
	}
	err := informer.AddIndexers(cache.Indexers{slicesByHand: func(obj any) ([]string, error) {
		if slice, ok := obj.(*discoveryv1.EndpointSlice); ok && ByHand(slice) {
			return []string{serviceOf(slice).String()}, nil
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

func serviceOf(slice *discoveryv1.EndpointSlice) types.NamespacedName {
	return types.NamespacedName{Namespace: slice.Namespace, Name: slice.Labels[discoveryv1.LabelServiceName]}
}

func keyOf(obj metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: obj.GetNamespace(), Name: obj.GetName()}
}

// annotated reports whether we have written on an object; Endpoints and slices only.
func annotated[T any](obj *T) bool {
	if obj == nil {
		return false
	}
	m, ok := any(obj).(metav1.Object)
	return ok && m.GetAnnotations()[AnnotationUnhealthy] != ""
}

func either[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}

package why

//lint:file-ignore SA1019 v1 Endpoints are what people write by hand.

import (
	"fmt"
	"math/rand/v2"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"fairlead.dev/fairlead/endpoints"
	"fairlead.dev/fairlead/external"
)

// servicesByAddress finds the Services that claim an address outside of the cluster.
const servicesByAddress = "why/services-by-address"

func indexByAddress(obj any) ([]string, error) {
	svc, ok := obj.(*corev1.Service)
	if !ok {
		return nil, nil
	}
	var values []string
	for _, addr := range Outside(svc) {
		values = append(values, addr.String())
	}
	return values, nil
}

// watch has every change bring the Services that it concerns into the queue. Pods are looked at only for Services that are in
// trouble: for the others their slices tell.
func (c *Controller) watch() []cache.InformerSynced {
	return []cache.InformerSynced{
		handle(c.services, func(old, svc *corev1.Service, first bool) {
			if first {
				c.queue.AddAfter(keyOf(svc), c.settle+rand.N(firstLook*c.settle))
				return
			}
			for _, s := range []*corev1.Service{old, svc} {
				if s == nil {
					continue
				}
				c.changed(keyOf(s))
				for _, rival := range c.rivals(s) {
					c.changed(keyOf(rival))
				}
			}
		}),
		handle(c.endpoints, func(old, ep *corev1.Endpoints, first bool) {
			if key := keyOf(either(ep, old)); !first || cached[corev1.Service](c.services, key) == nil {
				c.changed(key)
			}
		}),
		handle(c.slices, func(old, slice *discoveryv1.EndpointSlice, first bool) {
			if first && !external.ByHand(slice) {
				return // the first look at its Service sees it
			}
			for _, s := range []*discoveryv1.EndpointSlice{old, slice} { // the label may have changed
				if s != nil && s.Labels[discoveryv1.LabelServiceName] != "" {
					c.changed(types.NamespacedName{Namespace: s.Namespace, Name: s.Labels[discoveryv1.LabelServiceName]})
				}
			}
		}),
		handle(c.pods, func(old, pod *corev1.Pod, _ bool) {
			for _, p := range []*corev1.Pod{old, pod} {
				if p == nil {
					continue
				}
				for name := range c.troubled.Matching(p.Namespace, p.Labels) {
					c.changed(types.NamespacedName{Namespace: p.Namespace, Name: name})
				}
			}
		}),
	}
}

// handle calls changed for each object that is new (old is nil; first: it was there when the program started), has changed, or is
// deleted (now is nil). What it returns tells whether the whole first list has been handed over.
func handle[T any](informer cache.SharedIndexInformer, changed func(old, now *T, first bool)) cache.InformerSynced {
	registration, err := informer.AddEventHandler(cache.ResourceEventHandlerDetailedFuncs{
		AddFunc:    func(obj any, first bool) { changed(nil, obj.(*T), first) },
		UpdateFunc: func(old, obj any) { changed(old.(*T), obj.(*T), false) },
		DeleteFunc: func(obj any) {
			if last, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = last.Obj
			}
			if t, ok := obj.(*T); ok {
				changed(t, nil, false)
			}
		},
	})
	if err != nil {
		panic(fmt.Sprintf("BUG: why: %v", err)) // the informer was stopped before New
	}
	return registration.HasSynced
}

func (c *Controller) changed(key types.NamespacedName) { c.queue.AddAfter(key, c.settle) }

// view reads what the caches have of a Service.
func (c *Controller) view(key types.NamespacedName) View {
	v := View{Service: cached[corev1.Service](c.services, key), Endpoints: cached[corev1.Endpoints](c.endpoints, key), Cluster: c.cluster}
	v.Slices = external.SlicesByHand(c.slices.GetIndexer(), key)
	if ns := cached[corev1.Namespace](c.namespaces, types.NamespacedName{Name: key.Namespace}); ns != nil && ns.DeletionTimestamp != nil {
		return View{Service: v.Service, ending: true}
	}
	if v.Service == nil {
		return v
	}
	v.Rivals = c.rivals(v.Service)
	if endpoints.Selects(v.Service) {
		v.Pods = endpoints.Pods(c.pods.GetIndexer(), key.Namespace, v.Service.Spec.Selector)
	} else {
		v.Slices = append(v.Slices, endpoints.Slices(c.slices.GetIndexer(), endpoints.SlicesManager, key)...)
	}
	return v
}

// beside adds what a selector that matches no pod nearly matches. It looks at every namespace, so it is for a Service that is
// about to be told of.
func (c *Controller) beside(v *View) {
	if v.Service == nil || !endpoints.Selects(v.Service) || len(v.Pods) > 0 {
		return
	}
	v.Beside.Pairs = map[string]int{}
	for key, value := range v.Service.Spec.Selector {
		v.Beside.Pairs[key+"="+value] = len(endpoints.Pods(c.pods.GetIndexer(), v.Service.Namespace, map[string]string{key: value}))
	}
	for _, name := range c.namespaces.GetStore().ListKeys() {
		if name != v.Service.Namespace && len(endpoints.Pods(c.pods.GetIndexer(), name, v.Service.Spec.Selector)) > 0 {
			v.Beside.Namespaces = append(v.Beside.Namespaces, name)
		}
	}
	slices.Sort(v.Beside.Namespaces)
}

// rivals returns the other Services that claim one of a Service's addresses outside of the cluster.
func (c *Controller) rivals(svc *corev1.Service) []*corev1.Service {
	var all []*corev1.Service
	for _, addr := range Outside(svc) {
		objs, err := c.services.GetIndexer().ByIndex(servicesByAddress, addr.String())
		if err != nil {
			continue // New has added the index
		}
		for _, obj := range objs {
			if rival, ok := obj.(*corev1.Service); ok && keyOf(rival) != keyOf(svc) && !slices.Contains(all, rival) {
				all = append(all, rival)
			}
		}
	}
	return all
}

// cached returns an object from a cache, nil when it is not there.
func cached[T any](informer cache.SharedIndexInformer, key types.NamespacedName) *T {
	name := key.Name
	if key.Namespace != "" {
		name = key.String()
	}
	obj, ok, err := informer.GetStore().GetByKey(name)
	if err != nil || !ok {
		return nil
	}
	found, _ := obj.(*T)
	return found
}

func keyOf(obj metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: obj.GetNamespace(), Name: obj.GetName()}
}

func either[T any](a, b *T) *T {
	if a != nil {
		return a
	}
	return b
}

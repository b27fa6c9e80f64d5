package why

//lint:file-ignore SA1019 v1 Endpoints are what people write by hand.

import (
	"math/rand/v2"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/controller/endpoints"
	"fairlead.dev/fairlead/controller/external"
	"fairlead.dev/fairlead/kube"
	"fairlead.dev/fairlead/why"
)

// servicesByAddress finds the Services that claim an address outside of the cluster.
const servicesByAddress = "why/services-by-address"

func indexByAddress(obj any) ([]string, error) {
	svc, ok := obj.(*corev1.Service)
	if !ok {
		return nil, nil
	}
	var values []string
	for _, addr := range why.Outside(svc) {
		values = append(values, addr.String())
	}
	return values, nil
}

// watch has every change bring the Services that it concerns into the queue. Pods are looked at only for Services that are in
// trouble: for the others their slices tell.
func (c *Controller) watch() []cache.DoneChecker {
	return []cache.DoneChecker{
		kube.Watch(c.services, func(old, now *corev1.Service, first bool) {
			if first {
				c.queue.AddAfter(kube.Key(now), c.settle+rand.N(firstLook*c.settle))
				return
			}
			for _, svc := range kube.Versions(old, now) {
				c.changed(kube.Key(svc))
				for _, rival := range c.rivals(svc) {
					c.changed(kube.Key(rival))
				}
			}
		}),
		kube.Watch(c.endpoints, func(old, now *corev1.Endpoints, first bool) {
			for _, ep := range kube.Versions(old, now) {
				if key := kube.Key(ep); !first || kube.Cached[corev1.Service](c.services, key) == nil {
					c.changed(key)
				}
			}
		}),
		kube.Watch(c.slices, func(old, now *discoveryv1.EndpointSlice, first bool) {
			if first && !api.ByHand(now) {
				return // the first look at its Service sees it
			}
			for _, s := range kube.Versions(old, now) { // the label may have changed
				if svc := api.ServiceOf(s); svc.Name != "" {
					c.changed(svc)
				}
			}
		}),
		kube.Watch(c.nodes, func(old, now *corev1.Node, first bool) {
			for _, n := range kube.Versions(old, now) {
				for _, a := range n.Status.Addresses {
					if !first {
						c.claimants(a.Address)
					}
				}
			}
		}),
		kube.Watch(c.pods, func(old, now *corev1.Pod, _ bool) {
			for _, p := range kube.Versions(old, now) {
				for name := range c.troubled.Matching(p.Namespace, p.Labels) {
					c.changed(types.NamespacedName{Namespace: p.Namespace, Name: name})
				}
			}
		}),
	}
}

func (c *Controller) changed(key types.NamespacedName) { c.queue.AddAfter(key, c.settle) }

// view reads what the caches have of a Service.
func (c *Controller) view(key types.NamespacedName) why.View {
	v := why.View{Service: kube.Cached[corev1.Service](c.services, key), Endpoints: kube.Cached[corev1.Endpoints](c.endpoints, key), Cluster: c.cluster}
	v.Slices = external.SlicesByHand(c.slices.GetIndexer(), key)
	if ns := kube.Cached[corev1.Namespace](c.namespaces, types.NamespacedName{Name: key.Namespace}); ns != nil && ns.DeletionTimestamp != nil {
		return why.View{Service: v.Service, Ending: true}
	}
	if v.Service == nil {
		return v
	}
	v.Rivals = c.rivals(v.Service)
	if len(why.Outside(v.Service)) > 0 {
		v.Cluster.Nodes = c.allNodes()
		v.Cluster.API = external.SlicesByHand(c.slices.GetIndexer(), api.APIService)
	}
	if api.Selects(v.Service) {
		v.Pods = endpoints.Pods(c.pods.GetIndexer(), key.Namespace, v.Service.Spec.Selector)
	} else {
		v.Slices = append(v.Slices, endpoints.Slices(c.slices.GetIndexer(), api.SlicesManager, key)...)
	}
	return v
}

// nearMisses adds what a selector that matches no pod nearly matches. It looks at every namespace, so it is for a Service that is
// about to be reported.
func (c *Controller) nearMisses(v *why.View) {
	if v.Service == nil || !api.Selects(v.Service) || len(v.Pods) > 0 {
		return
	}
	v.NearMisses.Pairs = map[string]int{}
	for key, value := range v.Service.Spec.Selector {
		v.NearMisses.Pairs[key+"="+value] = len(endpoints.Pods(c.pods.GetIndexer(), v.Service.Namespace, map[string]string{key: value}))
	}
	for _, name := range c.namespaces.GetStore().ListKeys() {
		if name != v.Service.Namespace && len(endpoints.Pods(c.pods.GetIndexer(), name, v.Service.Spec.Selector)) > 0 {
			v.NearMisses.Namespaces = append(v.NearMisses.Namespaces, name)
		}
	}
	slices.Sort(v.NearMisses.Namespaces)
}

// allNodes are the nodes that the caches have.
func (c *Controller) allNodes() []*corev1.Node {
	var nodes []*corev1.Node
	for _, obj := range c.nodes.GetStore().List() {
		if n, ok := obj.(*corev1.Node); ok {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// claimants has the Services looked at that claim an address.
func (c *Controller) claimants(text string) {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return
	}
	objs, _ := c.services.GetIndexer().ByIndex(servicesByAddress, addr.Unmap().String()) // New has added the index
	for _, obj := range objs {
		if svc, ok := obj.(*corev1.Service); ok {
			c.changed(kube.Key(svc))
		}
	}
}

// rivals returns the other Services that claim one of a Service's addresses outside of the cluster.
func (c *Controller) rivals(svc *corev1.Service) []*corev1.Service {
	var all []*corev1.Service
	for _, addr := range why.Outside(svc) {
		objs, err := c.services.GetIndexer().ByIndex(servicesByAddress, addr.String())
		if err != nil {
			continue // New has added the index
		}
		for _, obj := range objs {
			if rival, ok := obj.(*corev1.Service); ok && kube.Key(rival) != kube.Key(svc) && !slices.Contains(all, rival) {
				all = append(all, rival)
			}
		}
	}
	return all
}

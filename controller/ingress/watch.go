package ingress

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/client-go/tools/cache"

	"fairlead.dev/fairlead/controller/ingress/plan"
	"fairlead.dev/fairlead/kube"
	"fairlead.dev/fairlead/network/l7/ingress"
)

// watch has every change looked at.
func (c *Controller) watch() []cache.DoneChecker {
	return []cache.DoneChecker{
		kube.Watch(c.ingresses, c.ingressChanged),
		kube.Watch(c.ingressClasses, func(before, after *networkingv1.IngressClass, _ bool) {
			c.changed(func(ch *ingress.Changes) { ch.Classes = append(ch.Classes, kube.Versions(before, after)[0].Name) })
		}),
		kube.Watch(c.services, func(before, after *corev1.Service, _ bool) {
			if before != nil && after != nil && equality.Semantic.DeepEqual(before.Spec, after.Spec) && equality.Semantic.DeepEqual(before.Annotations, after.Annotations) {
				return
			}
			c.changed(func(ch *ingress.Changes) {
				ch.Services = append(ch.Services, kube.Key(kube.Versions(before, after)[0]))
			})
		}),
		kube.Watch(c.nodes, func(before, after *corev1.Node, _ bool) {
			if before == nil || after == nil || !slices.Equal(plan.Addresses([]*corev1.Node{before}), plan.Addresses([]*corev1.Node{after})) {
				c.nodesChanged()
			}
		}),
	}
}

// changed notes a change, and has it taken.
func (c *Controller) changed(note func(*ingress.Changes)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	note(&c.pending)
	c.statuses.Add(everything)
}

// ingressChanged notes a change of an Ingress itself. One of its status alone concerns nobody but itself.
func (c *Controller) ingressChanged(before, after *networkingv1.Ingress, _ bool) {
	name := kube.Key(kube.Versions(before, after)[0])
	if after == nil {
		c.own.Forget(before.UID)
	}
	if before != nil && after != nil && before.UID == after.UID && equality.Semantic.DeepEqual(before.Spec, after.Spec) &&
		equality.Semantic.DeepEqual(before.Annotations, after.Annotations) {
		c.statuses.Add(name)
		return
	}
	c.changed(func(ch *ingress.Changes) { ch.Ingresses = append(ch.Ingresses, name) })
}

// nodesChanged has all statuses looked at if other nodes serve than before, or by other addresses.
func (c *Controller) nodesChanged() {
	var nodes []*corev1.Node
	for _, obj := range c.nodes.GetStore().List() {
		nodes = append(nodes, obj.(*corev1.Node))
	}
	addresses := plan.Addresses(nodes)
	if len(c.classes) == 0 {
		addresses = nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if slices.Equal(addresses, c.addresses) {
		return
	}
	c.addresses = addresses
	for _, obj := range c.ingresses.GetStore().List() {
		c.statuses.Add(kube.Key(obj.(*networkingv1.Ingress)))
	}
}

// follow has the Ingresses judged anew that name Secrets or ConfigMaps when one of these has changed.
func (c *Controller) follow(ctx context.Context) {
	for {
		select {
		case <-c.follows.Secrets.Changed():
		case <-c.follows.ConfigMaps.Changed():
		case <-ctx.Done():
			return
		}
		c.mu.Lock()
		for ingress := range c.refs.Users {
			c.reports.AddAfter(ingress, c.settle)
		}
		c.mu.Unlock()
	}
}

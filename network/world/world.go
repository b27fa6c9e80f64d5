// Package world is what one node knows of the cluster: Services, EndpointSlices,
// Namespaces, Nodes, Ingresses and their classes, AddressPools and BGPPeers, held
// in memory and kept current by watches.
//
// Everything a node serves (kernel rules, DNS answers, routes) is derived from
// here. Readers get the stored objects themselves, which nobody ever mutates;
// writers replace whole objects. A Subscription tells what changed since its
// reader last asked, so a slow reader sees fewer and larger batches rather
// than a backlog.
//
// ServiceCIDRs are followed from when a Service is in one that nobody knew of.
//
// Each kind is one table, and one row that says how it is read and what of it
// matters. Run fills the tables by watches of the World's own; Share by those
// that the informers of the same process have anyway.
package world

import (
	"net/netip"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	own "fairlead.dev/fairlead/api/kinds"
)

// World is the node's picture of the cluster. Its methods are safe for
// concurrent use. Make one with New.
type World struct {
	synced chan struct{}

	mu            sync.RWMutex // guards below
	services      *table[*corev1.Service]
	slices        *table[*discoveryv1.EndpointSlice]
	namespaces    *table[*corev1.Namespace]
	nodes         *table[*corev1.Node]
	ingresses     *table[*networkingv1.Ingress]
	classes       *table[*networkingv1.IngressClass]
	pools         *table[*own.AddressPool]
	peers         *table[*own.BGPPeer]
	ranges        *table[*networkingv1.ServiceCIDR]
	known         []netip.Prefix // ranges of Services that need no ServiceCIDR
	outside       func()         // is told of a Service in no known range; nil: nobody is, any more
	policies      *table[*networkingv1.NetworkPolicy]
	pods          *table[*corev1.Pod]
	tables        [kinds]anyTable // all of them
	subscriptions map[*Subscription]struct{}
	upTo          Revisions
	missing       [kinds]bool // the first full list is still outstanding
	listedOnce    [kinds]bool // it has been there
	complete      bool        // synced is closed
}

// New returns an empty World. It starts nothing.
func New() *World {
	w := &World{synced: make(chan struct{}), subscriptions: map[*Subscription]struct{}{}}
	w.register()
	for _, k := range w.all() {
		w.missing[k] = true
	}
	return w
}

// Synced is closed once all kinds that are followed have been listed in full. Before that the World is a part of the truth, and
// nothing may be removed or answered negatively on its word.
func (w *World) Synced() <-chan struct{} { return w.synced }

// MarkSynced declares the World complete. Its sources do so by themselves; it
// is for callers that fill the World with Put.
func (w *World) MarkSynced() { w.await(nil) }

// await makes the World wait for the first lists of the given kinds only.
func (w *World) await(wanted []Kind) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var missing [kinds]bool
	for _, k := range wanted {
		missing[k] = !w.listedOnce[k]
	}
	w.missing = missing
	w.look()
}

// listed notes that a kind is there in full. The caller holds mu.
func (w *World) listed(k Kind) {
	w.missing[k], w.listedOnce[k] = false, true
	w.look()
}

// look closes synced, once, if nothing is missing. The caller holds mu.
func (w *World) look() {
	if !w.complete && w.missing == [kinds]bool{} {
		w.complete = true
		close(w.synced)
	}
}

// Service returns the named Service and the EndpointSlices that name it in the
// label kubernetes.io/service-name, sorted by name. The Service is nil when
// there is none; slices may exist without it. Callers must not change what
// they are given.
func (w *World) Service(name types.NamespacedName) (*corev1.Service, []*discoveryv1.EndpointSlice) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.services.objects[name], w.slices.filed[name]
}

// Services returns the names of all Services, sorted.
func (w *World) Services() []types.NamespacedName {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.services.sorted()
}

// HasNamespace reports whether the Namespace exists.
func (w *World) HasNamespace(name string) bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.namespaces.objects[types.NamespacedName{Name: name}] != nil
}

// NamespaceLabels are the labels of a namespace, nil if there is none.
func (w *World) NamespaceLabels(name string) map[string]string {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if n := w.namespaces.objects[types.NamespacedName{Name: name}]; n != nil {
		return n.Labels
	}
	return nil
}

// Node returns the named Node, nil when there is none.
func (w *World) Node(name string) *corev1.Node {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.nodes.objects[types.NamespacedName{Name: name}]
}

// Nodes returns all Nodes, sorted by name.
func (w *World) Nodes() []*corev1.Node {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.nodes.inOrder()
}

// Ingresses returns all Ingresses, whatever their class, sorted by namespace and name.
func (w *World) Ingresses() []*networkingv1.Ingress {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.ingresses.inOrder()
}

// Ingress returns the named Ingress, nil when there is none.
func (w *World) Ingress(name types.NamespacedName) *networkingv1.Ingress {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.ingresses.objects[name]
}

// IngressClasses returns all IngressClasses, sorted by name.
func (w *World) IngressClasses() []*networkingv1.IngressClass {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.classes.inOrder()
}

// IngressClass returns the named IngressClass, nil when there is none.
func (w *World) IngressClass(name string) *networkingv1.IngressClass {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.classes.objects[types.NamespacedName{Name: name}]
}

// Put stores an object, replacing the one of the same name. Kinds that the
// World does not hold are ignored. The World keeps obj: the caller must not
// change it afterwards.
func (w *World) Put(obj runtime.Object) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.tables {
		if t.put(obj) {
			return
		}
	}
}

// Delete removes the object of obj's kind and name, if it is there. Its resource version is that of the deletion.
func (w *World) Delete(obj runtime.Object) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range w.tables {
		if t.remove(obj) {
			return
		}
	}
}

// replace makes the World's objects of one kind exactly those given.
func (w *World) replace(k Kind, objects []runtime.Object, version string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tables[k].replace(objects, version)
}

// Package world is what one node knows of the cluster: Services, EndpointSlices,
// Namespaces and Nodes, held in memory and kept current by four watches.
//
// Everything a node serves (kernel rules, DNS answers, routes) is derived from
// here. Readers get the stored objects themselves, which nobody ever mutates;
// writers replace whole objects. A Subscription tells what changed since its
// reader last asked, so a slow reader sees fewer and larger batches rather
// than a backlog.
package world

import (
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
)

// sliceName names an EndpointSlice within the cluster.
type sliceName struct{ namespace, name string }

// entry is all that is known under one Service's name. The Service may be
// absent while slices that name it exist, and the other way round.
type entry struct {
	name    types.NamespacedName
	service *corev1.Service
	slices  []*discoveryv1.EndpointSlice // sorted by name; replaced, never edited
}

// World is the node's picture of the cluster. Its methods are safe for
// concurrent use. Make one with New.
type World struct {
	synced chan struct{}

	mu            sync.RWMutex // guards below
	services      map[types.NamespacedName]*entry
	owners        map[sliceName]*entry // slice -> where it is filed
	namespaces    map[string]struct{}
	nodes         map[string]*corev1.Node
	subscriptions map[*Subscription]struct{}
	upTo          Revisions
	pending       map[Kind]struct{} // kinds whose first full list is still outstanding
	complete      bool              // synced is closed
}

// New returns an empty World. It starts nothing.
func New() *World {
	return &World{
		synced:        make(chan struct{}),
		services:      map[types.NamespacedName]*entry{},
		owners:        map[sliceName]*entry{},
		namespaces:    map[string]struct{}{},
		nodes:         map[string]*corev1.Node{},
		subscriptions: map[*Subscription]struct{}{},
		pending:       map[Kind]struct{}{Services: {}, EndpointSlices: {}, Namespaces: {}, Nodes: {}},
	}
}

// Synced is closed once all kinds that are followed have been listed in full. Before that the World is a part of the truth, and
// nothing may be removed or answered negatively on its word.
func (w *World) Synced() <-chan struct{} { return w.synced }

// MarkSynced declares the World complete. Run does so by itself; it is for
// callers that fill the World with Put.
func (w *World) MarkSynced() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.pending)
	w.closeSynced()
}

// closeSynced closes synced, once. The caller holds mu.
func (w *World) closeSynced() {
	if !w.complete {
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
	e := w.services[name]
	if e == nil {
		return nil, nil
	}
	return e.service, e.slices
}

// Services returns the names of all Services, sorted.
func (w *World) Services() []types.NamespacedName {
	w.mu.RLock()
	names := make([]types.NamespacedName, 0, len(w.services))
	for name, e := range w.services {
		if e.service != nil {
			names = append(names, name)
		}
	}
	w.mu.RUnlock()
	slices.SortFunc(names, api.CompareNames)
	return names
}

// HasNamespace reports whether the Namespace exists.
func (w *World) HasNamespace(name string) bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	_, ok := w.namespaces[name]
	return ok
}

// Node returns the named Node, nil when there is none.
func (w *World) Node(name string) *corev1.Node {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.nodes[name]
}

// Nodes returns all Nodes, sorted by name.
func (w *World) Nodes() []*corev1.Node {
	w.mu.RLock()
	all := make([]*corev1.Node, 0, len(w.nodes))
	for _, n := range w.nodes {
		all = append(all, n)
	}
	w.mu.RUnlock()
	slices.SortFunc(all, func(a, b *corev1.Node) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// Put stores an object, replacing the one of the same name. Kinds other than
// Service, EndpointSlice, Namespace and Node are ignored. The World keeps obj:
// the caller must not change it afterwards.
func (w *World) Put(obj runtime.Object) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch o := obj.(type) {
	case *corev1.Service:
		w.putService(o)
		w.reached(Services, o.ResourceVersion)
	case *discoveryv1.EndpointSlice:
		w.putSlice(o)
		w.reached(EndpointSlices, o.ResourceVersion)
	case *corev1.Namespace:
		w.putNamespace(o.Name)
		w.reached(Namespaces, o.ResourceVersion)
	case *corev1.Node:
		w.putNode(o)
	}
}

// Delete removes the object of obj's kind and name, if it is there. Its resource version is that of the deletion.
func (w *World) Delete(obj runtime.Object) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch o := obj.(type) {
	case *corev1.Service:
		w.deleteService(api.Name(o))
		w.reached(Services, o.ResourceVersion)
	case *discoveryv1.EndpointSlice:
		w.deleteSlice(sliceName{o.Namespace, o.Name})
		w.reached(EndpointSlices, o.ResourceVersion)
	case *corev1.Namespace:
		w.deleteNamespace(o.Name)
		w.reached(Namespaces, o.ResourceVersion)
	case *corev1.Node:
		w.deleteNode(o.Name)
	}
}

// The writers below run with mu held.

func (w *World) entry(name types.NamespacedName) *entry {
	e := w.services[name]
	if e == nil {
		e = &entry{name: name}
		w.services[name] = e
	}
	return e
}

func (w *World) dropIfEmpty(e *entry) {
	if e.service == nil && len(e.slices) == 0 {
		delete(w.services, e.name)
	}
}

func (w *World) putService(s *corev1.Service) {
	name := api.Name(s)
	w.entry(name).service = s
	w.serviceChanged(name)
}

func (w *World) deleteService(name types.NamespacedName) {
	e := w.services[name]
	if e == nil || e.service == nil {
		return
	}
	e.service = nil
	w.dropIfEmpty(e)
	w.serviceChanged(name)
}

func (w *World) putSlice(s *discoveryv1.EndpointSlice) {
	key := sliceName{s.Namespace, s.Name}
	owner := api.ServiceOf(s)
	e := w.owners[key]
	if e != nil && e.name != owner {
		w.deleteSlice(key)
		e = nil
	}
	if owner.Name == "" { // names no Service: nobody's endpoints
		return
	}
	if e == nil {
		e = w.entry(owner)
		w.owners[key] = e
	}
	i, found := findSlice(e.slices, s.Name)
	next := make([]*discoveryv1.EndpointSlice, 0, len(e.slices)+1)
	next = append(append(next, e.slices[:i]...), s)
	if found {
		i++
	}
	e.slices = append(next, e.slices[i:]...)
	w.serviceChanged(owner)
}

func (w *World) deleteSlice(key sliceName) {
	e := w.owners[key]
	if e == nil {
		return
	}
	delete(w.owners, key)
	i, found := findSlice(e.slices, key.name)
	if found {
		e.slices = append(slices.Clone(e.slices[:i]), e.slices[i+1:]...)
	}
	w.dropIfEmpty(e)
	w.serviceChanged(e.name)
}

func findSlice(sorted []*discoveryv1.EndpointSlice, name string) (int, bool) {
	return slices.BinarySearchFunc(sorted, name, func(s *discoveryv1.EndpointSlice, name string) int {
		return strings.Compare(s.Name, name)
	})
}

func (w *World) putNamespace(name string) {
	if _, ok := w.namespaces[name]; ok {
		return
	}
	w.namespaces[name] = struct{}{}
	w.namespaceChanged(name)
}

func (w *World) deleteNamespace(name string) {
	if _, ok := w.namespaces[name]; !ok {
		return
	}
	delete(w.namespaces, name)
	w.namespaceChanged(name)
}

// putNode reports a change only for what data planes use of a Node: heartbeats
// and conditions arrive every few seconds from every node and change nothing.
func (w *World) putNode(n *corev1.Node) {
	old := w.nodes[n.Name]
	w.nodes[n.Name] = n
	if old == nil ||
		!equality.Semantic.DeepEqual(old.Labels, n.Labels) ||
		!equality.Semantic.DeepEqual(old.Spec, n.Spec) ||
		!equality.Semantic.DeepEqual(old.Status.Addresses, n.Status.Addresses) {
		w.nodesChanged()
	}
}

func (w *World) deleteNode(name string) {
	if _, ok := w.nodes[name]; !ok {
		return
	}
	delete(w.nodes, name)
	w.nodesChanged()
}

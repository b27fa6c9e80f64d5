package world

import (
	"context"
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// Kind is one of the four kinds of objects a World holds, named as in the API.
type Kind string

// The kinds of objects a World holds.
const (
	Services       Kind = "services"
	EndpointSlices Kind = "endpointslices"
	Namespaces     Kind = "namespaces"
	Nodes          Kind = "nodes"
)

// Run fills the World from the API until ctx is done, which is not an error. A
// broken watch is resumed, and after too long a break the kind is listed anew
// and what vanished meanwhile is deleted; until the API answers the World
// keeps what it has.
func (w *World) Run(ctx context.Context, client kubernetes.Interface) error {
	return w.Follow(ctx, client, Services, EndpointSlices, Namespaces, Nodes)
}

// Follow is Run for some kinds only, for readers that need no others or may not
// read them: the World is synced without them, and has none of them.
func (w *World) Follow(ctx context.Context, client kubernetes.Interface, kinds ...Kind) error {
	core, discovery := client.CoreV1(), client.DiscoveryV1()
	sources := map[Kind]*reflector{
		Services:       watching(w, Services, &corev1.Service{}, core.Services(metav1.NamespaceAll)),
		EndpointSlices: watching(w, EndpointSlices, &discoveryv1.EndpointSlice{}, discovery.EndpointSlices(metav1.NamespaceAll)),
		Namespaces:     watching(w, Namespaces, &corev1.Namespace{}, core.Namespaces()),
		Nodes:          watching(w, Nodes, &corev1.Node{}, core.Nodes()),
	}
	w.await(kinds)
	var group sync.WaitGroup
	for _, k := range kinds {
		group.Go(func() { sources[k].run(ctx, client) })
	}
	group.Wait()
	return nil
}

// await makes the World wait for the first lists of the given kinds only.
func (w *World) await(kinds []Kind) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for k := range w.pending {
		if !slices.Contains(kinds, k) {
			delete(w.pending, k)
		}
	}
	if len(w.pending) == 0 {
		w.closeSynced()
	}
}

// reflector mirrors one kind from the API straight into the World: there is no
// second copy in an informer's cache.
type reflector struct {
	world  *World
	kind   Kind
	object runtime.Object
	lister *cache.ListWatch
}

// typedClient is what client-go's generated clients offer for a kind whose
// list type is L.
type typedClient[L runtime.Object] interface {
	List(context.Context, metav1.ListOptions) (L, error)
	Watch(context.Context, metav1.ListOptions) (watch.Interface, error)
}

func watching[L runtime.Object](w *World, k Kind, object runtime.Object, client typedClient[L]) *reflector {
	return &reflector{world: w, kind: k, object: object, lister: &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return client.List(ctx, o)
		},
		WatchFuncWithContext: client.Watch,
	}}
}

func (r *reflector) run(ctx context.Context, client kubernetes.Interface) {
	source := cache.ToListWatcherWithWatchListSemantics(r.lister, client)
	cache.NewReflectorWithOptions(source, r.object, r, cache.ReflectorOptions{
		Name: "world/" + string(r.kind),
	}).RunWithContext(ctx)
}

// The methods below make a reflector the store that client-go writes to.

// Add stores a new object.
func (r *reflector) Add(obj any) error { return r.Update(obj) }

// Update stores a changed object.
func (r *reflector) Update(obj any) error {
	o, err := r.trim(obj)
	if err != nil {
		return err
	}
	r.world.Put(o)
	return nil
}

// Delete removes an object.
func (r *reflector) Delete(obj any) error {
	o, ok := obj.(runtime.Object)
	if !ok {
		return fmt.Errorf("watch %s: got a %T", r.kind, obj)
	}
	r.world.Delete(o)
	return nil
}

// Replace makes the World's objects of this kind exactly those of list.
func (r *reflector) Replace(list []any, version string) error {
	objects := make([]runtime.Object, 0, len(list))
	for _, obj := range list {
		o, err := r.trim(obj)
		if err != nil {
			return err
		}
		objects = append(objects, o)
	}
	r.world.replace(r.kind, objects, version)
	return nil
}

// Resync does nothing: readers are driven by changes.
func (r *reflector) Resync() error { return nil }

// trim drops what nobody here reads and what makes up a third of the memory of
// typical objects. Objects come fresh from the decoder, so this is the one
// place that may change them.
func (r *reflector) trim(obj any) (runtime.Object, error) {
	o, ok := obj.(runtime.Object)
	if !ok {
		return nil, fmt.Errorf("watch %s: got a %T", r.kind, obj)
	}
	m, err := meta.Accessor(o)
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", r.kind, err)
	}
	m.SetManagedFields(nil)
	if a := m.GetAnnotations(); a != nil {
		delete(a, corev1.LastAppliedConfigAnnotation)
	}
	if n, ok := o.(*corev1.Node); ok {
		n.Status.Images = nil
	}
	return o, nil
}

// replace makes the World's objects of one kind exactly those given, in one
// step for readers: those there are at version.
func (w *World) replace(k Kind, objects []runtime.Object, version string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.prune(k, objects)
	w.expect(k, len(objects))
	for _, obj := range objects {
		switch o := obj.(type) {
		case *corev1.Service:
			w.putService(o)
		case *discoveryv1.EndpointSlice:
			w.putSlice(o)
		case *corev1.Namespace:
			w.putNamespace(o.Name)
		case *corev1.Node:
			w.putNode(o)
		}
	}
	w.reached(k, version)
	delete(w.pending, k)
	if len(w.pending) == 0 {
		w.closeSynced()
	}
}

// expect makes room for the first list of a kind, if it is there before anything
// that refers to it.
func (w *World) expect(k Kind, n int) {
	if len(w.services) == 0 && (k == Services || k == EndpointSlices) {
		w.services = make(map[types.NamespacedName]*entry, n)
	}
	if k == EndpointSlices && len(w.owners) == 0 {
		w.owners = make(map[sliceName]*entry, n)
	}
}

// prune deletes the objects of a kind that are not among those given.
func (w *World) prune(k Kind, objects []runtime.Object) {
	if k == Services && len(w.services) == 0 || k == EndpointSlices && len(w.owners) == 0 {
		return // the first list, and nothing to compare it with
	}
	keep := make(map[sliceName]struct{}, len(objects))
	for _, o := range objects {
		if m, err := meta.Accessor(o); err == nil {
			keep[sliceName{m.GetNamespace(), m.GetName()}] = struct{}{}
		}
	}
	absent := func(namespace, name string) bool {
		_, ok := keep[sliceName{namespace, name}]
		return !ok
	}
	switch k {
	case Services:
		for name := range w.services {
			if absent(name.Namespace, name.Name) {
				w.deleteService(name)
			}
		}
	case EndpointSlices:
		for key := range w.owners {
			if absent(key.namespace, key.name) {
				w.deleteSlice(key)
			}
		}
	case Namespaces:
		for name := range w.namespaces {
			if absent("", name) {
				w.deleteNamespace(name)
			}
		}
	case Nodes:
		for name := range w.nodes {
			if absent("", name) {
				w.deleteNode(name)
			}
		}
	}
}

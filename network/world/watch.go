package world

import (
	"context"
	"fmt"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// Run fills the World from the API until ctx is done, which is not an error. A
// broken watch is resumed, and after too long a break the kind is listed anew
// and what vanished meanwhile is deleted; until the API answers the World
// keeps what it has.
func (w *World) Run(ctx context.Context, client kubernetes.Interface) error {
	return w.Follow(ctx, client, w.all()...)
}

// Follow is Run for some kinds only, for readers that need no others or may not
// read them: the World is synced without them, and has none of them.
func (w *World) Follow(ctx context.Context, client kubernetes.Interface, wanted ...Kind) error {
	w.await(wanted)
	var group sync.WaitGroup
	for _, k := range wanted {
		group.Go(func() { (&reflector{w, w.tables[k]}).run(ctx, client) })
	}
	group.Wait()
	return nil
}

// all are the kinds that every node needs.
func (w *World) all() []Kind {
	var all []Kind
	for _, t := range w.tables {
		if k := t.of(); k < ServiceCIDRs {
			all = append(all, k)
		}
	}
	return all
}

// typedClient is what client-go's generated clients offer for a kind whose
// list type is L.
type typedClient[L runtime.Object] interface {
	List(context.Context, metav1.ListOptions) (L, error)
	Watch(context.Context, metav1.ListOptions) (watch.Interface, error)
}

func reading[L runtime.Object](client typedClient[L]) *cache.ListWatch {
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return client.List(ctx, o)
		},
		WatchFuncWithContext: client.Watch,
	}
}

// reflector mirrors one kind from the API straight into the World: there is no
// second copy in an informer's cache.
type reflector struct {
	world *World
	table anyTable
}

func (r *reflector) run(ctx context.Context, client kubernetes.Interface) {
	source := cache.ToListWatcherWithWatchListSemantics(r.table.source(client), client)
	cache.NewReflectorWithOptions(source, r.table.example(), r, cache.ReflectorOptions{
		Name: "world/" + r.table.of().String(),
	}).RunWithContext(ctx)
}

// The methods below make a reflector the store that client-go writes to.

// Add stores a new object.
func (r *reflector) Add(obj any) error { return r.Update(obj) }

// Update stores a changed object.
func (r *reflector) Update(obj any) error {
	o, err := r.trimmed(obj)
	if err != nil {
		return err
	}
	r.world.Put(o)
	return nil
}

// Delete removes an object.
func (r *reflector) Delete(obj any) error {
	o, err := r.trimmed(obj)
	if err != nil {
		return err
	}
	r.world.Delete(o)
	return nil
}

// Replace makes the World's objects of this kind exactly those of list.
func (r *reflector) Replace(list []any, version string) error {
	objects := make([]runtime.Object, 0, len(list))
	for _, obj := range list {
		o, err := r.trimmed(obj)
		if err != nil {
			return err
		}
		objects = append(objects, o)
	}
	r.world.replace(r.table.of(), objects, version)
	return nil
}

// Resync does nothing: readers are driven by changes.
func (r *reflector) Resync() error { return nil }

// trimmed is an object without what nobody here reads. Objects come fresh from
// the decoder, so this may change them.
func (r *reflector) trimmed(obj any) (runtime.Object, error) {
	o, ok := obj.(runtime.Object)
	if !ok {
		return nil, fmt.Errorf("watch %s: got a %T", r.table.of(), obj)
	}
	r.table.trimmed(o)
	return o, nil
}

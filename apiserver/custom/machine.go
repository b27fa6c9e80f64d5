package custom

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	extensions "k8s.io/apiextensions-apiserver/pkg/apiserver"
	listers "k8s.io/apiextensions-apiserver/pkg/client/listers/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/storage/storagebackend/factory"
	"k8s.io/client-go/tools/cache"

	"fairlead.dev/fairlead/internal/heap"
)

// machine serves the objects of one definition as that was at one time: a handler of the library that knows this definition only.
// The library itself would build it from the informer, whose definitions are lean, and never let go of it.
type machine struct {
	name       string
	uid        types.UID
	generation int64
	version    uint64 // resource version of the definition it was built from
	names      apiextensionsv1.CustomResourceDefinitionNames
	schemas    int // how many it holds

	http.Handler
	listers.CustomResourceDefinitionLister // of the lean definitions
	generic.RESTOptionsGetter
	building *apiextensionsv1.CustomResourceDefinition // nil once it is built
	built    atomic.Bool
	stores   []storage.Interface
	destroys []func()
	dead     func(any) // tells the handler that its definition is gone

	ended context.Context // when the definition has changed or gone: the machine's watches end
	end   context.CancelFunc

	users int       // requests under way; this and used are guarded by the fleet's lock
	used  time.Time // when the last of them ended
}

// newMachine builds what serves a definition; d is used up.
func (s *Server) newMachine(ctx context.Context, d *apiextensionsv1.CustomResourceDefinition) (*machine, error) {
	version, err := strconv.ParseUint(d.ResourceVersion, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("definition %s: resource version: %w", d.Name, err)
	}
	m := &machine{
		name: d.Name, uid: d.UID, generation: d.Generation, version: version, names: *d.Status.AcceptedNames.DeepCopy(), schemas: terse(d),
		CustomResourceDefinitionLister: s.Definitions(), RESTOptionsGetter: s.objects, building: d,
	}
	m.ended, m.end = context.WithCancel(context.Background())
	g := s.generic
	handler, err := extensions.NewCustomResourceDefinitionHandler(nil, nil, m, http.NotFoundHandler(), m, g.AdmissionControl, nil, s.webhooks,
		s.webhookAuth, 1, s.api.GenericAPIServer.Authorizer, g.RequestTimeout, time.Duration(g.MinRequestTimeout)*time.Second, s.meta, g.MaxRequestBodyBytes)
	if err != nil {
		return nil, fmt.Errorf("definition %s: %w", d.Name, err)
	}
	m.Handler = handler
	// The library builds when it is first asked for anything.
	if _, err := handler.GetCustomResourceListerCollectionDeleter(d); err != nil {
		m.destroy()
		return nil, fmt.Errorf("definition %s: %w", d.Name, err)
	}
	for i := range d.Spec.Versions {
		d.Spec.Versions[i].Schema = nil // the handler keeps d
	}
	m.built.Store(true)
	m.building = nil
	m.fill(ctx)
	return m, nil
}

// fillTime bounds how long other definitions wait for a cache that does not fill, because an object cannot be read.
const fillTime = 5 * time.Second

// fill waits until the caches hold the objects there are: a request before that would be told to come again.
func (m *machine) fill(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, fillTime)
	defer cancel()
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for _, store := range m.stores {
		for store.ReadinessCheck() != nil {
			select {
			case <-poll.C:
			case <-ctx.Done():
				return
			}
		}
	}
}

// serves says whether m serves a definition as it is known now, or as it will be.
func (m *machine) serves(d *apiextensionsv1.CustomResourceDefinition) bool {
	if m.uid != d.UID {
		return false
	}
	if version, err := strconv.ParseUint(d.ResourceVersion, 10, 64); err == nil && version <= m.version {
		return true
	}
	return m.generation == d.Generation && equality.Semantic.DeepEqual(m.names, d.Status.AcceptedNames)
}

// retire lets go of everything once no request needs it, in the order the library needs. It returns at once.
func (m *machine) retire() {
	if m.dead != nil {
		m.dead(nil)
	}
	heap.Return()
}

// destroy closes the storage at once.
func (m *machine) destroy() {
	m.end()
	m.retire()
	for _, destroy := range m.destroys {
		destroy()
	}
}

// The library's handler asks its informer, its lister and its storage options only for what follows.

// Informer is part of informers.CustomResourceDefinitionInformer.
func (m *machine) Informer() cache.SharedIndexInformer { return machineEvents{m: m} }

// Lister is part of informers.CustomResourceDefinitionInformer.
func (m *machine) Lister() listers.CustomResourceDefinitionLister { return m }

// List is part of listers.CustomResourceDefinitionLister. The handler lists to find out which definitions are gone; it is told by
// dead that this one is.
func (m *machine) List(labels.Selector) ([]*apiextensionsv1.CustomResourceDefinition, error) {
	return nil, nil
}

// Get is part of listers.CustomResourceDefinitionLister.
func (m *machine) Get(name string) (*apiextensionsv1.CustomResourceDefinition, error) {
	if !m.built.Load() {
		return m.building, nil
	}
	d, err := m.CustomResourceDefinitionLister.Get(name)
	if err == nil && d.UID != m.uid {
		return nil, apierrors.NewNotFound(apiextensionsv1.Resource("customresourcedefinitions"), name)
	}
	return d, err
}

// GetRESTOptions is part of generic.RESTOptionsGetter. After the building there is nothing to make storage for: what the lister
// returns then has no schemas.
func (m *machine) GetRESTOptions(resource schema.GroupResource, example runtime.Object) (generic.RESTOptions, error) {
	if m.built.Load() {
		return generic.RESTOptions{}, errors.New("the definition has changed, try again")
	}
	o, err := m.RESTOptionsGetter.GetRESTOptions(resource, example)
	inner := o.Decorator
	o.Decorator = func(config *storagebackend.ConfigForResource, prefix string, key func(runtime.Object) (string, error),
		newFunc, newListFunc func() runtime.Object, attrs storage.AttrFunc, triggers storage.IndexerFuncs, indexers *cache.Indexers) (storage.Interface, factory.DestroyFunc, error) {
		store, destroy, err := inner(config, prefix, key, newFunc, newListFunc, attrs, triggers, indexers)
		if err == nil {
			m.stores, m.destroys = append(m.stores, store), append(m.destroys, destroy)
		}
		return store, destroy, err
	}
	return o, err
}

// machineEvents is an informer as far as the library's handler uses one.
type machineEvents struct {
	cache.SharedIndexInformer // nil
	m                         *machine
}

// AddEventHandler is part of cache.SharedIndexInformer.
func (e machineEvents) AddEventHandler(h cache.ResourceEventHandler) (cache.ResourceEventHandlerRegistration, error) {
	e.m.dead = h.OnDelete
	return nil, nil
}

package apiserver

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/storage/storagebackend/factory"
	"k8s.io/client-go/tools/cache"

	"fairlead.dev/fairlead/apiserver/registry"
)

// longest bounds a write that nobody waits for any more. etcd itself gives up after ten seconds at the most, and then the
// outcome is not known; the bound is beyond that, so that it is etcd which says so.
const longest = 20 * time.Second

// lasting is a storage whose writes, once begun, are carried through although the client has hung up or its time is over. A
// write that is broken off half way may or may not be stored; whoever keeps a book of what is stored would not know what to
// enter.
type lasting struct{ storage.Interface }

// Create is part of storage.Interface.
func (l lasting) Create(ctx context.Context, key string, obj, out runtime.Object, ttl uint64) error {
	ctx, cancel, err := begin(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	return l.Interface.Create(ctx, key, obj, out, ttl)
}

// Delete is part of storage.Interface.
func (l lasting) Delete(ctx context.Context, key string, out runtime.Object, conditions *storage.Preconditions, validate storage.ValidateObjectFunc,
	cached runtime.Object, options storage.DeleteOptions) error {
	ctx, cancel, err := begin(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	return l.Interface.Delete(ctx, key, out, conditions, validate, cached, options)
}

// GuaranteedUpdate is part of storage.Interface. No try begins for a client that is gone.
func (l lasting) GuaranteedUpdate(client context.Context, key string, out runtime.Object, ignoreNotFound bool, conditions *storage.Preconditions,
	try storage.UpdateFunc, cached runtime.Object) error {
	ctx, cancel, err := begin(client)
	if err != nil {
		return err
	}
	defer cancel()
	return l.Interface.GuaranteedUpdate(ctx, key, out, ignoreNotFound, conditions, func(old runtime.Object, meta storage.ResponseMeta) (runtime.Object, *uint64, error) {
		if err := client.Err(); err != nil {
			return nil, nil, registry.NotWritten{Why: err}
		}
		return try(old, meta)
	}, cached)
}

// begin is the context of a write that begins now.
func begin(client context.Context) (context.Context, context.CancelFunc, error) {
	if err := client.Err(); err != nil {
		return nil, nil, registry.NotWritten{Why: err}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(client), longest)
	return ctx, cancel, nil
}

// lastingOptions are storage options whose writes last.
type lastingOptions struct{ generic.RESTOptionsGetter }

// GetRESTOptions is part of generic.RESTOptionsGetter.
func (o lastingOptions) GetRESTOptions(resource schema.GroupResource, example runtime.Object) (generic.RESTOptions, error) {
	options, err := o.RESTOptionsGetter.GetRESTOptions(resource, example)
	plain := options.Decorator
	options.Decorator = func(config *storagebackend.ConfigForResource, prefix string, key func(runtime.Object) (string, error), newFunc, newListFunc func() runtime.Object,
		attrs storage.AttrFunc, triggers storage.IndexerFuncs, indexers *cache.Indexers) (storage.Interface, factory.DestroyFunc, error) {
		s, destroy, err := plain(config, prefix, key, newFunc, newListFunc, attrs, triggers, indexers)
		if err != nil {
			return nil, nil, err
		}
		return lasting{s}, destroy, nil
	}
	return options, err
}

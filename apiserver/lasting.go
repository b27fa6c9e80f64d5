package apiserver

import (
	"context"
	"net/http"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/storage/storagebackend/factory"
	"k8s.io/client-go/tools/cache"

	"fairlead.dev/fairlead/apiserver/registry"
	"fairlead.dev/fairlead/apiserver/store"
)

// longest bounds a write that nobody waits for any more. etcd itself gives up after ten seconds at the most, and then the
// outcome is not known; the bound is beyond that, so that it is etcd which says so.
const longest = 20 * time.Second

// lasting is a storage whose writes, once begun, are carried through although the client has hung up or its time is over. A
// write that is broken off half way may or may not be stored; whoever keeps a book of what is stored would not know what to
// enter.
//
// Where there is no room for a write, it does not begin.
type lasting struct {
	storage.Interface
	b        *backend
	resource schema.GroupResource
}

// Create is part of storage.Interface.
func (l lasting) Create(ctx context.Context, key string, obj, out runtime.Object, ttl uint64) error {
	ctx, cancel, err := l.b.begin(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	err = l.b.answer(l.Interface.Create(ctx, key, obj, out, ttl))
	if err == nil || !registry.Unwritten(err) {
		l.b.creations.tell(l.resource)
	}
	return err
}

// Delete is part of storage.Interface.
func (l lasting) Delete(ctx context.Context, key string, out runtime.Object, conditions *storage.Preconditions, validate storage.ValidateObjectFunc,
	cached runtime.Object, options storage.DeleteOptions) error {
	ctx, cancel, err := l.b.begin(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	return l.b.answer(l.Interface.Delete(ctx, key, out, conditions, validate, cached, options))
}

// GuaranteedUpdate is part of storage.Interface. No try begins for a client that is gone. It also creates: whoever applies or puts an
// object that is not there comes this way.
func (l lasting) GuaranteedUpdate(client context.Context, key string, out runtime.Object, ignoreNotFound bool, conditions *storage.Preconditions,
	try storage.UpdateFunc, cached runtime.Object) error {
	ctx, cancel, err := l.b.begin(client)
	if err != nil {
		return err
	}
	defer cancel()
	creates := false
	err = l.b.answer(l.Interface.GuaranteedUpdate(ctx, key, out, ignoreNotFound, conditions, func(old runtime.Object, meta storage.ResponseMeta) (runtime.Object, *uint64, error) {
		if err := client.Err(); err != nil {
			return nil, nil, registry.NotWritten{Why: err}
		}
		creates = meta.ResourceVersion == 0
		return try(old, meta)
	}, cached))
	if creates && (err == nil || !registry.Unwritten(err)) {
		l.b.creations.tell(l.resource)
	}
	return err
}

// begin is the context of a write that begins now.
func (b *backend) begin(client context.Context) (context.Context, context.CancelFunc, error) {
	if err := client.Err(); err != nil {
		return nil, nil, registry.NotWritten{Why: err}
	}
	if b.embedded != nil {
		if err := b.embedded.Room(); err != nil {
			return nil, nil, noStorage(err.Error())
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(client), longest)
	return ctx, cancel, nil
}

// answer says what etcd means that refuses writes because its database has reached its limit, and has that mended.
func (b *backend) answer(err error) error {
	if err == nil || b.embedded == nil || !store.AtLimit(err) {
		return err
	}
	if b.reclaiming.CompareAndSwap(false, true) {
		go func() {
			defer b.reclaiming.Store(false)
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if err := b.embedded.Reclaim(ctx); err != nil {
				b.log.Warn("the store is full", "err", err)
			}
		}()
	}
	return noStorage("the database of the store has reached its limit: old revisions are being removed, try again in a moment; if that is not enough, delete objects")
}

// noStorage is the answer to a write for which there is no room.
func noStorage(why string) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: http.StatusInsufficientStorage, Reason: "InsufficientStorage", Message: why}}
}

// lastingOptions are storage options whose writes last.
type lastingOptions struct {
	generic.RESTOptionsGetter
	b *backend
}

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
		o.b.note(config.GroupResource, config.Prefix+prefix)
		return lasting{s, o.b, config.GroupResource}, destroy, nil
	}
	return options, err
}

package registry

import (
	"context"
	"fmt"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/registry/generic"
	genericregistry "k8s.io/apiserver/pkg/registry/generic/registry"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
)

// store is the storage of one resource: the generic store of k8s.io/apiserver with the names discovery shows.
type store[T object] struct {
	*genericregistry.Store
	kind *kind[T]
}

var (
	_ rest.StandardStorage    = store[object]{}
	_ rest.ShortNamesProvider = store[object]{}
	_ rest.CategoriesProvider = store[object]{}
)

// ShortNames are the abbreviations kubectl accepts.
func (s store[T]) ShortNames() []string { return s.kind.short }

// Categories are the groups of resources this one belongs to.
func (s store[T]) Categories() []string { return s.kind.categories }

// newStore builds the storage of a row. Nothing is read from etcd yet.
func newStore[T object](k *kind[T], options generic.RESTOptionsGetter) (store[T], error) {
	plain := newStrategy(k)
	attrs := attributes(k)
	s := &genericregistry.Store{
		NewFunc:                   func() runtime.Object { return k.new() },
		NewListFunc:               k.list,
		PredicateFunc:             predicate(attrs, indexed(k)),
		DefaultQualifiedResource:  k.resource(),
		SingularQualifiedResource: schema.GroupResource{Group: k.group, Resource: k.singular},
		CreateStrategy:            plain,
		UpdateStrategy:            plain,
		DeleteStrategy:            plain,
		ReturnDeletedObject:       k.returns,
		TableConvertor:            table[T]{kind: k},
	}
	if k.grace != nil {
		s.DeleteStrategy = gracefulStrategy[T]{plain}
	}
	if k.prepareStatus != nil {
		s.ResetFieldsStrategy = orElse(k.reset, k.resets("status"))
	}
	if k.ttl > 0 {
		s.TTLFunc = func(runtime.Object, uint64, bool) (uint64, error) { return k.ttl, nil }
	}
	err := s.CompleteWithOptions(&generic.StoreOptions{RESTOptions: options, AttrFunc: attrs, TriggerFunc: k.triggers, Indexers: indexers(k)})
	if err != nil {
		return store[T]{}, fmt.Errorf("storage of %s: %w", k.resource(), err)
	}
	return store[T]{Store: s, kind: k}, nil
}

// resetFields makes a set of fields a strategy server-side apply can ask.
type resetFields map[fieldpath.APIVersion]*fieldpath.Set

// GetResetFields returns the fields the endpoint ignores.
func (r resetFields) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set { return r }

func orElse(r, otherwise resetFields) resetFields {
	if r == nil {
		return otherwise
	}
	return r
}

func attributes[T object](k *kind[T]) storage.AttrFunc {
	return func(obj runtime.Object) (labels.Set, fields.Set, error) {
		o, ok := obj.(T)
		if !ok {
			return nil, nil, fmt.Errorf("%s: a %T is not one of them", k.resource(), obj)
		}
		set := fields.Set{"metadata.name": o.GetName()}
		if !k.cluster {
			set["metadata.namespace"] = o.GetNamespace()
		}
		if k.selectable != nil {
			k.selectable(o, set)
		}
		return labels.Set(o.GetLabels()), set, nil
	}
}

// indexed are the fields by which the watch cache finds objects.
func indexed[T object](k *kind[T]) []string {
	return slices.AppendSeq(slices.Collect(maps.Keys(k.triggers)), maps.Keys(k.indexes))
}

// indexers are the indexes of the watch cache; nil: there are none.
func indexers[T object](k *kind[T]) *cache.Indexers {
	all := cache.Indexers{}
	for name, value := range k.triggers {
		all[storage.FieldIndex(name)] = func(obj any) ([]string, error) { return []string{value(obj.(runtime.Object))}, nil }
	}
	for name, values := range k.indexes {
		all[storage.FieldIndex(name)] = func(obj any) ([]string, error) { return values(obj.(T)), nil }
	}
	if len(all) == 0 {
		return nil
	}
	return &all
}

func predicate(attrs storage.AttrFunc, indexes []string) func(labels.Selector, fields.Selector) storage.SelectionPredicate {
	return func(label labels.Selector, field fields.Selector) storage.SelectionPredicate {
		return storage.SelectionPredicate{Label: label, Field: field, GetAttrs: attrs, IndexFields: indexes}
	}
}

// partStore is a subresource that is a part of the object, such as its status: it reads the same objects and updates
// that part.
type partStore[T object] struct {
	store *genericregistry.Store
}

var (
	_ rest.Patcher             = partStore[object]{}
	_ rest.TableConvertor      = partStore[object]{}
	_ rest.ResetFieldsStrategy = partStore[object]{}
)

// status is the status subresource of s.
func (s store[T]) status() partStore[T] {
	status := *s.Store
	status.UpdateStrategy = statusStrategy[T]{newStrategy(s.kind)}
	status.ResetFieldsStrategy = orElse(s.kind.resetStatus, s.kind.resets("spec"))
	return partStore[T]{&status}
}

// part is a subresource that changes what the row says of the objects of s, and nothing else.
func (s store[T]) part(k *kind[T]) partStore[T] {
	part := *s.Store
	part.UpdateStrategy = newStrategy(k)
	part.ResetFieldsStrategy = orElse(k.reset, resetFields{})
	return partStore[T]{&part}
}

// New returns an empty object to decode a request into.
func (s partStore[T]) New() runtime.Object { return s.store.New() }

// Destroy does nothing: the storage belongs to the resource.
func (partStore[T]) Destroy() {}

// Get reads the object.
func (s partStore[T]) Get(ctx context.Context, name string, options *metav1.GetOptions) (runtime.Object, error) {
	return s.store.Get(ctx, name, options)
}

// Update changes the part. It never creates an object.
func (s partStore[T]) Update(ctx context.Context, name string, info rest.UpdatedObjectInfo, create rest.ValidateObjectFunc,
	update rest.ValidateObjectUpdateFunc, _ bool, options *metav1.UpdateOptions) (runtime.Object, bool, error) {
	return s.store.Update(ctx, name, info, create, update, false, options)
}

// GetResetFields returns the fields the endpoint ignores.
func (s partStore[T]) GetResetFields() map[fieldpath.APIVersion]*fieldpath.Set {
	return s.store.GetResetFields()
}

// ConvertToTable prints the object as the resource does.
func (s partStore[T]) ConvertToTable(ctx context.Context, obj, options runtime.Object) (*metav1.Table, error) {
	return s.store.ConvertToTable(ctx, obj, options)
}

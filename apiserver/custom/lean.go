package custom

import (
	"context"
	"fmt"
	"mime"
	"net/http"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/apiserver/pkg/registry/generic"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/apiserver/pkg/storage/storagebackend"
	"k8s.io/apiserver/pkg/storage/storagebackend/factory"
	"k8s.io/client-go/tools/cache"
)

// leanKey marks the context of a request that is answered with lean definitions. Its value says whether they keep who manages which
// field, which is metadata.
type leanKey struct{}

// lean passes on requests of this server's own clients. What they read is without schemas: the informer and the controllers of the
// library would each keep every one, and need none.
func (s *Server) lean(w http.ResponseWriter, r *http.Request) {
	s.front.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), leanKey{}, false)))
}

// metadataOnly marks a request that is answered with tables or metadata, into which no schema goes.
func metadataOnly(r *http.Request) (*http.Request, bool) {
	first, _, _ := strings.Cut(r.Header.Get("Accept"), ",")
	_, params, err := mime.ParseMediaType(first)
	if err != nil || params["g"] != "meta.k8s.io" || params["v"] != "v1" || strings.Contains(r.Header.Get("Accept"), "q=") {
		return r, false
	}
	switch params["as"] {
	case "Table", "PartialObjectMetadata", "PartialObjectMetadataList":
		if include := r.URL.Query().Get("includeObject"); include == "" || include == "Metadata" || include == "None" {
			return r.WithContext(context.WithValue(r.Context(), leanKey{}, true)), true
		}
	}
	return r, false
}

// definitions is how definitions are stored: it returns lean ones to this server's own clients, whole ones to others.
type definitions struct {
	generic.RESTOptionsGetter
	storage.Interface        // set by decorate
	prefix            string // of the keys, likewise
}

// GetRESTOptions is part of generic.RESTOptionsGetter.
func (d *definitions) GetRESTOptions(resource schema.GroupResource, example runtime.Object) (generic.RESTOptions, error) {
	o, err := d.RESTOptionsGetter.GetRESTOptions(resource, example)
	inner := o.Decorator
	o.Decorator = func(config *storagebackend.ConfigForResource, prefix string, key func(runtime.Object) (string, error),
		newFunc, newListFunc func() runtime.Object, attrs storage.AttrFunc, triggers storage.IndexerFuncs, indexers *cache.Indexers) (storage.Interface, factory.DestroyFunc, error) {
		whole, destroy, err := inner(config, prefix, key, newFunc, newListFunc, attrs, triggers, indexers)
		d.Interface, d.prefix = whole, prefix
		return d, destroy, err
	}
	return o, err
}

// whole is a definition as it is stored now, with everything in it.
func (d *definitions) whole(ctx context.Context, name string) (*apiextensionsv1.CustomResourceDefinition, error) {
	var stored apiextensions.CustomResourceDefinition
	if err := d.Interface.Get(ctx, d.prefix+"/"+name, storage.GetOptions{}, &stored); err != nil {
		return nil, fmt.Errorf("definition %s: %w", name, err)
	}
	whole := &apiextensionsv1.CustomResourceDefinition{}
	if err := apiextensionsv1.Convert_apiextensions_CustomResourceDefinition_To_v1_CustomResourceDefinition(&stored, whole, nil); err != nil {
		return nil, fmt.Errorf("definition %s: %w", name, err)
	}
	return whole, nil
}

// Get is part of storage.Interface.
func (d *definitions) Get(ctx context.Context, key string, opts storage.GetOptions, into runtime.Object) error {
	err := d.Interface.Get(ctx, key, opts, into)
	slim(ctx, into)
	return err
}

// GuaranteedUpdate is part of storage.Interface.
func (d *definitions) GuaranteedUpdate(ctx context.Context, key string, into runtime.Object, ignoreNotFound bool, preconditions *storage.Preconditions, update storage.UpdateFunc, cached runtime.Object) error {
	err := d.Interface.GuaranteedUpdate(ctx, key, into, ignoreNotFound, preconditions, update, cached)
	slim(ctx, into)
	return err
}

// page is how many whole definitions are held at once for a lean list.
const page = 4

// GetList is part of storage.Interface.
func (d *definitions) GetList(ctx context.Context, key string, opts storage.ListOptions, into runtime.Object) error {
	all, ok := into.(*apiextensions.CustomResourceDefinitionList)
	if !ok || ctx.Value(leanKey{}) == nil || !opts.Recursive {
		return d.Interface.GetList(ctx, key, opts, into)
	}
	for limit := opts.Predicate.Limit; ; {
		if opts.Predicate.Limit = page; limit > 0 {
			opts.Predicate.Limit = min(page, limit-int64(len(all.Items)))
		}
		var some apiextensions.CustomResourceDefinitionList
		if err := d.Interface.GetList(ctx, key, opts, &some); err != nil {
			return err
		}
		for i := range some.Items {
			slim(ctx, &some.Items[i])
		}
		all.ListMeta, all.Items = some.ListMeta, append(all.Items, some.Items...)
		if some.Continue == "" || limit > 0 && int64(len(all.Items)) >= limit {
			return nil
		}
		// The pages after the first are of the same revision; only the token may name it.
		opts.Predicate.Continue, opts.ResourceVersion, opts.ResourceVersionMatch = some.Continue, "", ""
	}
}

// Watch is part of storage.Interface.
func (d *definitions) Watch(ctx context.Context, key string, opts storage.ListOptions) (watch.Interface, error) {
	whole, err := d.Interface.Watch(ctx, key, opts)
	if err != nil || ctx.Value(leanKey{}) == nil {
		return whole, err
	}
	w := &leanWatch{Interface: whole, out: make(chan watch.Event)}
	go w.run(ctx)
	return w, nil
}

// leanWatch makes the definitions of a watch lean.
type leanWatch struct {
	watch.Interface
	out chan watch.Event
}

// ResultChan is part of watch.Interface.
func (w *leanWatch) ResultChan() <-chan watch.Event { return w.out }

// run ends with the watch, or with ctx, which ends when nobody reads any more.
func (w *leanWatch) run(ctx context.Context) {
	defer close(w.out)
	for e := range w.Interface.ResultChan() {
		slim(ctx, e.Object)
		select {
		case w.out <- e:
		case <-ctx.Done():
			return
		}
	}
}

// slim takes out of a definition what a client in a lean context does not need. In the place of a schema stands one that accepts,
// keeps and changes nothing, since the library deletes the objects of a deleted definition by it.
func slim(ctx context.Context, obj runtime.Object) {
	d, ok := obj.(*apiextensions.CustomResourceDefinition)
	managed, lean := ctx.Value(leanKey{}).(bool)
	if !ok || !lean {
		return
	}
	keep := true
	anything := &apiextensions.CustomResourceValidation{OpenAPIV3Schema: &apiextensions.JSONSchemaProps{Type: "object", XPreserveUnknownFields: &keep}}
	if !managed {
		d.ManagedFields = nil
	}
	if d.Spec.Validation != nil {
		d.Spec.Validation = anything
	}
	for i := range d.Spec.Versions {
		if d.Spec.Versions[i].Schema != nil {
			d.Spec.Versions[i].Schema = anything
		}
	}
}

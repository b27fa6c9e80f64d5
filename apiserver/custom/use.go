package custom

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/storage"
)

// Uses tells of writes of custom resources, without a watch: a watch would keep the machine of each definition.
type Uses struct {
	mu        sync.Mutex
	listeners []func(group, resource, name string)
}

// OnWrite has told called, from then on, after each create, update, patch and delete of an object. The name of one that is created is not
// known. It must not block.
func (u *Uses) OnWrite(told func(group, resource, name string)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.listeners = append(u.listeners, told)
}

func (u *Uses) note(info *request.RequestInfo) {
	switch info.Verb {
	case "create", "update", "patch", "delete", "deletecollection":
	default:
		return
	}
	u.mu.Lock()
	all := slices.Clone(u.listeners)
	u.mu.Unlock()
	for _, told := range all {
		told(info.APIGroup, info.Resource, info.Name)
	}
}

// Uses tells of writes.
func (s *Server) Uses() *Uses { return &s.uses }

// Names are those of all objects of a definition, read from the store: nothing is built to serve them.
func (s *Server) Names(ctx context.Context, resource schema.GroupResource) ([]string, error) {
	var names []string
	err := s.each(ctx, resource, func(o *unstructured.Unstructured) bool {
		names = append(names, o.GetName())
		return true
	})
	return names, err
}

// Unused reports whether there is no object of a definition but those that were stored by PresetObject and are not being deleted, read
// from the store as well.
func (s *Server) Unused(ctx context.Context, resource schema.GroupResource) (bool, error) {
	unused := true
	err := s.each(ctx, resource, func(o *unstructured.Unstructured) bool {
		unused = o.GetAnnotations()[preset] != "" && o.GetDeletionTimestamp() == nil
		return unused
	})
	return unused, err
}

// each reads the objects of a definition from the store, until do returns false.
func (s *Server) each(ctx context.Context, resource schema.GroupResource, do func(*unstructured.Unstructured) bool) error {
	store, prefix, destroy, err := s.store(resource)
	if err != nil {
		return err
	}
	defer destroy()
	const page = 100
	options := storage.ListOptions{Recursive: true, Predicate: storage.Everything}
	options.Predicate.Limit = page
	for {
		all := &unstructured.UnstructuredList{}
		if err := store.GetList(ctx, prefix+"/", options, all); err != nil {
			return fmt.Errorf("%s: %w", resource, err)
		}
		for i := range all.Items {
			if !do(&all.Items[i]) {
				return nil
			}
		}
		if options.Predicate.Continue = all.GetContinue(); options.Predicate.Continue == "" {
			return nil
		}
	}
}

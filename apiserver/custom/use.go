package custom

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/storage"
)

// Uses tells of writes of custom resources, without a watch: a watch would keep the machine of each definition.
type Uses struct {
	mu        sync.Mutex
	listeners []func(group, resource, name string)
}

// OnWrite has told called, from then on, after each create, update and patch of an object. The name of one that is created is not
// known. It must not block.
func (u *Uses) OnWrite(told func(group, resource, name string)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.listeners = append(u.listeners, told)
}

func (u *Uses) note(info *request.RequestInfo) {
	switch info.Verb {
	case "create", "update", "patch":
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
	one := func() runtime.Object { return &unstructured.Unstructured{} }
	list := func() runtime.Object { return &unstructured.UnstructuredList{} }
	o, err := s.bare.GetRESTOptions(resource, one())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", resource, err)
	}
	prefix := "/" + resource.Group + "/" + resource.Resource
	store, destroy, err := o.Decorator(o.StorageConfig, prefix, nil, one, list, nil, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", resource, err)
	}
	defer destroy()
	var names []string
	const page = 100
	options := storage.ListOptions{Recursive: true, Predicate: storage.Everything}
	options.Predicate.Limit = page
	for {
		all := &unstructured.UnstructuredList{}
		if err := store.GetList(ctx, prefix+"/", options, all); err != nil {
			return nil, fmt.Errorf("%s: %w", resource, err)
		}
		for i := range all.Items {
			names = append(names, all.Items[i].GetName())
		}
		if options.Predicate.Continue = all.GetContinue(); options.Predicate.Continue == "" {
			return names, nil
		}
	}
}

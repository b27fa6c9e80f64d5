package apiserver

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"k8s.io/apimachinery/pkg/api/meta"
	metainternalversion "k8s.io/apimachinery/pkg/apis/meta/internalversion"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	genericapirequest "k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
)

// creations tells in the process which kinds there are objects of, without a watch: a watch has the server keep a cache of a kind that
// maybe nobody uses. There is one server over a store, so it sees every creation.
type creations struct {
	mu        sync.Mutex
	listeners atomic.Pointer[[]func(schema.GroupResource)]
}

// each has told called, from then on, when an object has been created, or may have been. It must not block.
func (c *creations) each(told func(schema.GroupResource)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []func(schema.GroupResource)
	if was := c.listeners.Load(); was != nil {
		all = append(all, *was...)
	}
	all = append(all, told)
	c.listeners.Store(&all)
}

func (c *creations) tell(resource schema.GroupResource) {
	if all := c.listeners.Load(); all != nil {
		for _, told := range *all {
			told(resource)
		}
	}
}

// empty reports whether a built-in kind has no object. Of what cannot be listed nothing is known.
func (s *self) empty(ctx context.Context, resource schema.GroupResource) (bool, error) {
	lister, ok := find(s.groups, resource.Group)[resource.Resource].(rest.Lister)
	if !ok {
		return false, nil
	}
	ctx = genericapirequest.WithNamespace(ctx, metav1.NamespaceAll)
	list, err := lister.List(ctx, &metainternalversion.ListOptions{Limit: 1})
	if err != nil {
		return false, fmt.Errorf("%s: %w", resource, err)
	}
	return meta.LenList(list) == 0, nil
}

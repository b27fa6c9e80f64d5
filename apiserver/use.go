package apiserver

import (
	"context"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/runtime/schema"
)

// CustomNames are the names of all objects of a custom resource. Nothing is built to serve them. It is valid once Ready is closed.
func (s *Server) CustomNames(ctx context.Context, resource schema.GroupResource) ([]string, error) {
	return s.customs.Names(ctx, resource)
}

// AwaitUse waits until there is an object of one of a group's custom resources whose name is not mine, and costs nothing while
// there is none. It returns when ctx ends, too. It is valid once Ready is closed.
func (s *Server) AwaitUse(ctx context.Context, group string, resources []string, mine string) error {
	used := make(chan struct{})
	var once sync.Once
	s.customs.Uses().OnWrite(func(in, resource, name string) {
		if in == group && name != mine && slices.Contains(resources, resource) {
			once.Do(func() { close(used) })
		}
	})
	for _, r := range resources {
		names, err := s.customs.Names(ctx, schema.GroupResource{Group: group, Resource: r})
		if err != nil {
			return err
		}
		if slices.ContainsFunc(names, func(name string) bool { return name != mine }) {
			return nil
		}
	}
	select {
	case <-used:
	case <-ctx.Done():
	}
	return nil
}

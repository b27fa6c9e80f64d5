package apiserver

import (
	"context"
	"encoding/json"
	"slices"
	"sync"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// CustomNames are the names of all objects of a custom resource. Nothing is built to serve them. It is valid once Ready is closed.
func (s *Server) CustomNames(ctx context.Context, resource schema.GroupResource) ([]string, error) {
	return s.customs.Names(ctx, resource)
}

// Unused reports whether a resource has no objects but those of PresetObject. Nothing is built or kept to find that out. It is valid
// once Ready is closed.
func (s *Server) Unused(ctx context.Context, resource schema.GroupResource) (bool, error) {
	if _, err := s.customs.Definitions().Get(resource.String()); err != nil {
		return s.own.empty(ctx, resource)
	}
	return s.customs.Unused(ctx, resource)
}

// OnWrite has told called after each creation of an object, and after each write of one of a custom resource. It must not block. It
// is valid once Ready is closed.
func (s *Server) OnWrite(told func(schema.GroupResource)) {
	s.own.created.each(told)
	s.customs.Uses().OnWrite(func(group, resource, _ string) { told(schema.GroupResource{Group: group, Resource: resource}) })
}

// AwaitFirst waits until there is an object of one of some kinds that are built in: see kube.First. It is valid once Ready is closed.
func (s *Server) AwaitFirst(ctx context.Context, any ...schema.GroupResource) error {
	used := make(chan struct{})
	first := sync.OnceFunc(func() { close(used) })
	s.own.created.each(func(r schema.GroupResource) {
		if slices.Contains(any, r) {
			first()
		}
	})
	for _, resource := range any {
		empty, err := s.own.empty(ctx, resource)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil || !empty {
			return err
		}
	}
	select {
	case <-used:
	case <-ctx.Done():
	}
	return nil
}

// Preset stores a definition, JSON, that comes with the program and has been tested: see custom.Server.Preset. It is valid once
// Ready is closed.
func (s *Server) Preset(ctx context.Context, definition []byte) error {
	d := &apiextensionsv1.CustomResourceDefinition{}
	if err := json.Unmarshal(definition, d); err != nil {
		return err
	}
	return s.customs.Preset(ctx, d)
}

// PresetObject stores an object of a custom resource, without building what serves it. It is valid once Ready is closed.
func (s *Server) PresetObject(ctx context.Context, resource schema.GroupResource, object *unstructured.Unstructured) error {
	return s.customs.PresetObject(ctx, resource, object)
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

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

// CustomUnused reports whether a resource is a custom one without any object but those of PresetObject. Nothing is built to serve
// them. It is valid once Ready is closed.
func (s *Server) CustomUnused(ctx context.Context, resource schema.GroupResource) (bool, error) {
	if _, err := s.customs.Definitions().Get(resource.String()); err != nil {
		return false, nil // built in
	}
	return s.customs.Unused(ctx, resource)
}

// OnCustomWrite has told called after each write of an object of a custom resource. It must not block.
func (s *Server) OnCustomWrite(told func(schema.GroupResource)) {
	s.customs.Uses().OnWrite(func(group, resource, _ string) { told(schema.GroupResource{Group: group, Resource: resource}) })
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

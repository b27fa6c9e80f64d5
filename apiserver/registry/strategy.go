package registry

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage/names"
)

// strategy makes a row's functions into the strategies k8s.io/apiserver asks for.
type strategy[T object] struct {
	runtime.ObjectTyper
	names.NameGenerator
	kind *kind[T]
}

var (
	_ rest.RESTCreateStrategy              = strategy[object]{}
	_ rest.RESTUpdateStrategy              = strategy[object]{}
	_ rest.GarbageCollectionDeleteStrategy = strategy[object]{}
	_ rest.RESTGracefulDeleteStrategy      = gracefulStrategy[object]{}
	_ rest.DeclarativeValidationStrategy   = strategy[object]{}
)

func newStrategy[T object](k *kind[T]) strategy[T] {
	return strategy[T]{ObjectTyper: Scheme, NameGenerator: names.SimpleNameGenerator, kind: k}
}

func (s strategy[T]) NamespaceScoped() bool { return !s.kind.cluster }

func (s strategy[T]) PrepareForCreate(ctx context.Context, obj runtime.Object) {
	if s.kind.prepare != nil {
		s.kind.prepare(ctx, obj.(T))
	}
}

func (s strategy[T]) PrepareForUpdate(ctx context.Context, obj, old runtime.Object) {
	keepTimes(ctx, obj, old)
	if s.kind.prepareUpdate != nil {
		s.kind.prepareUpdate(ctx, obj.(T), old.(T))
	}
}

func (s strategy[T]) Validate(ctx context.Context, obj runtime.Object) field.ErrorList {
	if s.kind.validate == nil {
		return nil
	}
	return s.kind.validate(ctx, obj.(T))
}

func (s strategy[T]) ValidateUpdate(ctx context.Context, obj, old runtime.Object) field.ErrorList {
	if s.kind.validateUpdate == nil {
		return s.Validate(ctx, obj)
	}
	return s.kind.validateUpdate(ctx, obj.(T), old.(T))
}

func (s strategy[T]) WarningsOnCreate(_ context.Context, obj runtime.Object) []string {
	if s.kind.warn == nil {
		return nil
	}
	var none T
	return s.kind.warn(obj.(T), none)
}

func (s strategy[T]) WarningsOnUpdate(_ context.Context, obj, old runtime.Object) []string {
	if s.kind.warn == nil {
		return nil
	}
	return s.kind.warn(obj.(T), old.(T))
}

func (s strategy[T]) Canonicalize(obj runtime.Object) {
	if s.kind.canonicalize != nil {
		s.kind.canonicalize(obj.(T))
	}
}

func (s strategy[T]) AllowCreateOnUpdate(context.Context) bool { return s.kind.createOnUpdate }

func (s strategy[T]) AllowUnconditionalUpdate(context.Context) bool { return !s.kind.conditional }

// DefaultGarbageCollectionPolicy is what happens to dependents when the client does not say.
func (s strategy[T]) DefaultGarbageCollectionPolicy(context.Context) rest.GarbageCollectionPolicy {
	if s.kind.collect == "" {
		return rest.DeleteDependents
	}
	return s.kind.collect
}

// statusStrategy is the strategy of a status subresource: never a create, and only the status (and metadata,
// rule S140) may change.
type statusStrategy[T object] struct{ strategy[T] }

func (statusStrategy[T]) AllowCreateOnUpdate(context.Context) bool { return false }

func (s statusStrategy[T]) PrepareForUpdate(ctx context.Context, obj, old runtime.Object) {
	keepTimes(ctx, obj, old)
	s.kind.prepareStatus(ctx, obj.(T), old.(T))
}

func (s statusStrategy[T]) ValidateUpdate(ctx context.Context, obj, old runtime.Object) field.ErrorList {
	if s.kind.validateStatus == nil {
		return nil
	}
	return s.kind.validateStatus(ctx, obj.(T), old.(T))
}

func (s statusStrategy[T]) WarningsOnUpdate(_ context.Context, obj, old runtime.Object) []string {
	if s.kind.warnStatus == nil {
		return nil
	}
	return s.kind.warnStatus(obj.(T), old.(T))
}

// gracefulStrategy adds graceful deletion for the kinds that have it.
type gracefulStrategy[T object] struct{ strategy[T] }

func (s gracefulStrategy[T]) CheckGracefulDelete(_ context.Context, obj runtime.Object, options *metav1.DeleteOptions) bool {
	return options != nil && s.kind.grace(obj.(T), options)
}

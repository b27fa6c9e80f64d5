package registry

import (
	"context"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The functions of this file add rules of our own to a row whose rules are upstream's.

// refusingToo has a row refuse more than upstream does. old is nil where an object is created. What is refused is not prepared:
// upstream drops fields that nobody has asked its feature gates for, in silence, and the user is to be told.
func refusingToo[T object](k *kind[T], refuse func(obj, old T) field.ErrorList) *kind[T] {
	var none T
	prepare, prepareUpdate, validate, validateUpdate := k.prepare, k.prepareUpdate, k.validate, k.validateUpdate
	k.prepare = func(ctx context.Context, obj T) {
		if len(refuse(obj, none)) == 0 {
			prepare(ctx, obj)
		}
	}
	k.prepareUpdate = func(ctx context.Context, obj, old T) {
		if len(refuse(obj, old)) == 0 {
			prepareUpdate(ctx, obj, old)
		}
	}
	k.validate = func(ctx context.Context, obj T) field.ErrorList {
		return append(validate(ctx, obj), refuse(obj, none)...)
	}
	k.validateUpdate = func(ctx context.Context, obj, old T) field.ErrorList {
		return append(validateUpdate(ctx, obj, old), refuse(obj, old)...)
	}
	return k
}

// warningToo has a row warn of more than upstream does. old is nil where an object is created.
func warningToo[T object](k *kind[T], warn func(obj, old T) []string) *kind[T] {
	upstream := k.warn
	k.warn = func(obj, old T) []string { return append(upstream(obj, old), warn(obj, old)...) }
	return k
}

package admission

import (
	"reflect"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/admission"
)

// hub are the object interfaces of a request as webhooks and policies need them. They convert a request's object to the version that
// a rule names; here the type of version 1 is also the one that the server works on, and a scheme does not know how to convert a type
// to itself.
type hub struct{ admission.ObjectInterfaces }

// GetObjectConvertor is part of admission.ObjectInterfaces.
func (h hub) GetObjectConvertor() runtime.ObjectConvertor {
	return copier{h.ObjectInterfaces.GetObjectConvertor()}
}

// copier converts an object to its own type by copying it.
type copier struct{ runtime.ObjectConvertor }

// Convert is part of runtime.ObjectConvertor. As conversions do, it leaves the name of the kind alone.
func (c copier) Convert(in, out, context any) error {
	from, ok := in.(runtime.Object)
	into, also := out.(runtime.Object)
	_, custom := in.(runtime.Unstructured)
	if !ok || !also || custom || in == out || reflect.TypeOf(in) != reflect.TypeOf(out) {
		return c.ObjectConvertor.Convert(in, out, context)
	}
	kind := into.GetObjectKind().GroupVersionKind()
	reflect.ValueOf(out).Elem().Set(reflect.ValueOf(from.DeepCopyObject()).Elem())
	into.GetObjectKind().SetGroupVersionKind(kind)
	return nil
}

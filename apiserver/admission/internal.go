package admission

import (
	"context"
	"fmt"
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/conversion"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/admission"
	convertcertificates "k8s.io/kubernetes/pkg/apis/certificates/v1"
	convertcore "k8s.io/kubernetes/pkg/apis/core/v1"
	convertscheduling "k8s.io/kubernetes/pkg/apis/scheduling/v1"
	convertstorage "k8s.io/kubernetes/pkg/apis/storage/v1"
)

// form is how objects of one kind become what upstream's plugins work on, and how they come back.
type form struct {
	in  func(runtime.Object) (runtime.Object, error)
	out func(changed, into runtime.Object) error
}

// formOf is the form of a kind by upstream's conversions, plain functions that need no scheme.
func formOf[V, I any, PV interface {
	*V
	runtime.Object
}, PI interface {
	*I
	runtime.Object
}](in func(PV, PI, conversion.Scope) error, out func(PI, PV, conversion.Scope) error) (reflect.Type, form) {
	return reflect.TypeFor[PV](), form{
		in: func(obj runtime.Object) (runtime.Object, error) {
			i := PI(new(I))
			return i, in(obj.(PV), i, nil)
		},
		out: func(changed, into runtime.Object) error { return out(changed.(PI), into.(PV), nil) },
	}
}

// forms are those of the kinds that plugins handle, by their versioned type.
var forms = func() map[reflect.Type]form {
	all := map[reflect.Type]form{}
	add := func(of reflect.Type, f form) { all[of] = f }
	add(formOf(convertcore.Convert_v1_Pod_To_core_Pod, convertcore.Convert_core_Pod_To_v1_Pod))
	add(formOf(convertcore.Convert_v1_Node_To_core_Node, convertcore.Convert_core_Node_To_v1_Node))
	add(formOf(convertcore.Convert_v1_PersistentVolumeClaim_To_core_PersistentVolumeClaim, convertcore.Convert_core_PersistentVolumeClaim_To_v1_PersistentVolumeClaim))
	add(formOf(convertcore.Convert_v1_PersistentVolume_To_core_PersistentVolume, convertcore.Convert_core_PersistentVolume_To_v1_PersistentVolume))
	add(formOf(convertstorage.Convert_v1_VolumeAttributesClass_To_storage_VolumeAttributesClass, convertstorage.Convert_storage_VolumeAttributesClass_To_v1_VolumeAttributesClass))
	add(formOf(convertscheduling.Convert_v1_PriorityClass_To_scheduling_PriorityClass, convertscheduling.Convert_scheduling_PriorityClass_To_v1_PriorityClass))
	add(formOf(convertcertificates.Convert_v1_CertificateSigningRequest_To_certificates_CertificateSigningRequest,
		convertcertificates.Convert_certificates_CertificateSigningRequest_To_v1_CertificateSigningRequest))
	add(formOf(convertcertificates.Convert_v1_ClusterTrustBundle_To_certificates_ClusterTrustBundle, convertcertificates.Convert_certificates_ClusterTrustBundle_To_v1_ClusterTrustBundle))
	return all
}()

// internal is a plugin of upstream's that works on internal types: it sees a request with its objects converted, and what it
// changes is copied back.
type internal struct {
	admission.Interface
	of []schema.GroupResource // what it handles
}

var (
	_ admission.MutationInterface   = internal{}
	_ admission.ValidationInterface = internal{}
)

// Admit is part of admission.MutationInterface.
func (p internal) Admit(ctx context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	plugin, ok := p.Interface.(admission.MutationInterface)
	if !ok || !slices.Contains(p.of, a.GetResource().GroupResource()) {
		return nil
	}
	c, err := convert(a)
	if err != nil {
		return err
	}
	if err := plugin.Admit(ctx, c, o); err != nil {
		return err
	}
	return c.copyBack()
}

// Validate is part of admission.ValidationInterface.
func (p internal) Validate(ctx context.Context, a admission.Attributes, o admission.ObjectInterfaces) error {
	plugin, ok := p.Interface.(admission.ValidationInterface)
	if !ok || !slices.Contains(p.of, a.GetResource().GroupResource()) {
		return nil
	}
	c, err := convert(a)
	if err != nil {
		return err
	}
	return plugin.Validate(ctx, c, o)
}

// converted is a request with internal objects.
type converted struct {
	admission.Attributes
	object, old runtime.Object
}

// GetObject is part of admission.Attributes.
func (c converted) GetObject() runtime.Object { return c.object }

// GetOldObject is part of admission.Attributes.
func (c converted) GetOldObject() runtime.Object { return c.old }

func convert(a admission.Attributes) (converted, error) {
	c := converted{Attributes: a}
	var err error
	if c.object, err = internally(a.GetObject()); err != nil {
		return c, fmt.Errorf("%s %q: %w", a.GetResource().Resource, a.GetName(), err)
	}
	if c.old, err = internally(a.GetOldObject()); err != nil {
		return c, fmt.Errorf("%s %q as it is stored: %w", a.GetResource().Resource, a.GetName(), err)
	}
	return c, nil
}

// internally is obj in its internal form, where there is one: subresources come with objects of other kinds.
func internally(obj runtime.Object) (runtime.Object, error) {
	f, ok := forms[reflect.TypeOf(obj)]
	if !ok {
		return obj, nil
	}
	return f.in(obj)
}

func (c converted) copyBack() error {
	obj := c.Attributes.GetObject()
	f, ok := forms[reflect.TypeOf(obj)]
	if !ok {
		return nil
	}
	return f.out(c.object, obj)
}

package custom

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	extensions "k8s.io/apiextensions-apiserver/pkg/apiserver"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apiserver/pkg/storage"
)

// preset annotates objects that were stored by PresetObject.
const preset = "fairlead.dev/installed"

// Preset stores a definition that comes with the program, as if it had been created and established. It is not validated, which
// for a large definition takes a hundred times as long as all the rest: whoever brings it has tested that it is accepted. Where
// there is one of its name, nothing is done.
func (s *Server) Preset(ctx context.Context, d *apiextensionsv1.CustomResourceDefinition) error {
	d = d.DeepCopy()
	extensions.Scheme.Default(d)
	born(d)
	d.Status = established(d)
	var stored apiextensions.CustomResourceDefinition
	if err := apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(d, &stored, nil); err != nil {
		return fmt.Errorf("definition %s: %w", d.Name, err)
	}
	return unlessThere(s.definitions.Create(ctx, s.definitions.prefix+"/"+d.Name, &stored, nil, 0))
}

// established is the status that the library's controllers would come to for a definition whose names nobody else has.
func established(d *apiextensionsv1.CustomResourceDefinition) apiextensionsv1.CustomResourceDefinitionStatus {
	status := apiextensionsv1.CustomResourceDefinitionStatus{AcceptedNames: d.Spec.Names}
	for _, v := range d.Spec.Versions {
		if v.Storage {
			status.StoredVersions = []string{v.Name}
		}
	}
	note := func(kind apiextensionsv1.CustomResourceDefinitionConditionType, reason, message string) {
		status.Conditions = append(status.Conditions, apiextensionsv1.CustomResourceDefinitionCondition{
			Type: kind, Status: apiextensionsv1.ConditionTrue, Reason: reason, Message: message, LastTransitionTime: d.CreationTimestamp,
		})
	}
	note(apiextensionsv1.NamesAccepted, "NoConflicts", "no conflicts found")
	note(apiextensionsv1.Established, "InitialNamesAccepted", "the initial names have been accepted")
	if state, why := apihelpers.GetAPIApprovalState(d.Annotations); state == apihelpers.APIApproved && apihelpers.IsProtectedCommunityGroup(d.Spec.Group) {
		note(apiextensionsv1.KubernetesAPIApprovalPolicyConformant, "ApprovedAnnotation", why)
	}
	return status
}

// PresetObject stores an object of a custom resource that comes with the program, as it is. Nothing is built to serve it. Where
// there is one of its name, nothing is done.
func (s *Server) PresetObject(ctx context.Context, resource schema.GroupResource, object *unstructured.Unstructured) error {
	object = object.DeepCopy()
	born(object)
	annotations := object.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[preset] = "true"
	object.SetAnnotations(annotations)
	store, prefix, destroy, err := s.store(resource)
	if err != nil {
		return err
	}
	defer destroy()
	return unlessThere(store.Create(ctx, prefix+"/"+object.GetName(), object, nil, 0))
}

func unlessThere(err error) error {
	if storage.IsExist(err) {
		return nil
	}
	return err
}

// born gives a new object what every stored one has.
func born(object metav1.Object) {
	object.SetUID(uuid.NewUUID())
	object.SetCreationTimestamp(metav1.NewTime(time.Now().Truncate(time.Second)))
	object.SetGeneration(1)
	object.SetResourceVersion("")
}

// store is where the objects of a definition are, without a watch cache. What it holds is let go of by destroy.
func (s *Server) store(resource schema.GroupResource) (store storage.Interface, prefix string, destroy func(), err error) {
	one := func() runtime.Object { return &unstructured.Unstructured{} }
	list := func() runtime.Object { return &unstructured.UnstructuredList{} }
	o, err := s.bare.GetRESTOptions(resource, one())
	if err != nil {
		return nil, "", nil, fmt.Errorf("%s: %w", resource, err)
	}
	prefix = "/" + resource.Group + "/" + resource.Resource
	store, drop, err := o.Decorator(o.StorageConfig, prefix, nil, one, list, nil, nil, nil)
	if err != nil {
		return nil, "", nil, fmt.Errorf("%s: %w", resource, err)
	}
	return store, prefix, drop, nil
}

package registry

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/kubernetes/pkg/apis/resource"
	convert "k8s.io/kubernetes/pkg/apis/resource/v1"
	"k8s.io/kubernetes/pkg/registry/resource/deviceclass"
	"k8s.io/kubernetes/pkg/registry/resource/devicetaintrule"
	"k8s.io/kubernetes/pkg/registry/resource/resourceclaim"
	"k8s.io/kubernetes/pkg/registry/resource/resourceclaimtemplate"
	"k8s.io/kubernetes/pkg/registry/resource/resourceslice"
	"k8s.io/utils/ptr"
)

// devices are the kinds by which drivers and pods speak about devices.
func (b *builder) devices() map[string]rest.Storage {
	resources := map[string]rest.Storage{}
	put(resources, build(b, deviceClasses()))
	put(resources, build(b, deviceTaintRules()))
	put(resources, build(b, b.resourceClaims()))
	put(resources, build(b, b.resourceClaimTemplates()))
	put(resources, build(b, resourceSlices()))
	return resources
}

func deviceClasses() *kind[*resourcev1.DeviceClass] {
	return adopt(foreign[*resourcev1.DeviceClass, *resource.DeviceClass]{
		strategy: deviceclass.Strategy,
		in:       convert.Convert_v1_DeviceClass_To_resource_DeviceClass, out: convert.Convert_resource_DeviceClass_To_v1_DeviceClass,
	}, kind[*resourcev1.DeviceClass]{
		group: resourcev1.GroupName, plural: "deviceclasses", singular: "deviceclass", returns: true,
		list: func() runtime.Object { return &resourcev1.DeviceClassList{} },
	})
}

func deviceTaintRules() *kind[*resourcev1.DeviceTaintRule] {
	return adopt(foreign[*resourcev1.DeviceTaintRule, *resource.DeviceTaintRule]{
		strategy: devicetaintrule.Strategy, status: devicetaintrule.StatusStrategy,
		in: convert.Convert_v1_DeviceTaintRule_To_resource_DeviceTaintRule, out: convert.Convert_resource_DeviceTaintRule_To_v1_DeviceTaintRule,
	}, kind[*resourcev1.DeviceTaintRule]{
		group: resourcev1.GroupName, plural: "devicetaintrules", singular: "devicetaintrule", returns: true,
		list: func() runtime.Object { return &resourcev1.DeviceTaintRuleList{} },
	})
}

// resourceClaims asks, as upstream does, whether the namespace is one for administrators, and who writes a status.
func (b *builder) resourceClaims() *kind[*resourcev1.ResourceClaim] {
	strategy := resourceclaim.NewStrategy(namespaceReader{b: b}, b.config.Authorizer)
	return adopt(foreign[*resourcev1.ResourceClaim, *resource.ResourceClaim]{
		strategy: strategy, status: resourceclaim.NewStatusStrategy(strategy),
		in: convert.Convert_v1_ResourceClaim_To_resource_ResourceClaim, out: convert.Convert_resource_ResourceClaim_To_v1_ResourceClaim,
	}, kind[*resourcev1.ResourceClaim]{
		group: resourcev1.GroupName, plural: "resourceclaims", singular: "resourceclaim", returns: true,
		list: func() runtime.Object { return &resourcev1.ResourceClaimList{} },
	})
}

func (b *builder) resourceClaimTemplates() *kind[*resourcev1.ResourceClaimTemplate] {
	return adopt(foreign[*resourcev1.ResourceClaimTemplate, *resource.ResourceClaimTemplate]{
		strategy: resourceclaimtemplate.NewStrategy(namespaceReader{b: b}),
		in:       convert.Convert_v1_ResourceClaimTemplate_To_resource_ResourceClaimTemplate, out: convert.Convert_resource_ResourceClaimTemplate_To_v1_ResourceClaimTemplate,
	}, kind[*resourcev1.ResourceClaimTemplate]{
		group: resourcev1.GroupName, plural: "resourceclaimtemplates", singular: "resourceclaimtemplate", returns: true,
		list: func() runtime.Object { return &resourcev1.ResourceClaimTemplateList{} },
	})
}

func resourceSlices() *kind[*resourcev1.ResourceSlice] {
	return adopt(foreign[*resourcev1.ResourceSlice, *resource.ResourceSlice]{
		strategy: resourceslice.Strategy,
		in:       convert.Convert_v1_ResourceSlice_To_resource_ResourceSlice, out: convert.Convert_resource_ResourceSlice_To_v1_ResourceSlice,
	}, kind[*resourcev1.ResourceSlice]{
		group: resourcev1.GroupName, plural: "resourceslices", singular: "resourceslice", returns: true,
		list: func() runtime.Object { return &resourcev1.ResourceSliceList{} },
		selectable: func(s *resourcev1.ResourceSlice, set fields.Set) {
			set[resourcev1.ResourceSliceSelectorNodeName], set[resourcev1.ResourceSliceSelectorDriver] = ptr.Deref(s.Spec.NodeName, ""), s.Spec.Driver
		},
	})
}

// namespaceReader is what upstream's strategies read a namespace by. They call nothing but Get.
type namespaceReader struct {
	corev1client.NamespaceInterface
	b *builder
}

// Get reads a namespace.
func (r namespaceReader) Get(ctx context.Context, name string, options metav1.GetOptions) (*corev1.Namespace, error) {
	if r.b.namespaces == nil {
		return nil, errors.New("there are no namespaces")
	}
	obj, err := r.b.namespaces.Get(ctx, name, &options)
	if err != nil {
		return nil, err
	}
	return obj.(*corev1.Namespace), nil
}

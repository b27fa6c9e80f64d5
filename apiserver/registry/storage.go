package registry

import (
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/kubernetes/pkg/apis/storage"
	convert "k8s.io/kubernetes/pkg/apis/storage/v1"
	"k8s.io/kubernetes/pkg/printers"
	"k8s.io/kubernetes/pkg/registry/storage/csidriver"
	"k8s.io/kubernetes/pkg/registry/storage/csinode"
	"k8s.io/kubernetes/pkg/registry/storage/csistoragecapacity"
	"k8s.io/kubernetes/pkg/registry/storage/storageclass"
	"k8s.io/kubernetes/pkg/registry/storage/volumeattachment"
	"k8s.io/kubernetes/pkg/registry/storage/volumeattributesclass"
)

// storage are the kinds by which CSI drivers and those who provide volumes are described.
func (b *builder) storage() map[string]rest.Storage {
	resources := map[string]rest.Storage{}
	put(resources, build(b, storageClasses()))
	put(resources, build(b, csiDrivers()))
	put(resources, build(b, csiNodes()))
	put(resources, build(b, csiStorageCapacities()))
	put(resources, build(b, volumeAttachments()))
	put(resources, build(b, volumeAttributesClasses()))
	return resources
}

func storageClasses() *kind[*storagev1.StorageClass] {
	return adopt(foreign[*storagev1.StorageClass, *storage.StorageClass]{
		strategy: storageclass.Strategy,
		in:       convert.Convert_v1_StorageClass_To_storage_StorageClass, out: convert.Convert_storage_StorageClass_To_v1_StorageClass,
	}, kind[*storagev1.StorageClass]{
		group: storagev1.GroupName, plural: "storageclasses", singular: "storageclass", short: []string{"sc"},
		list:  func() runtime.Object { return &storagev1.StorageClassList{} },
		print: printStorageClasses,
	})
}

// printStorageClasses shows which of the classes is the default: it depends on all of them.
func printStorageClasses(objs []*storagev1.StorageClass) (*metav1.Table, error) {
	list := &storage.StorageClassList{Items: make([]storage.StorageClass, len(objs))}
	for i, obj := range objs {
		if err := convert.Convert_v1_StorageClass_To_storage_StorageClass(obj, &list.Items[i], nil); err != nil {
			return nil, err
		}
	}
	return printer().GenerateTable(list, printers.GenerateOptions{Wide: true})
}

func csiDrivers() *kind[*storagev1.CSIDriver] {
	return adopt(foreign[*storagev1.CSIDriver, *storage.CSIDriver]{
		strategy: csidriver.Strategy,
		in:       convert.Convert_v1_CSIDriver_To_storage_CSIDriver, out: convert.Convert_storage_CSIDriver_To_v1_CSIDriver,
	}, kind[*storagev1.CSIDriver]{
		group: storagev1.GroupName, plural: "csidrivers", singular: "csidriver",
		list: func() runtime.Object { return &storagev1.CSIDriverList{} },
	})
}

func csiNodes() *kind[*storagev1.CSINode] {
	return adopt(foreign[*storagev1.CSINode, *storage.CSINode]{
		strategy: csinode.Strategy,
		in:       convert.Convert_v1_CSINode_To_storage_CSINode, out: convert.Convert_storage_CSINode_To_v1_CSINode,
	}, kind[*storagev1.CSINode]{
		group: storagev1.GroupName, plural: "csinodes", singular: "csinode",
		list: func() runtime.Object { return &storagev1.CSINodeList{} },
	})
}

func csiStorageCapacities() *kind[*storagev1.CSIStorageCapacity] {
	return adopt(foreign[*storagev1.CSIStorageCapacity, *storage.CSIStorageCapacity]{
		strategy: csistoragecapacity.Strategy,
		in:       convert.Convert_v1_CSIStorageCapacity_To_storage_CSIStorageCapacity, out: convert.Convert_storage_CSIStorageCapacity_To_v1_CSIStorageCapacity,
	}, kind[*storagev1.CSIStorageCapacity]{
		group: storagev1.GroupName, plural: "csistoragecapacities", singular: "csistoragecapacity",
		list: func() runtime.Object { return &storagev1.CSIStorageCapacityList{} },
	})
}

func volumeAttachments() *kind[*storagev1.VolumeAttachment] {
	return adopt(foreign[*storagev1.VolumeAttachment, *storage.VolumeAttachment]{
		strategy: volumeattachment.Strategy, status: volumeattachment.StatusStrategy,
		in: convert.Convert_v1_VolumeAttachment_To_storage_VolumeAttachment, out: convert.Convert_storage_VolumeAttachment_To_v1_VolumeAttachment,
	}, kind[*storagev1.VolumeAttachment]{
		group: storagev1.GroupName, plural: "volumeattachments", singular: "volumeattachment",
		list: func() runtime.Object { return &storagev1.VolumeAttachmentList{} },
	})
}

func volumeAttributesClasses() *kind[*storagev1.VolumeAttributesClass] {
	return adopt(foreign[*storagev1.VolumeAttributesClass, *storage.VolumeAttributesClass]{
		strategy: volumeattributesclass.Strategy,
		in:       convert.Convert_v1_VolumeAttributesClass_To_storage_VolumeAttributesClass, out: convert.Convert_storage_VolumeAttributesClass_To_v1_VolumeAttributesClass,
	}, kind[*storagev1.VolumeAttributesClass]{
		group: storagev1.GroupName, plural: "volumeattributesclasses", singular: "volumeattributesclass", short: []string{"vac"},
		list: func() runtime.Object { return &storagev1.VolumeAttributesClassList{} },
	})
}

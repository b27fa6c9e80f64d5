package registry

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	core "k8s.io/kubernetes/pkg/apis/core"
	convert "k8s.io/kubernetes/pkg/apis/core/v1"
	"k8s.io/kubernetes/pkg/registry/core/persistentvolume"
	"k8s.io/kubernetes/pkg/registry/core/persistentvolumeclaim"
)

func persistentVolumes() *kind[*corev1.PersistentVolume] {
	return adopt(foreign[*corev1.PersistentVolume, *core.PersistentVolume]{
		strategy: persistentvolume.Strategy, status: persistentvolume.StatusStrategy,
		in: convert.Convert_v1_PersistentVolume_To_core_PersistentVolume, out: convert.Convert_core_PersistentVolume_To_v1_PersistentVolume,
	}, kind[*corev1.PersistentVolume]{
		plural: "persistentvolumes", singular: "persistentvolume", short: []string{"pv"}, returns: true,
		list:       func() runtime.Object { return &corev1.PersistentVolumeList{} },
		selectable: func(v *corev1.PersistentVolume, set fields.Set) { set["name"] = v.Name }, // a legacy name that upstream still takes
	})
}

func persistentVolumeClaims() *kind[*corev1.PersistentVolumeClaim] {
	return adopt(foreign[*corev1.PersistentVolumeClaim, *core.PersistentVolumeClaim]{
		strategy: persistentvolumeclaim.Strategy, status: persistentvolumeclaim.StatusStrategy,
		in: convert.Convert_v1_PersistentVolumeClaim_To_core_PersistentVolumeClaim, out: convert.Convert_core_PersistentVolumeClaim_To_v1_PersistentVolumeClaim,
	}, kind[*corev1.PersistentVolumeClaim]{
		plural: "persistentvolumeclaims", singular: "persistentvolumeclaim", short: []string{"pvc"}, returns: true,
		list:       func() runtime.Object { return &corev1.PersistentVolumeClaimList{} },
		selectable: func(c *corev1.PersistentVolumeClaim, set fields.Set) { set["name"] = c.Name }, // as with volumes
	})
}

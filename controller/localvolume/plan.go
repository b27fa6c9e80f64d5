package localvolume

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/api/localvolume"
)

// What upstream's controllers and external provisioners write on claims and volumes.
const (
	annotationProvisioner     = "volume.kubernetes.io/storage-provisioner"
	annotationBetaProvisioner = "volume.beta.kubernetes.io/storage-provisioner"
	annotationNode            = "volume.kubernetes.io/selected-node"
	annotationProvisionedBy   = "pv.kubernetes.io/provisioned-by"
)

// wants says whether a claim is to get a volume from here.
func wants(claim *corev1.PersistentVolumeClaim) bool {
	by := claim.Annotations[annotationProvisioner]
	if by == "" {
		by = claim.Annotations[annotationBetaProvisioner]
	}
	return by == localvolume.Provisioner && claim.Spec.VolumeName == "" && claim.DeletionTimestamp == nil
}

// refusal is why a claim gets no volume, "" if it may. The class is the claim's.
func refusal(claim *corev1.PersistentVolumeClaim, class *storagev1.StorageClass) string {
	switch {
	case ptr.Deref(claim.Spec.VolumeMode, corev1.PersistentVolumeFilesystem) == corev1.PersistentVolumeBlock:
		return "block devices are not supported: use volumeMode Filesystem"
	case slices.ContainsFunc(claim.Spec.AccessModes, manyNodes):
		return "only the access modes ReadWriteOnce and ReadWriteOncePod are supported: a directory of one node is not on others"
	case claim.Spec.Selector != nil:
		return "claim.Spec.Selector is not supported: volumes are made for the claim"
	case claim.Spec.DataSource != nil || claim.Spec.DataSourceRef != nil:
		return "data sources are not supported: volumes begin empty"
	case len(class.Parameters) > 0:
		return fmt.Sprintf("StorageClass %s: parameters are not supported", class.Name)
	case len(class.MountOptions) > 0:
		return fmt.Sprintf("StorageClass %s: mount options are not supported", class.Name)
	case ptr.Deref(class.VolumeBindingMode, storagev1.VolumeBindingImmediate) != storagev1.VolumeBindingWaitForFirstConsumer && claim.Annotations[annotationNode] == "":
		return fmt.Sprintf("StorageClass %s: volumeBindingMode must be WaitForFirstConsumer: the directory is made on the node of the claim's first pod", class.Name)
	}
	return ""
}

func manyNodes(mode corev1.PersistentVolumeAccessMode) bool {
	return mode == corev1.ReadWriteMany || mode == corev1.ReadOnlyMany
}

// unfit is why a node can make no directory now, "" if it can.
func unfit(node *corev1.Node) string {
	switch {
	case node == nil:
		return "there is no such node"
	case !api.NodeReady(node):
		return "the node is not ready"
	}
	return ""
}

// volumeOf is the volume of a claim whose directory is at path on a node.
func volumeOf(claim *corev1.PersistentVolumeClaim, class *storagev1.StorageClass, node *corev1.Node, path string) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{
			Name:        localvolume.Name(claim),
			Annotations: map[string]string{annotationProvisionedBy: localvolume.Provisioner},
			Finalizers:  []string{localvolume.Finalizer},
		},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: claim.Spec.Resources.Requests[corev1.ResourceStorage]},
			AccessModes:                   claim.Spec.AccessModes,
			VolumeMode:                    ptr.To(corev1.PersistentVolumeFilesystem),
			PersistentVolumeReclaimPolicy: ptr.Deref(class.ReclaimPolicy, corev1.PersistentVolumeReclaimDelete),
			StorageClassName:              class.Name,
			PersistentVolumeSource:        corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: path}},
			ClaimRef: &corev1.ObjectReference{
				Kind: "PersistentVolumeClaim", APIVersion: "v1",
				Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID, ResourceVersion: claim.ResourceVersion,
			},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{hostname(node)}}},
			}}}},
		},
	}
}

// hostname is what a node is labelled with.
func hostname(node *corev1.Node) string {
	if name := node.Labels[corev1.LabelHostname]; name != "" {
		return name
	}
	return node.Name
}

// onHost is the hostname that a volume of ours is bound to.
func onHost(v *corev1.PersistentVolume) string {
	if v.Spec.NodeAffinity == nil || v.Spec.NodeAffinity.Required == nil {
		return ""
	}
	for _, term := range v.Spec.NodeAffinity.Required.NodeSelectorTerms {
		for _, e := range term.MatchExpressions {
			if e.Key == corev1.LabelHostname && len(e.Values) == 1 {
				return e.Values[0]
			}
		}
	}
	return ""
}

// ours says whether a volume was made here. Annotation, name and source of one are written by administrators only.
func ours(v *corev1.PersistentVolume) bool {
	return v.Annotations[annotationProvisionedBy] == localvolume.Provisioner && localvolume.IsName(v.Name) && v.Spec.Local != nil
}

// fate is what becomes of a volume and its directory.
type fate int

const (
	stays    fate = iota
	goes          // the directory is removed, then the volume
	released      // the volume goes, its directory stays
)

// fateOf decides by upstream's rules for external provisioners: what is released goes if its policy is Delete, and what a person deletes does
// when its claim is gone.
func fateOf(v *corev1.PersistentVolume) fate {
	if v.DeletionTimestamp != nil && !slices.Contains(v.Finalizers, localvolume.Finalizer) {
		return stays // it goes by itself
	}
	unused := v.Status.Phase == corev1.VolumeReleased || v.Status.Phase == corev1.VolumeAvailable || v.Status.Phase == corev1.VolumeFailed
	switch deletes := v.Spec.PersistentVolumeReclaimPolicy == corev1.PersistentVolumeReclaimDelete; {
	case deletes && v.Status.Phase == corev1.VolumeReleased, deletes && v.DeletionTimestamp != nil && unused:
		return goes
	case !deletes && v.DeletionTimestamp != nil && unused:
		return released
	}
	return stays
}

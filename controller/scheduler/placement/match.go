package placement

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	scheduling "k8s.io/component-helpers/scheduling/corev1"
)

// What volumes are told by annotations: that a claim is bound for good, and for which node its volume is to be made.
const (
	bindCompleted = "pv.kubernetes.io/bind-completed"
	selectedNode  = "volume.kubernetes.io/selected-node"
)

// classOf is the class of a claim or a volume, "" for none: the older annotation goes first.
func classOf(object metav1.Object, spec string) string {
	if class, ok := object.GetAnnotations()[corev1.BetaStorageClassAnnotation]; ok {
		return class
	}
	return spec
}

// ClaimClass is the storage class of a claim, "" for none.
func ClaimClass(c *corev1.PersistentVolumeClaim) string {
	return classOf(c, *cmp.Or(c.Spec.StorageClassName, new("")))
}

// VolumeClass is the storage class of a volume, "" for none.
func VolumeClass(v *corev1.PersistentVolume) string { return classOf(v, v.Spec.StorageClassName) }

// reaches reports whether the volume can be used on a node with the labels.
func reaches(v *corev1.PersistentVolume, on map[string]string) bool {
	if v.Spec.NodeAffinity == nil || v.Spec.NodeAffinity.Required == nil {
		return true
	}
	ok, err := scheduling.MatchNodeSelectorTerms(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Labels: on}}, v.Spec.NodeAffinity.Required)
	return ok && err == nil
}

// belongs reports whether the volume has been given to the claim.
func belongs(v *corev1.PersistentVolume, c *corev1.PersistentVolumeClaim) bool {
	ref := v.Spec.ClaimRef
	return ref != nil && ref.Name == c.Name && ref.Namespace == c.Namespace && (ref.UID == "" || ref.UID == c.UID)
}

// match is the volume for the claim on a node with the labels: the one that it has been given, or else the smallest that is large
// enough, free, of the right class, modes and labels. Nil: there is none. A claim whose volume does not reach the node gets no other.
func match(c *corev1.PersistentVolumeClaim, volumes []*corev1.PersistentVolume, on map[string]string, taken map[string]bool) (best *corev1.PersistentVolume) {
	selector := labels.Everything()
	if c.Spec.Selector != nil {
		selector = selectorOf(c.Spec.Selector)
	}
	size := func(v *corev1.PersistentVolume) int64 { return v.Spec.Capacity.Storage().Value() }
	for _, v := range volumes {
		switch {
		case taken[v.Name], v.Spec.ClaimRef != nil && !belongs(v, c), v.DeletionTimestamp != nil,
			size(v) < c.Spec.Resources.Requests.Storage().Value(), modeOf(v.Spec.VolumeMode) != modeOf(c.Spec.VolumeMode),
			*cmp.Or(c.Spec.VolumeAttributesClassName, new("")) != *cmp.Or(v.Spec.VolumeAttributesClassName, new("")):
			continue
		case belongs(v, c):
			if !reaches(v, on) {
				return nil
			}
			return v
		case v.Status.Phase != corev1.VolumeAvailable, !selector.Matches(labels.Set(v.Labels)), VolumeClass(v) != ClaimClass(c),
			!reaches(v, on), !offers(v.Spec.AccessModes, c.Spec.AccessModes):
			continue
		case best == nil || size(v) < size(best):
			best = v
		}
	}
	return best
}

func modeOf(mode *corev1.PersistentVolumeMode) corev1.PersistentVolumeMode {
	return *cmp.Or(mode, new(corev1.PersistentVolumeFilesystem))
}

// offers reports whether all wanted access modes are there.
func offers(have, want []corev1.PersistentVolumeAccessMode) bool {
	return !slices.ContainsFunc(want, func(mode corev1.PersistentVolumeAccessMode) bool { return !slices.Contains(have, mode) })
}

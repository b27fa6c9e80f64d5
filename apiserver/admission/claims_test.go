package admission_test

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// TestClaimsAtAdmission: the first claim of a cluster gets the default class already, and nobody else's claim a class; what is not bound, or
// of a class that does not allow it, does not grow.
func TestClaimsAtAdmission(t *testing.T) {
	client := start(t)
	claims := client.CoreV1().PersistentVolumeClaims("n")
	claim := func(name string, class *string) *corev1.PersistentVolumeClaim {
		return &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: class, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{Requests: quantities("storage", "1Gi")},
		}}
	}
	made := must[*corev1.PersistentVolumeClaim](t)(claims.Create(t.Context(), claim("first", nil), metav1.CreateOptions{}))
	if got := ptr.Deref(made.Spec.StorageClassName, "none"); got != "local-path" {
		t.Errorf("class %q", got)
	}
	none := must[*corev1.PersistentVolumeClaim](t)(claims.Create(t.Context(), claim("none", ptr.To("")), metav1.CreateOptions{}))
	if ptr.Deref(none.Spec.StorageClassName, "none") != "" {
		t.Errorf("class %v", none.Spec.StorageClassName)
	}
	grow := []byte(`{"spec":{"resources":{"requests":{"storage":"2Gi"}}}}`)
	_, err := claims.Patch(t.Context(), "first", types.MergePatchType, grow, metav1.PatchOptions{})
	refused(t, err, "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims")
	made.Spec.VolumeName = "v"
	made = must[*corev1.PersistentVolumeClaim](t)(claims.Update(t.Context(), made, metav1.UpdateOptions{}))
	made.Status.Phase = corev1.ClaimBound
	must[*corev1.PersistentVolumeClaim](t)(claims.UpdateStatus(t.Context(), made, metav1.UpdateOptions{}))
	_, err = claims.Patch(t.Context(), "first", types.MergePatchType, grow, metav1.PatchOptions{})
	refused(t, err, "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize")
}

package upstream_test

import (
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestVolumesInUseStay: a claim that is deleted goes when no pod uses it any more, and a volume when no claim is bound to it.
func TestVolumesInUseStay(t *testing.T) {
	c := start(t)
	ctx := t.Context()
	claims, pods := c.CoreV1().PersistentVolumeClaims("default"), c.CoreV1().Pods("default")
	const claim = "spec: {accessModes: [ReadWriteOnce], storageClassName: none, resources: {requests: {storage: 1Gi}}}}"
	for _, name := range []string{"used", "unused"} {
		c.create(t, "/api/v1/namespaces/default/persistentvolumeclaims", "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: "+name+"}, "+claim)
	}
	c.create(t, "/api/v1/persistentvolumes", "{apiVersion: v1, kind: PersistentVolume, metadata: {name: v}, spec: {capacity: {storage: 2Gi}, accessModes: [ReadWriteOnce], storageClassName: other, hostPath: {path: /x}}}")
	c.create(t, "/api/v1/namespaces/default/pods", "{apiVersion: v1, kind: Pod, metadata: {name: p}, spec: {nodeName: n1, containers: [{name: c, image: i}], volumes: [{name: v, persistentVolumeClaim: {claimName: used}}]}}")
	if _, err := pods.Patch(ctx, "p", "application/merge-patch+json", []byte(`{"status":`+ready+`}`), metav1.PatchOptions{}, "status"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"used", "unused"} {
		if err := claims.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.CoreV1().PersistentVolumes().Delete(ctx, "v", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		_, err := claims.Get(ctx, "unused", metav1.GetOptions{})
		_, volume := c.CoreV1().PersistentVolumes().Get(ctx, "v", metav1.GetOptions{})
		return apierrors.IsNotFound(err) && apierrors.IsNotFound(volume)
	})
	if used, err := claims.Get(ctx, "used", metav1.GetOptions{}); err != nil || used.DeletionTimestamp == nil {
		t.Fatalf("the claim that a pod uses: %v", err)
	}
	if err := pods.Delete(ctx, "p", *metav1.NewDeleteOptions(0)); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool {
		_, err := claims.Get(ctx, "used", metav1.GetOptions{})
		return apierrors.IsNotFound(err)
	})
}

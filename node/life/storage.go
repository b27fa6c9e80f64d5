package life

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Stored is what a pod has written to the node's disk, in bytes.
type Stored struct {
	Containers map[string]int64 // what each container has changed in its image, and its log
	EmptyDirs  map[string]int64 // by volume, those on the disk
}

// StorageLimited reports whether limits of ephemeral storage bound what the pod may write.
func StorageLimited(pod *corev1.Pod) bool {
	for i := range pod.Spec.Containers {
		if _, limited := pod.Spec.Containers[i].Resources.Limits[corev1.ResourceEphemeralStorage]; limited {
			return true
		}
	}
	return false
}

// DiskEmptyDir reports whether a volume is an emptyDir that lies on the disk.
func DiskEmptyDir(v *corev1.Volume) bool {
	return v.EmptyDir != nil && v.EmptyDir.Medium != corev1.StorageMediumMemory
}

// StorageExceeded is why a pod has to go for what it has written, in kubelet's words and in its order; empty: it may stay.
func StorageExceeded(pod *corev1.Pod, used Stored) string {
	var sum int64
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if !DiskEmptyDir(v) {
			continue
		}
		sum += used.EmptyDirs[v.Name]
	}
	total, limited, own := resource.Quantity{}, false, ""
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		sum += used.Containers[c.Name]
		limit, ok := c.Resources.Limits[corev1.ResourceEphemeralStorage]
		if !ok {
			continue
		}
		limited = true
		total.Add(limit)
		if own == "" && used.Containers[c.Name] > limit.Value() {
			own = fmt.Sprintf("Container %s exceeded its local ephemeral storage limit %q. ", c.Name, limit.String())
		}
	}
	if limited && sum > total.Value() {
		return fmt.Sprintf("Pod ephemeral local storage usage exceeds the total limit of containers %s. ", total.String())
	}
	return own
}

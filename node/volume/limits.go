package volume

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/resource"
)

// blockSize is what Stat_t counts blocks in.
const blockSize = 512

// Limited tells whether a pod has a volume on disk that may only become so large.
func Limited(pod *corev1.Pod) bool {
	for i := range pod.Spec.Volumes {
		if limited(&pod.Spec.Volumes[i]) {
			return true
		}
	}
	return false
}

// limited: what is in memory cannot become larger than it is made.
func limited(v *corev1.Volume) bool {
	return v.EmptyDir != nil && v.EmptyDir.Medium != corev1.StorageMediumMemory && v.EmptyDir.SizeLimit != nil && v.EmptyDir.SizeLimit.Sign() > 0
}

// TooLarge says, in kubelet's words, that a volume of a pod has become larger than it may, "" if none has.
func (mgr *Manager) TooLarge(pod *corev1.Pod) (string, error) {
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if !limited(v) {
			continue
		}
		used, err := Size(mgr.volumeDir(pod, v.Name))
		if err != nil {
			return "", err
		}
		if used > v.EmptyDir.SizeLimit.Value() {
			return fmt.Sprintf("Usage of EmptyDir volume %q exceeds the limit %q. ", v.Name, v.EmptyDir.SizeLimit.String()), nil
		}
	}
	return "", nil
}

// Size is how much of the disk a directory takes, with all that is in it. What has several names counts once; what goes meanwhile does
// not count, and no link leads out.
func Size(dir string) (int64, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, ignoreMissing(err)
	}
	defer root.Close()
	var sum int64
	seen := map[uint64]bool{}
	err = fs.WalkDir(root.FS(), ".", func(_ string, e fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		info, err := e.Info()
		if err != nil {
			return nil
		}
		is, ok := info.Sys().(*syscall.Stat_t)
		if !ok || is.Nlink > 1 && !e.IsDir() && seen[is.Ino] {
			return nil
		}
		if is.Nlink > 1 {
			seen[is.Ino] = true
		}
		sum += is.Blocks * blockSize
		return nil
	})
	return sum, err
}

// memorySize is how large a volume in memory may become: as its own limit says, and no larger than the memory that the pod may have, or
// the node has (upstream's rule).
func memorySize(pod *corev1.Pod, source *corev1.EmptyDirVolumeSource, node int64) int64 {
	least, limits := node, resource.PodLimits(pod, resource.PodResourcesOptions{})
	if limit := limits.Memory().Value(); limit > 0 {
		least = min(least, limit)
	}
	if source.SizeLimit != nil && source.SizeLimit.Sign() > 0 {
		least = min(least, source.SizeLimit.Value())
	}
	return least
}

package volume

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
)

// emptyDir makes a directory that every user may write, on disk or in memory.
func (mgr *Manager) emptyDir(pod *corev1.Pod, source *corev1.EmptyDirVolumeSource, dir string) error {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return err
	}
	if source.Medium == corev1.StorageMediumMemory {
		options := "mode=1777"
		if most := memorySize(pod, source, mgr.Node().Capacity[1]); most > 0 {
			options += fmt.Sprintf(",size=%d", most)
		}
		err := mgr.Runtime.InMounts(func() error {
			if !mounted(dir) {
				if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
					return err
				}
			}
			return setOwnership(dir, fsGroup(pod), 0o777|os.ModeSticky)
		})
		if err != nil {
			return fmt.Errorf("tmpfs: %w", err)
		}
		return nil
	}
	return setOwnership(dir, fsGroup(pod), 0o777)
}

// setOwnership lets a directory belong to the pod's group, as will what is made in it.
func setOwnership(dir string, group *int64, mode os.FileMode) error {
	if group != nil {
		if err := os.Chown(dir, -1, int(*group)); err != nil {
			return err
		}
		mode |= os.ModeSetgid
	}
	return os.Chmod(dir, mode)
}

// mounted tells whether a directory is the root of a tmpfs of its own.
func mounted(dir string) bool {
	var self, parent unix.Stat_t
	return unix.Stat(dir, &self) == nil && unix.Stat(filepath.Dir(dir), &parent) == nil && self.Dev != parent.Dev
}

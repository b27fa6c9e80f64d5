package volume

import (
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
)

// checkHostPath verifies the type of a host path, and creates it where the type says so.
func checkHostPath(h *corev1.HostPathVolumeSource) error {
	if h.Type == nil || *h.Type == corev1.HostPathUnset {
		return nil
	}
	info, err := os.Stat(h.Path)
	exists := err == nil
	switch *h.Type {
	case corev1.HostPathDirectoryOrCreate:
		if !exists {
			return os.MkdirAll(h.Path, 0o755)
		}
		return require(info.IsDir(), h, "a directory")
	case corev1.HostPathFileOrCreate:
		if !exists {
			return os.WriteFile(h.Path, nil, 0o644)
		}
		return require(info.Mode().IsRegular(), h, "a file")
	case corev1.HostPathDirectory:
		return require(exists && info.IsDir(), h, "a directory")
	case corev1.HostPathFile:
		return require(exists && info.Mode().IsRegular(), h, "a file")
	case corev1.HostPathSocket:
		return require(exists && info.Mode()&os.ModeSocket != 0, h, "a socket")
	case corev1.HostPathCharDev:
		return require(exists && info.Mode()&os.ModeCharDevice != 0, h, "a character device")
	case corev1.HostPathBlockDev:
		return require(exists && info.Mode()&os.ModeDevice != 0 && info.Mode()&os.ModeCharDevice == 0, h, "a block device")
	}
	return fmt.Errorf("hostPath type %q is not known", *h.Type)
}

func require(ok bool, h *corev1.HostPathVolumeSource, what string) error {
	if ok {
		return nil
	}
	return fmt.Errorf("hostPath type check failed: %s is not %s", h.Path, what)
}

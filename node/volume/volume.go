// Package volume sets up the volumes of pods, and says what a container has mounted: volumes and parts of them, its /etc/hosts, the file
// for its last message. What containers can write is never trusted with a path: parts of volumes are opened below them and bound from
// what was opened.
package volume

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"fairlead.dev/fairlead/node/cri"
	"fairlead.dev/fairlead/node/projection"
	"fairlead.dev/fairlead/node/spec"
)

// Manager sets up volumes in the directories of pods.
type Manager struct {
	Dir     string // of all pods
	Client  kubernetes.Interface
	Runtime *cri.Runtime     // in whose mount namespace volumes in memory are
	Node    func() spec.Node // the node as it is now

	Followed Followed
	Sources  *projection.Sources // trust bundles and certificates of the pods

	pods   pods
	wanted [2]map[types.NamespacedName]bool // of ConfigMaps and of Secrets; guarded by the lock of pods
}

// MountError is a volume that cannot be set up.
type MountError struct {
	volume string
	err    error
}

func (e *MountError) Error() string {
	return fmt.Sprintf("MountVolume.SetUp failed for volume %q : %s", e.volume, e.err)
}

func (mgr *Manager) volumeDir(pod *corev1.Pod, name string) string {
	return filepath.Join(spec.PodDir(mgr.Dir, pod), "volumes", name)
}

// SetUp makes the pod's volumes. What pods have written to those of an earlier sandbox stays.
func (mgr *Manager) SetUp(ctx context.Context, pod *corev1.Pod) error {
	mgr.use(ctx, pod)
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if err := mgr.setupVolume(ctx, pod, v); err != nil {
			return &MountError{v.Name, err}
		}
	}
	mgr.keep(pod, false)
	return nil
}

func (mgr *Manager) setupVolume(ctx context.Context, pod *corev1.Pod, v *corev1.Volume) error {
	dir := mgr.volumeDir(pod, v.Name)
	switch {
	case v.HostPath != nil:
		return checkHostPath(v.HostPath)
	case v.EmptyDir != nil:
		return mgr.emptyDir(pod, v.EmptyDir, dir)
	case v.PersistentVolumeClaim != nil || v.Ephemeral != nil:
		return mgr.claim(ctx, pod, v)
	case v.CSI != nil: // kubelet's words
		return fmt.Errorf("driver name %s not found in the list of registered CSI drivers: this node has none", v.CSI.Driver)
	case fromAPI(v):
		files, err := mgr.volumeFiles(ctx, pod, v)
		if err != nil {
			return err
		}
		return writeFiles(dir, files, fsGroup(pod))
	}
	return errors.New("this kind of volume is not supported: use persistentVolumeClaim, ephemeral, emptyDir, hostPath, configMap, secret, downwardAPI or projected")
}

func fsGroup(pod *corev1.Pod) *int64 {
	if s := pod.Spec.SecurityContext; s != nil {
		return s.FSGroup
	}
	return nil
}

// TearDown takes down what was mounted for a pod: volumes in memory and parts of volumes. It has its claims no longer.
func (mgr *Manager) TearDown(pod *corev1.Pod) error {
	mgr.End(pod.UID)
	podDir := spec.PodDir(mgr.Dir, pod)
	if err := os.RemoveAll(filepath.Join(podDir, claimsDir)); err != nil {
		return err
	}
	dirs, err := filepath.Glob(filepath.Join(podDir, "volumes", "*"))
	if err != nil {
		return err
	}
	subPaths, err := filepath.Glob(filepath.Join(podDir, "subpaths", "*", "*"))
	if err != nil || len(dirs)+len(subPaths) == 0 {
		return err
	}
	return mgr.Runtime.InMounts(func() error {
		var failed []error
		for _, subPath := range subPaths {
			failed = append(failed, unmount(subPath))
		}
		for _, dir := range dirs {
			if mounted(dir) {
				failed = append(failed, unix.Unmount(dir, unix.MNT_DETACH))
			}
		}
		return errors.Join(failed...)
	})
}

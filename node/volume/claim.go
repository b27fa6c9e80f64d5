package volume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/component-helpers/storage/ephemeral"
	"k8s.io/component-helpers/storage/volume"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/api/podrefs"
	"fairlead.dev/fairlead/node/spec"
)

// held is the PersistentVolume that a pod has for one of its volumes. It lies in a file in the pod's directory, so that a container can
// be started again without the API, and an agent that begins knows what is used.
type held struct {
	Volume string `json:"volume"`
	Path   string `json:"path"` // on the node
}

// claimsDir is where a pod's files of these are, by the name of its volumes.
const claimsDir = "claims"

func (mgr *Manager) heldFile(pod *corev1.Pod, name string) string {
	return filepath.Join(spec.PodDir(mgr.Dir, pod), claimsDir, name)
}

// claim sets up the volume of a claim that the pod names or brings. The checks and their words are kubelet's.
func (mgr *Manager) claim(ctx context.Context, pod *corev1.Pod, v *corev1.Volume) error {
	claim, err := mgr.Client.CoreV1().PersistentVolumeClaims(pod.Namespace).Get(ctx, podrefs.Claim(pod.Name, v), metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("failed to fetch PVC from API server: %w", err)
	}
	if v.Ephemeral != nil {
		if err := ephemeral.VolumeIsForPod(pod, claim); err != nil {
			return err
		}
	}
	if claim.DeletionTimestamp != nil {
		return errors.New("PVC is being deleted")
	}
	if claim.Status.Phase != corev1.ClaimBound || claim.Spec.VolumeName == "" {
		return fmt.Errorf("PVC %s/%s has non-bound phase (%q) or empty pvc.Spec.VolumeName (%q)", claim.Namespace, claim.Name, claim.Status.Phase, claim.Spec.VolumeName)
	}
	pv, err := mgr.Client.CoreV1().PersistentVolumes().Get(ctx, claim.Spec.VolumeName, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("failed to fetch PV %s from API server: %w", claim.Spec.VolumeName, err)
	}
	if pv.Spec.ClaimRef == nil || pv.Spec.ClaimRef.UID != claim.UID {
		return fmt.Errorf("PV %s is not bound to PVC %s/%s", pv.Name, claim.Namespace, claim.Name)
	}
	if err := mgr.mayHold(ctx, pod, pv); err != nil {
		return err
	}
	path, err := pathOf(pv)
	if err != nil {
		return err
	}
	if err := mgr.hold(pod, v.Name, held{pv.Name, path}); err != nil {
		return err
	}
	if group := fsGroup(pod); pv.Spec.Local != nil && group != nil {
		return giveTree(path, *group, readOnlyClaim(v), pod.Spec.SecurityContext.FSGroupChangePolicy)
	}
	return nil
}

// mayHold says whether a pod may have a volume on this node, now.
func (mgr *Manager) mayHold(ctx context.Context, pod *corev1.Pod, pv *corev1.PersistentVolume) error {
	if ptr.Deref(pv.Spec.VolumeMode, corev1.PersistentVolumeFilesystem) == corev1.PersistentVolumeBlock {
		return fmt.Errorf("PV %s has volumeMode Block: block devices are not supported", pv.Name)
	}
	if len(pv.Spec.MountOptions) > 0 {
		return fmt.Errorf("PV %s: mount options are not supported", pv.Name)
	}
	if slices.Contains(pv.Spec.AccessModes, corev1.ReadWriteOncePod) {
		if by := mgr.heldBy(pv.Name, pod); by != "" {
			return fmt.Errorf("volume uses the ReadWriteOncePod access mode and is already in use by another pod: %s", by)
		}
	}
	if pv.Spec.NodeAffinity == nil {
		return nil
	}
	node, err := mgr.Client.CoreV1().Nodes().Get(ctx, mgr.Node().Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if err := volume.CheckNodeAffinity(pv, node.Labels); err != nil {
		return fmt.Errorf("storage node affinity check failed for volume %q: %w", pv.Name, err)
	}
	return nil
}

// pathOf is where a volume is on this node. It must be there.
func pathOf(pv *corev1.PersistentVolume) (string, error) {
	switch {
	case pv.Spec.HostPath != nil:
		return pv.Spec.HostPath.Path, checkHostPath(pv.Spec.HostPath)
	case pv.Spec.Local != nil:
		info, err := os.Stat(pv.Spec.Local.Path)
		if errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("path %q does not exist", pv.Spec.Local.Path)
		}
		if err == nil && !info.IsDir() {
			err = fmt.Errorf("path %q is not a directory: block devices are not supported", pv.Spec.Local.Path)
		}
		return pv.Spec.Local.Path, err
	}
	return "", fmt.Errorf("PV %s: this kind of volume is not supported: use local or hostPath", pv.Name)
}

// hold notes what a pod has.
func (mgr *Manager) hold(pod *corev1.Pod, name string, h held) error {
	text, err := json.Marshal(h)
	if err != nil {
		return err
	}
	file := mgr.heldFile(pod, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o600)
}

func readHeld(file string) (held, error) {
	var h held
	text, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(text, &h)
	}
	return h, err
}

// InUse says which pod of this node has a PersistentVolume, as NAMESPACE/NAME, "" if none has.
func (mgr *Manager) InUse(pv string) string { return mgr.heldBy(pv, nil) }

// heldBy finds another pod than one that has a volume.
func (mgr *Manager) heldBy(pv string, but *corev1.Pod) string {
	files, err := filepath.Glob(filepath.Join(mgr.Dir, "*", claimsDir, "*"))
	if err != nil {
		return "" // the pattern is right
	}
	for _, file := range files {
		of := filepath.Base(filepath.Dir(filepath.Dir(file)))
		if but != nil && of == filepath.Base(spec.PodDir(mgr.Dir, but)) {
			continue
		}
		if h, err := readHeld(file); err == nil && h.Volume == pv {
			namespace, rest, _ := strings.Cut(of, "_")
			name, _, _ := strings.Cut(rest, "_")
			return namespace + "/" + name
		}
	}
	return ""
}

// readOnlyClaim says whether the pod has a claim for reading only.
func readOnlyClaim(v *corev1.Volume) bool {
	return v.PersistentVolumeClaim != nil && v.PersistentVolumeClaim.ReadOnly
}

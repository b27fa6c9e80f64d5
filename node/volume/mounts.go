package volume

import (
	"fmt"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"fairlead.dev/fairlead/node/spec"
)

// Mounts are the volumes of a container, its /etc/hosts and the file for its last message, those that others lie in first.
func (mgr *Manager) Mounts(pod *corev1.Pod, c *corev1.Container, ips []string, env []*runtimeapi.KeyValue, message string) ([]*runtimeapi.Mount, error) {
	values := make(map[string]string, len(env))
	for _, kv := range env {
		values[kv.Key] = string(kv.Value)
	}
	var out []*runtimeapi.Mount
	var subPaths []subPath
	ownHosts := false
	for i := range c.VolumeMounts {
		m := &c.VolumeMounts[i]
		base, below, err := mgr.mountSource(pod, m, values)
		if err != nil {
			return nil, err
		}
		ownHosts = ownHosts || m.MountPath == hostsPath
		target := m.MountPath
		if !filepath.IsAbs(target) {
			target = "/" + target
		}
		mount := &runtimeapi.Mount{
			ContainerPath: target, HostPath: base, Readonly: m.ReadOnly || readOnlyVolume(pod, m.Name), Propagation: propagation(m.MountPropagation),
		}
		if below != "" {
			subPaths = append(subPaths, subPath{mount, m.Name, base, below})
		}
		out = append(out, mount)
	}
	if !ownHosts && !(pod.Spec.HostNetwork && len(pod.Spec.HostAliases) == 0) {
		hosts, err := mgr.writeHosts(pod, ips)
		if err != nil {
			return nil, err
		}
		out = append(out, &runtimeapi.Mount{ContainerPath: hostsPath, HostPath: hosts})
	}
	if path := c.TerminationMessagePath; path != "" {
		out = append(out, &runtimeapi.Mount{ContainerPath: path, HostPath: message})
	}
	sortByDepth(out)
	return out, mgr.prepareMounts(pod, c.Name, out, subPaths)
}

// readOnlyVolume: volumes made from API objects cannot be written, nor claims that the pod has for reading.
func readOnlyVolume(pod *corev1.Pod, name string) bool {
	v := find(pod, name)
	return v != nil && (v.ConfigMap != nil || v.Secret != nil || v.DownwardAPI != nil || v.Projected != nil || readOnlyClaim(v))
}

func propagation(mode *corev1.MountPropagationMode) runtimeapi.MountPropagation {
	if mode != nil && *mode == corev1.MountPropagationHostToContainer {
		return runtimeapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER
	}
	return runtimeapi.MountPropagation_PROPAGATION_PRIVATE
}

// mountSource is the path on the node of the volume that is mounted, and which part of it.
func (mgr *Manager) mountSource(pod *corev1.Pod, m *corev1.VolumeMount, env map[string]string) (base, below string, err error) {
	v := find(pod, m.Name)
	if v == nil {
		return "", "", fmt.Errorf("volume %q is not defined", m.Name)
	}
	base = mgr.volumeDir(pod, m.Name)
	switch {
	case v.HostPath != nil:
		base = v.HostPath.Path
	case v.PersistentVolumeClaim != nil || v.Ephemeral != nil:
		h, err := readHeld(mgr.heldFile(pod, m.Name))
		if err != nil {
			return "", "", fmt.Errorf("volume %q is not set up: %w", m.Name, err)
		}
		base = h.Path
	}
	below = m.SubPath
	if m.SubPathExpr != "" {
		below = spec.Expand(m.SubPathExpr, env)
	}
	return base, below, nil
}

func find(pod *corev1.Pod, name string) *corev1.Volume {
	for i := range pod.Spec.Volumes {
		if pod.Spec.Volumes[i].Name == name {
			return &pod.Spec.Volumes[i]
		}
	}
	return nil
}

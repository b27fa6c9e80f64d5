package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"fairlead.dev/fairlead/node/spec"
)

// hostsPath is the file that the node writes for every pod.
const hostsPath = "/etc/hosts"

// mounts are the volumes of a container, and its /etc/hosts.
func (a *Agent) mounts(pod *corev1.Pod, c *corev1.Container, ips []string, env []*runtimeapi.KeyValue) ([]*runtimeapi.Mount, error) {
	values := make(map[string]string, len(env))
	for _, kv := range env {
		values[kv.Key] = string(kv.Value)
	}
	var out []*runtimeapi.Mount
	ownHosts := false
	for i := range c.VolumeMounts {
		m := &c.VolumeMounts[i]
		path, err := a.mountSource(pod, m, values)
		if err != nil {
			return nil, err
		}
		ownHosts = ownHosts || m.MountPath == hostsPath
		target := m.MountPath
		if !filepath.IsAbs(target) {
			target = "/" + target
		}
		out = append(out, &runtimeapi.Mount{
			ContainerPath: target, HostPath: path, Readonly: m.ReadOnly || readOnlyVolume(pod, m.Name), Propagation: propagation(m.MountPropagation),
		})
	}
	if ownHosts || (pod.Spec.HostNetwork && len(pod.Spec.HostAliases) == 0) {
		return out, nil
	}
	hosts, err := a.writeHosts(pod, ips)
	if err != nil {
		return nil, err
	}
	return append(out, &runtimeapi.Mount{ContainerPath: hostsPath, HostPath: hosts}), nil
}

// readOnlyVolume: volumes made from API objects cannot be written.
func readOnlyVolume(pod *corev1.Pod, name string) bool {
	v := volume(pod, name)
	return v != nil && (v.ConfigMap != nil || v.Secret != nil || v.DownwardAPI != nil || v.Projected != nil)
}

func volume(pod *corev1.Pod, name string) *corev1.Volume {
	for i := range pod.Spec.Volumes {
		if pod.Spec.Volumes[i].Name == name {
			return &pod.Spec.Volumes[i]
		}
	}
	return nil
}

func propagation(mode *corev1.MountPropagationMode) runtimeapi.MountPropagation {
	if mode != nil && *mode == corev1.MountPropagationHostToContainer {
		return runtimeapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER
	}
	return runtimeapi.MountPropagation_PROPAGATION_PRIVATE
}

// mountSource is the path on the node behind a volume mount, with its subPath made where it is missing.
func (a *Agent) mountSource(pod *corev1.Pod, m *corev1.VolumeMount, env map[string]string) (string, error) {
	v := volume(pod, m.Name)
	if v == nil {
		return "", fmt.Errorf("volume %q is not defined", m.Name)
	}
	base := a.volumeDir(pod, m.Name)
	if v.HostPath != nil {
		base = v.HostPath.Path
	}
	sub := m.SubPath
	if m.SubPathExpr != "" {
		sub = spec.Expand(m.SubPathExpr, env)
	}
	if sub == "" {
		return base, nil
	}
	root, err := os.OpenRoot(base)
	if err != nil {
		return "", fmt.Errorf("failed to prepare subPath for volumeMount %q: %w", m.Name, err)
	}
	defer root.Close()
	if _, err := root.Stat(sub); errors.Is(err, os.ErrNotExist) {
		err = root.MkdirAll(sub, 0o750)
		if err == nil {
			err = root.Chmod(sub, 0o777)
		}
		if err != nil {
			return "", fmt.Errorf("failed to create subPath directory for volumeMount %q: %w", m.Name, err)
		}
	} else if err != nil {
		return "", fmt.Errorf("failed to prepare subPath for volumeMount %q: %w", m.Name, err)
	}
	return filepath.EvalSymlinks(filepath.Join(base, sub))
}

// writeHosts writes the pod's /etc/hosts once; containers share the file.
func (a *Agent) writeHosts(pod *corev1.Pod, ips []string) (string, error) {
	path := filepath.Join(a.podDir(pod), "etc-hosts")
	text := spec.Hosts(pod, a.cfg.Domain, ips)
	if pod.Spec.HostNetwork {
		own, err := os.ReadFile(hostsPath)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return "", err
		}
		text = spec.NodeHosts(pod, string(own))
	}
	if old, err := os.ReadFile(path); err == nil && string(old) == text {
		return path, nil
	}
	// In place: containers that run already have this file mounted.
	return path, os.WriteFile(path, []byte(text), 0o644)
}

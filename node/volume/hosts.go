package volume

import (
	"errors"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/node/spec"
)

// hostsPath is the file that the node writes for every pod.
const hostsPath = "/etc/hosts"

// writeHosts writes the pod's /etc/hosts once; containers share the file.
func (mgr *Manager) writeHosts(pod *corev1.Pod, ips []string) (string, error) {
	path := filepath.Join(spec.PodDir(mgr.Dir, pod), "etc-hosts")
	text := spec.Hosts(pod, mgr.Node().Cluster.Zone, ips)
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

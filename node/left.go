package node

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/node/spec"
)

// removeLeft removes what an agent has left of pods that neither the API nor the runtime has any more: it ended between their last
// container and their files. It is called once, when all others are known.
func (a *Agent) removeLeft() {
	entries, err := os.ReadDir(a.podsDir())
	if err != nil {
		a.log.Warn("what is left of pods cannot be listed", "err", err)
	}
	for _, e := range entries {
		pod, ok := podOf(e.Name())
		if !ok || a.has(pod.UID) {
			continue
		}
		if err := errors.Join(a.volumes.TearDown(pod), os.RemoveAll(filepath.Join(a.podsDir(), e.Name()))); err != nil {
			a.log.Warn("something of a pod remains", "pod", pod.Namespace+"/"+pod.Name, "err", err)
		}
	}
}

// podOf reads the name of a pod's directory: NAMESPACE_NAME_UID.
func podOf(dir string) (*corev1.Pod, bool) {
	parts := strings.Split(dir, "_")
	if len(parts) != 3 {
		return nil, false
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: parts[0], Name: parts[1], UID: types.UID(parts[2])}}
	return pod, spec.PodDir("", pod) == dir
}

// has tells whether a pod has a worker.
func (a *Agent) has(uid types.UID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pods[uid] != nil
}

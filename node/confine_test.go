package node

import (
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// TestConfinement: what the kernel says of containers that say nothing about their confinement, and of one that is privileged.
func TestConfinement(t *testing.T) {
	b := newBench(t)
	yes := true
	b.create(pod("plain", "wait"))
	p := pod("privileged", "wait")
	p.Spec.Containers[0].SecurityContext = &corev1.SecurityContext{Privileged: &yes}
	b.create(p)
	for name, want := range map[string]string{"plain": "Seccomp:\t2", "privileged": "Seccomp:\t0"} {
		b.await(name, "running", running)
		status := b.exec(name, nil, "/app", "cat", "/proc/self/status")
		if !strings.Contains(status, want+"\n") {
			t.Errorf("%s: want %s in\n%s", name, want, status)
		}
	}
	mounts := b.exec("plain", nil, "/app", "cat", "/proc/self/mountinfo")
	readonly := map[string]bool{}
	for line := range strings.Lines(mounts) {
		if fields := strings.Fields(line); len(fields) > 5 && strings.HasPrefix(fields[5], "ro") {
			readonly[fields[4]] = true
		}
	}
	for _, path := range []string{"/proc/sys", "/proc/sysrq-trigger", "/proc/bus", "/sys"} {
		if _, err := os.Stat(path); err == nil && !readonly[path] { // not every kernel has each
			t.Errorf("%s may be written:\n%s", path, mounts)
		}
	}
}

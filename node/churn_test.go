package node

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// TestChurn: pods of many kinds come and go, in waves; after each the node holds no more than after the first.
func TestChurn(t *testing.T) {
	b := newBench(t)
	b.create(pod("stays", "serve"))
	b.await("stays", "ready", ready)
	b.wave(0)
	first := b.held()
	for n := 1; n <= 3; n++ {
		b.wave(n)
		b.until("no more is held than after the first wave", func() bool { return maps.Equal(b.held(), first) })
	}
	if got := b.get("stays"); !ready(got) || got.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Errorf("the pod that stays: %+v", got.Status)
	}
}

// wave has eight pods come and go.
func (b *bench) wave(n int) {
	b.t.Helper()
	kinds := map[string]func(p *corev1.Pod, c *corev1.Container){
		"probed": func(_ *corev1.Pod, c *corev1.Container) {
			c.Args, c.ReadinessProbe = []string{"serve"}, httpProbe("/readyz")
		},
		"ended":    once("exit", "0"),
		"failed":   once("exit", "3"),
		"stubborn": once("stubborn"),
		"forking":  once("fork", "8"),
		"memory": func(p *corev1.Pod, c *corev1.Container) {
			mounting(corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}})(p, c)
			c.VolumeMounts[0].SubPath = "a/b"
		},
		"whole": func(p *corev1.Pod, _ *corev1.Container) {
			p.Spec.Resources = &corev1.ResourceRequirements{Limits: amounts("100m", "64Mi")}
		},
		"unstartable": func(_ *corev1.Pod, c *corev1.Container) { c.Command = []string{"/nothing"} },
	}
	for kind, make := range kinds {
		p := pod(fmt.Sprint(kind, n), "wait")
		p.Spec.TerminationGracePeriodSeconds = ptr.To(int64(1))
		make(p, &p.Spec.Containers[0])
		b.create(p)
	}
	for kind := range kinds {
		b.await(fmt.Sprint(kind, n), "started", func(p *corev1.Pod) bool {
			s := p.Status.ContainerStatuses
			return len(s) > 0 && (s[0].State.Running != nil || s[0].State.Terminated != nil || s[0].LastTerminationState.Terminated != nil)
		})
	}
	for kind := range kinds {
		if err := b.client.CoreV1().Pods("default").Delete(b.ctx, fmt.Sprint(kind, n), metav1.DeleteOptions{}); err != nil {
			b.t.Error(err)
		}
	}
	for kind := range kinds {
		b.gone(fmt.Sprint(kind, n))
	}
	b.until("their files are gone", func() bool { return b.held()["directories of pods"] == 1 })
}

// held counts what a node has on its host. Sandboxes' network namespaces are mounts of the runtime.
func (b *bench) held() map[string]int {
	b.t.Helper()
	out := map[string]int{}
	groups, err := filepath.Glob("/sys/fs/cgroup/*" + b.containerd.CgroupRoot)
	if err != nil || len(groups) == 0 {
		b.t.Fatalf("the node's groups: %v", err)
	}
	for _, group := range groups {
		_ = filepath.WalkDir(group, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.IsDir() {
				return nil
			}
			out["cgroups"]++
			procs, _ := os.ReadFile(filepath.Join(path, "cgroup.procs"))
			for _, pid := range strings.Fields(string(procs)) {
				out["processes"]++
				if comm, _ := os.ReadFile("/proc/" + pid + "/comm"); strings.TrimSpace(string(comm)) == "containerd" {
					mounts, _ := os.ReadFile("/proc/" + pid + "/mountinfo")
					out["mounts"] = bytes.Count(mounts, []byte("\n"))
				}
			}
			return nil
		})
	}
	for what, pattern := range map[string]string{
		"directories of pods": b.cfg.Dir + "/pods/*", "addresses": b.containerd.Dir + "/cni-data/fairlead/10*",
	} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			b.t.Fatal(err)
		}
		out[what] = len(files)
	}
	var stacks bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&stacks, 2); err != nil {
		b.t.Fatal(err)
	}
	for stack := range strings.SplitSeq(stacks.String(), "\n\n") {
		if strings.Contains(stack, "fairlead.dev/fairlead/node.(*worker)") {
			out["goroutines of pods"]++
		}
	}
	return out
}

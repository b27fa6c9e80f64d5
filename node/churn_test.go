package node

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// TestChurn: pods of many kinds come and go, in waves; after each the node holds no more than before.
func TestChurn(t *testing.T) {
	b := newBench(t)
	b.create(pod("stays", "serve"))
	b.await("stays", "ready", ready)
	before := b.held()
	for n := range 4 {
		b.wave(n)
		b.settle(before)
	}
	if got := b.get("stays"); !ready(got) || got.Status.ContainerStatuses[0].RestartCount != 0 {
		t.Errorf("the pod that stays: %+v", got.Status)
	}
}

// settle waits until the node holds no more of anything than before.
func (b *bench) settle(before map[string]int) {
	b.t.Helper()
	var more []string
	for deadline := time.Now().Add(40 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		more = nil
		for what, count := range b.held() {
			if count > before[what] {
				more = append(more, fmt.Sprintf("%s: %d, before %d", what, count, before[what]))
			}
		}
		if more == nil {
			return
		}
		if b.ctx.Err() != nil || time.Now().After(deadline) {
			b.t.Fatalf("the node holds more: %q", more)
		}
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

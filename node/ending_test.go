package node

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The end of the whole node: a program that handles SIGTERM ends by itself, one that does not costs no time.
func TestStopLetsProgramsEnd(t *testing.T) {
	b := newBench(t)
	dir := t.TempDir()
	p := pod("polite", "farewell", "/v/farewell")
	p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: dir}}}}
	p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/v"}}
	b.create(p)
	b.create(pod("stubborn", "stubborn"))
	for _, name := range []string{"polite", "stubborn"} {
		b.await(name, "running", running)
		b.until("its handler is set", func() bool { return b.log(name, corev1.PodLogOptions{}) == "ready\n" })
	}
	b.stop()
	if err := b.containerd.Stop(b.ctx); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "farewell")); err != nil || string(text) != "bye" {
		t.Errorf("the program was not left to end by itself: %q, %v", text, err)
	}
}

func TestDeletion(t *testing.T) {
	b := newBench(t)
	remove := func(t *testing.T, name string, grace int64) {
		t.Helper()
		if err := b.client.CoreV1().Pods("default").Delete(b.ctx, name, metav1.DeleteOptions{GracePeriodSeconds: &grace}); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("D5 grace is given, readiness goes on (R21)", func(t *testing.T) {
		p := pod("linger", "serve")
		p.Spec.Containers[0].Env = []corev1.EnvVar{{Name: "LINGER", Value: "6s"}} // longer than three probes, a second apart, take to fail
		p.Spec.Containers[0].ReadinessProbe = httpProbe("/readyz")
		b.create(p)
		up := b.await("linger", "ready", ready)
		begin := time.Now()
		remove(t, "linger", 30)
		b.post(up.Status.PodIP, "/readyz")
		b.await("linger", "not ready while it ends", func(p *corev1.Pod) bool { return p.DeletionTimestamp != nil && !ready(p) })
		b.gone("linger")
		if took := time.Since(begin); took < 5900*time.Millisecond || took > 20*time.Second {
			t.Errorf("it ended after %v, not by itself", took)
		}
	})
	t.Run("D6 grace is shortened", func(t *testing.T) {
		b.create(pod("stubborn", "stubborn"))
		b.await("stubborn", "running", running)
		b.until("signals are ignored", func() bool { return b.log("stubborn", corev1.PodLogOptions{}) == "ready\n" })
		begin := time.Now()
		remove(t, "stubborn", 60)
		remove(t, "stubborn", 1)
		b.gone("stubborn")
		if took := time.Since(begin); took > 20*time.Second {
			t.Errorf("it ended after %v", took)
		}
	})
	t.Run("D6 force", func(t *testing.T) {
		one := int64(1)
		p := pod("forced", "stubborn")
		p.Spec.TerminationGracePeriodSeconds = &one
		b.create(p)
		b.await("forced", "running", running)
		remove(t, "forced", 0)
		b.gone("forced")
		b.nothingOf(t, string(p.Name))
	})
	t.Run("preStop", func(t *testing.T) {
		p := pod("hooked", "serve")
		p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: t.TempDir()}}}}
		p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: "/v"}}
		p.Spec.Containers[0].Lifecycle = &corev1.Lifecycle{
			PostStart: &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"/app", "write", "/v/started", "yes"}}},
			PreStop:   &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"/app", "write", "/v/stopped", "yes"}}},
		}
		b.create(p)
		b.await("hooked", "ready", ready)
		dir := p.Spec.Volumes[0].HostPath.Path
		fileHas(t, dir+"/started", "yes")
		remove(t, "hooked", 30)
		b.gone("hooked")
		fileHas(t, dir+"/stopped", "yes")
	})
	t.Run("one that does not end holds up no other", func(t *testing.T) {
		b.create(pod("a", "stubborn"))
		b.create(pod("b", "serve"))
		b.create(pod("c", "serve"))
		b.await("a", "running", running)
		b.until("signals are ignored", func() bool { return b.log("a", corev1.PodLogOptions{}) == "ready\n" })
		b.await("b", "running", running)
		b.await("c", "running", running)
		remove(t, "a", 120)
		remove(t, "b", 30)
		remove(t, "c", 30)
		b.gone("b")
		b.gone("c")
		if p, err := b.client.CoreV1().Pods("default").Get(b.ctx, "a", metav1.GetOptions{}); err != nil || !running(p) {
			t.Errorf("a, which has two minutes to end, is %v, %v", p, err)
		}
		remove(t, "a", 1)
		b.gone("a")
	})
}

func TestInitContainersAndSidecars(t *testing.T) {
	b := newBench(t)
	always := corev1.ContainerRestartPolicyAlways
	p := pod("full", "serve")
	p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory}}}}
	mounts := []corev1.VolumeMount{{Name: "v", MountPath: "/v"}}
	p.Spec.InitContainers = []corev1.Container{
		{Name: "write", Image: appImage, Args: []string{"write", "/v/x", "from init"}, VolumeMounts: mounts},
		{Name: "side", Image: appImage, Args: []string{"wait"}, RestartPolicy: &always},
		{Name: "read", Image: appImage, Args: []string{"cat", "/v/x"}, VolumeMounts: mounts},
	}
	p.Spec.Containers[0].VolumeMounts = mounts
	b.create(p)
	got := b.await("full", "ready", ready)
	for i, s := range got.Status.InitContainerStatuses {
		if !s.Ready || s.RestartCount != 0 {
			t.Errorf("init container %d: %+v", i, s)
		}
	}
	if text := b.log("full", corev1.PodLogOptions{Container: "read"}); text != "from init" {
		t.Errorf("the second init container read %q", text)
	}
	if out := b.exec("full", nil, "/app", "cat", "/proc/mounts"); !strings.Contains(out, "tmpfs /v tmpfs") {
		t.Errorf("/v is not in memory:\n%s", out)
	}
	if err := b.client.CoreV1().Pods("default").Delete(b.ctx, "full", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	b.gone("full")
	b.nothingOf(t, "full")

	q := pod("initfail", "serve")
	q.Spec.RestartPolicy = corev1.RestartPolicyNever
	q.Spec.InitContainers = []corev1.Container{{Name: "bad", Image: appImage, Args: []string{"exit", "1"}}}
	b.create(q)
	failed := b.await("initfail", "failed", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodFailed })
	if conditionOf(failed, corev1.PodInitialized) != corev1.ConditionFalse || failed.Status.ContainerStatuses[0].State.Waiting == nil {
		t.Errorf("status %+v", failed.Status)
	}
}

// TestAPodServesWhileItIsRouted: a pod that is deleted serves until no new connection is sent to it, and ends then.
func TestAPodServesWhileItIsRouted(t *testing.T) {
	b := newBench(t)
	b.stop()
	asked, refused := 0, 0 // by one goroutine, which ends before they are read
	b.cfg.Routed = func(pod *corev1.Pod) func() bool {
		return func() bool {
			asked++
			res, err := http.Get("http://" + pod.Status.PodIP + ":8080/readyz")
			if err != nil {
				refused++
			} else {
				res.Body.Close()
			}
			return asked < 4
		}
	}
	b.startAgent()
	b.create(pod("web", "serve"))
	b.await("web", "ready", ready)
	if err := b.client.CoreV1().Pods("default").Delete(b.ctx, "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	b.gone("web")
	b.stop()
	if asked != 4 || refused != 0 {
		t.Errorf("it was asked %d times, and has refused %d", asked, refused)
	}
}

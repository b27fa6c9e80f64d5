package node

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"fairlead.dev/fairlead/node/life"
	"fairlead.dev/fairlead/node/spec"
)

func TestPodsThatFail(t *testing.T) {
	b := newBench(t)
	waiting := func(reason string) func(*corev1.Pod) bool {
		return func(p *corev1.Pod) bool {
			return len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].State.Waiting != nil &&
				p.Status.ContainerStatuses[0].State.Waiting.Reason == reason
		}
	}
	t.Run("R40 CrashLoopBackOff", func(t *testing.T) {
		b.create(pod("crash", "exit", "3", "bye"))
		got := b.await("crash", "backing off", waiting("CrashLoopBackOff"))
		s := got.Status.ContainerStatuses[0]
		want := "back-off 10s restarting failed container=c pod=" + life.PodRef(got)
		if s.State.Waiting.Message != want || s.RestartCount != 1 || s.LastTerminationState.Terminated.ExitCode != 3 {
			t.Errorf("got %+v", s)
		}
		if got.Status.Phase != corev1.PodRunning || conditionOf(got, corev1.ContainersReady) != corev1.ConditionFalse {
			t.Errorf("phase %s, conditions %+v", got.Status.Phase, got.Status.Conditions)
		}
		b.awaitEvent("crash", "BackOff: Back-off restarting failed container c in pod "+life.PodRef(got))
		if text := b.log("crash", corev1.PodLogOptions{}); text != "bye\n" {
			t.Errorf("log %q", text)
		}
	})
	t.Run("a program that is not there", func(t *testing.T) {
		p := pod("absent")
		p.Spec.Containers[0].Command = []string{"/nothing"}
		b.create(p)
		// The second failed start is held back for 10 s, the third for 20 s, as those of one that crashes.
		got := b.await("absent", "held back longer each time", func(p *corev1.Pod) bool {
			return len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].State.Waiting != nil &&
				strings.HasPrefix(p.Status.ContainerStatuses[0].State.Waiting.Message, "back-off 20s restarting failed container=c")
		})
		if s := got.Status.ContainerStatuses[0]; s.RestartCount != 2 || s.LastTerminationState.Terminated == nil {
			t.Errorf("got %+v", s)
		}
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) { // they are removed beside the starts
			list, err := b.ctrs(got)
			if err == nil && len(list) <= 2 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d containers left behind, %v", len(list), err)
			}
		}
	})
	t.Run("ErrImagePull", func(t *testing.T) {
		p := pod("noimage")
		p.Spec.Containers[0].Image = "127.0.0.1:1/nothing:1"
		b.create(p)
		b.await("noimage", "failing to pull", waiting("ErrImagePull"))
		got := b.await("noimage", "backing off", waiting("ImagePullBackOff"))
		if m := got.Status.ContainerStatuses[0].State.Waiting.Message; !strings.HasPrefix(m, `Back-off pulling image "127.0.0.1:1/nothing:1"`) {
			t.Errorf("message %q", m)
		}
		for _, want := range []string{"Pulling: Pulling image", "Failed: Failed to pull image", "Failed: Error: ErrImagePull", "BackOff: Back-off pulling image", "Failed: Error: ImagePullBackOff"} {
			b.awaitEvent("noimage", want)
		}
		begin := time.Now()
		if err := b.client.CoreV1().Pods("default").Delete(b.ctx, "noimage", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		b.gone("noimage")
		t.Logf("gone after %v", time.Since(begin))
	})
	t.Run("Completed", func(t *testing.T) {
		p := pod("job", "message", "the end")
		p.Spec.RestartPolicy = corev1.RestartPolicyNever
		b.create(p)
		got := b.await("job", "failed", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodFailed })
		if s := got.Status.ContainerStatuses[0].State.Terminated; s == nil || s.ExitCode != 3 || s.Message != "the end" || s.Reason != "Error" {
			t.Errorf("got %+v", got.Status.ContainerStatuses[0])
		}
		q := pod("ok", "id")
		q.Spec.RestartPolicy = corev1.RestartPolicyOnFailure
		b.create(q)
		got = b.await("ok", "succeeded", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodSucceeded })
		if r := got.Status.ContainerStatuses[0].State.Terminated.Reason; r != "Completed" {
			t.Errorf("reason %s", r)
		}
	})
	t.Run("OOMKilled", func(t *testing.T) {
		p := pod("oom", "eat")
		p.Spec.RestartPolicy = corev1.RestartPolicyNever
		p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("24Mi")}
		b.create(p)
		got := b.await("oom", "failed", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodFailed })
		if s := got.Status.ContainerStatuses[0].State.Terminated; s.Reason != "OOMKilled" || s.ExitCode != 137 {
			t.Errorf("got %+v", s)
		}
	})
	t.Run("SysctlForbidden", func(t *testing.T) {
		p := pod("sysctl", "wait")
		p.Spec.SecurityContext = &corev1.PodSecurityContext{Sysctls: []corev1.Sysctl{{Name: "kernel.msgmax", Value: "65536"}}}
		b.create(p)
		got := b.await("sysctl", "failed", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodFailed })
		if got.Status.Reason != "SysctlForbidden" || got.Status.Message != `Pod was rejected: forbidden sysctl: "kernel.msgmax" not allowlisted` || len(got.Status.ContainerStatuses) != 0 {
			t.Errorf("got %s: %s, containers %v", got.Status.Reason, got.Status.Message, got.Status.ContainerStatuses)
		}
	})
	t.Run("DeadlineExceeded", func(t *testing.T) {
		deadline := int64(2)
		p := pod("late", "wait")
		p.Spec.ActiveDeadlineSeconds, p.Spec.TerminationGracePeriodSeconds = &deadline, new(int64)
		b.create(p)
		got := b.await("late", "failed in time", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodFailed })
		if took := time.Since(got.Status.StartTime.Time); got.Status.Reason != "DeadlineExceeded" || took > 30*time.Second {
			t.Errorf("%s: %s after %v", got.Status.Reason, got.Status.Message, took)
		}
	})
	t.Run("RunContainerError", func(t *testing.T) {
		p := pod("nofile")
		p.Spec.Containers[0].Command = []string{"/nothing"}
		b.create(p)
		got := b.await("nofile", "restart refused", func(p *corev1.Pod) bool {
			return len(p.Status.ContainerStatuses) > 0 && p.Status.ContainerStatuses[0].LastTerminationState.Terminated != nil
		})
		if s := got.Status.ContainerStatuses[0].LastTerminationState.Terminated; s.Reason != "StartError" || s.ExitCode != 128 {
			t.Errorf("got %+v", s)
		}
		b.awaitEvent("nofile", "Failed: Error: ")
	})
	t.Run("CreateContainerConfigError", func(t *testing.T) {
		p := pod("noconfig", "wait")
		p.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "later"}}}}
		b.create(p)
		got := b.await("noconfig", "config error", waiting("CreateContainerConfigError"))
		if m := got.Status.ContainerStatuses[0].State.Waiting.Message; m != `configmap "later" not found` {
			t.Errorf("message %q", m)
		}
		if _, err := b.client.CoreV1().ConfigMaps("default").Create(b.ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "later"}, Data: map[string]string{"A": "b"}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		b.await("noconfig", "running", running)
	})
}

func TestAgentIsKilled(t *testing.T) {
	b := newBench(t)
	p := pod("kept", "serve")
	p.Spec.Containers[0].ReadinessProbe = httpProbe("/readyz")
	b.create(p)
	before := b.await("kept", "ready", ready)
	b.create(pod("deleted", "wait"))
	b.await("deleted", "running", running)
	b.stop()

	one := int64(1)
	if err := b.client.CoreV1().Pods("default").Delete(b.ctx, "deleted", metav1.DeleteOptions{GracePeriodSeconds: &one}); err != nil {
		t.Fatal(err)
	}
	b.create(pod("created", "wait"))
	changes, err := b.client.CoreV1().Pods("default").Watch(b.ctx, metav1.ListOptions{FieldSelector: "metadata.name=kept"})
	if err != nil {
		t.Fatal(err)
	}
	defer changes.Stop()

	b.startAgent()
	b.gone("deleted")
	b.await("created", "running", running)
	after := b.get("kept")
	if a, c := before.Status.ContainerStatuses[0], after.Status.ContainerStatuses[0]; a.ContainerID != c.ContainerID || c.RestartCount != 0 {
		t.Errorf("the container was not adopted: %+v became %+v", a, c)
	}
	for done := false; !done; { // rule R25: readiness was never lost
		select {
		case change := <-changes.ResultChan():
			if seen, ok := change.Object.(*corev1.Pod); ok && !ready(seen) {
				t.Errorf("the pod was not ready for a while: %+v", seen.Status.Conditions)
			}
		default:
			done = true
		}
	}
	b.post(after.Status.PodIP, "/readyz")
	b.await("kept", "not ready: the probe goes on", func(p *corev1.Pod) bool { return !ready(p) })
}

func TestContainerdIsKilled(t *testing.T) {
	b := newBench(t)
	b.create(pod("kept", "serve"))
	before := b.await("kept", "running", running)
	b.create(pod("crash", "serve"))
	b.await("crash", "running", running)
	pid := daemonPID(t, b)
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.until("containerd runs again", func() bool { now := daemonPID(t, b); return now != 0 && now != pid })
	b.create(pod("new", "serve"))
	b.await("new", "running", running)
	if after := b.get("kept"); after.Status.ContainerStatuses[0].ContainerID != before.Status.ContainerStatuses[0].ContainerID {
		t.Errorf("the container was replaced: %+v", after.Status)
	}
	// The events are followed again: an exit is noticed long before the next listing.
	begin := time.Now()
	b.exec("crash", nil, "/app", "write", "/tmp/x", "y")
	killMain(t, b, "crash")
	b.await("crash", "restarted", func(p *corev1.Pod) bool { return p.Status.ContainerStatuses[0].RestartCount == 1 })
	t.Logf("restarted after %v", time.Since(begin))
}

// daemonPID finds the bench's containerd by its configuration file.
func daemonPID(t *testing.T, b *bench) int {
	t.Helper()
	dirs, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range dirs {
		text, err := os.ReadFile("/proc/" + d.Name() + "/cmdline")
		if err == nil && strings.Contains(string(text), b.containerd.Dir+"/config.toml") {
			var pid int
			if _, err := fmt.Sscan(d.Name(), &pid); err != nil {
				t.Fatal(err)
			}
			return pid
		}
	}
	return 0
}

// killMain ends the first process of a pod's container.
func killMain(t *testing.T, b *bench, name string) {
	t.Helper()
	id := strings.TrimPrefix(b.get(name).Status.ContainerStatuses[0].ContainerID, "containerd://")
	path := fmt.Sprintf("/sys/fs/cgroup/pids%s/pod%s/%s/cgroup.procs", b.containerd.CgroupRoot, b.get(name).UID, id)
	text, err := os.ReadFile(path)
	if err != nil {
		text, err = os.ReadFile(strings.Replace(path, "/pids", "", 1))
	}
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(text), &pid); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// TestR42_EverythingDied is a reboot: sandboxes and containers are made again, the pod stays the same object.
func TestR42_EverythingDied(t *testing.T) {
	b := newBench(t)
	p := pod("web", "serve")
	p.Spec.Containers[0].ReadinessProbe = httpProbe("/readyz")
	b.create(p)
	before := b.await("web", "ready", ready)
	b.stop()
	if err := b.containerd.Stop(b.ctx); err != nil {
		t.Fatal(err)
	}
	if err := b.containerd.Start(b.ctx); err != nil {
		t.Fatal(err)
	}
	b.startAgent()
	after := b.await("web", "ready again in a new container", func(p *corev1.Pod) bool {
		return ready(p) && p.Status.ContainerStatuses[0].ContainerID != before.Status.ContainerStatuses[0].ContainerID
	})
	if s := after.Status.ContainerStatuses[0]; s.RestartCount != 1 || after.UID != before.UID || after.Status.PodIP == "" {
		t.Errorf("got %+v", after.Status)
	}
	b.post(after.Status.PodIP, "/livez") // its network works
	left, err := filepath.Glob(filepath.Join(b.containerd.Dir, "cni-data", "*", "10.99.3.*"))
	if err != nil || len(left) != 1 {
		t.Errorf("addresses taken: %v, %v", left, err)
	}
}

// ctrs are the containers that the runtime has of a pod.
func (b *bench) ctrs(pod *corev1.Pod) ([]*runtimeapi.Container, error) {
	conn, err := b.containerd.Conn()
	if err != nil {
		return nil, err
	}
	labels := map[string]string{spec.LabelPodUID: string(pod.UID)}
	list, err := runtimeapi.NewRuntimeServiceClient(conn).ListContainers(b.ctx, &runtimeapi.ListContainersRequest{Filter: &runtimeapi.ContainerFilter{LabelSelector: labels}})
	return list.GetContainers(), err
}

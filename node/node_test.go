package node

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
)

func TestPodLife(t *testing.T) {
	b := newBench(t)
	p := pod("web", "serve")
	p.Spec.Containers[0].ReadinessProbe = httpProbe("/readyz")
	begin := time.Now()
	b.create(p)
	got := b.await("web", "ready", ready)
	t.Logf("ready after %v", time.Since(begin))
	if got.Status.Phase != corev1.PodRunning || !strings.HasPrefix(got.Status.PodIP, "10.99.3.") || got.Status.HostIP != "127.0.0.1" {
		t.Errorf("status %+v", got.Status)
	}

	t.Run("log", func(t *testing.T) {
		if text := b.log("web", corev1.PodLogOptions{}); text != "serving\n" {
			t.Errorf("log %q", text)
		}
	})
	t.Run("exec", func(t *testing.T) {
		if out := b.exec("web", strings.NewReader("hello"), "/app", "echo"); out != "hello" {
			t.Errorf("exec printed %q", out)
		}
		if out := b.exec("web", nil, "/app", "id"); out != "0 0\nweb\n" {
			t.Errorf("exec printed %q", out)
		}
	})
	t.Run("exec has what the container has, and no more", func(t *testing.T) {
		if own, first := b.exec("web", nil, "/app", "cat", "/proc/self/environ"), b.exec("web", nil, "/app", "cat", "/proc/1/environ"); own != first || !strings.Contains(own, "KUBERNETES_SERVICE_HOST=") {
			t.Errorf("environment %q, that of the container is %q", own, first)
		}
		own, first := b.exec("web", nil, "/app", "cat", "/proc/self/status"), b.exec("web", nil, "/app", "cat", "/proc/1/status")
		for _, key := range []string{"Umask", "Uid", "Gid", "Groups", "SigIgn", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"} {
			line := regexp.MustCompile(`(?m)^` + key + `:.*$`)
			if a, b := line.FindString(own), line.FindString(first); a != b || a == "" {
				t.Errorf("%q, of the container %q", a, b)
			}
		}
		if own, first := b.exec("web", nil, "/app", "cat", "/proc/self/limits"), b.exec("web", nil, "/app", "cat", "/proc/1/limits"); own != first {
			t.Errorf("limits\n%sof the container\n%s", own, first)
		}
	})
	t.Run("readiness flips", func(t *testing.T) {
		b.post(got.Status.PodIP, "/readyz")
		b.await("web", "not ready", func(p *corev1.Pod) bool { return !ready(p) })
		b.awaitEvent("web", "Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 503")
		b.post(got.Status.PodIP, "/readyz")
		b.await("web", "ready again", ready)
	})
	t.Run("liveness restarts", func(t *testing.T) {
		q := pod("live", "serve")
		q.Spec.Containers[0].LivenessProbe = httpProbe("/livez")
		q.Spec.Containers[0].LivenessProbe.FailureThreshold = 1
		q.Spec.Containers[0].StartupProbe = httpProbe("/livez") // on a busy machine it does not listen at once
		q.Spec.Containers[0].StartupProbe.FailureThreshold = 30
		b.create(q)
		up := b.await("live", "running", ready)
		b.post(up.Status.PodIP, "/livez")
		b.await("live", "restarted", func(p *corev1.Pod) bool {
			s := p.Status.ContainerStatuses[0]
			return s.RestartCount == 1 && s.State.Running != nil && s.LastTerminationState.Terminated != nil
		})
		b.awaitEvent("live", "Killing: Container c failed liveness probe, will be restarted")
		if text := b.log("live", corev1.PodLogOptions{Previous: true}); text != "serving\nstopping\n" {
			t.Errorf("previous log %q", text)
		}
	})
	t.Run("deletion", func(t *testing.T) {
		begin := time.Now()
		if err := b.client.CoreV1().Pods("default").Delete(b.ctx, "web", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		b.gone("web")
		t.Logf("gone after %v", time.Since(begin))
		b.awaitEvent("web", "Killing: Stopping container c")
	})
	for _, want := range []string{
		`Pulled: Container image "example.org/app:1" already present on machine and can be accessed by the pod`, "Created: Container created", "Started: Container started",
	} {
		b.awaitEvent("live", want)
	}
	b.until("only the other pod's files remain", func() bool {
		left, err := os.ReadDir(b.cfg.Dir + "/pods")
		return err == nil && len(left) == 1
	})
}

// exec runs a command in a pod through the API server.
func (b *bench) exec(name string, stdin io.Reader, command ...string) string {
	b.t.Helper()
	request := b.client.CoreV1().RESTClient().Post().Resource("pods").Namespace("default").Name(name).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Command: command, Stdin: stdin != nil, Stdout: true, Stderr: true}, scheme.ParameterCodec)
	executor, err := remotecommand.NewWebSocketExecutor(b.rest, http.MethodGet, request.URL().String())
	if err != nil {
		b.t.Fatal(err)
	}
	var out, errs bytes.Buffer
	if err := executor.StreamWithContext(b.ctx, remotecommand.StreamOptions{Stdin: stdin, Stdout: &out, Stderr: &errs}); err != nil {
		b.t.Fatalf("exec in %s: %v: %s", name, err, errs.String())
	}
	return out.String()
}

// post switches an endpoint of the program in a pod, once it listens.
func (b *bench) post(ip, path string) {
	b.t.Helper()
	b.until(ip+" listens", func() bool {
		answer, err := http.Post("http://"+ip+":8080"+path, "", nil)
		if err == nil {
			answer.Body.Close()
		}
		return err == nil
	})
}

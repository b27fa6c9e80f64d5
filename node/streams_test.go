package node

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
)

func TestStreams(t *testing.T) {
	b := newBench(t)
	b.create(pod("web", "serve"))
	b.await("web", "ready", ready)

	t.Run("exit code", func(t *testing.T) {
		request := b.client.CoreV1().RESTClient().Post().Resource("pods").Namespace("default").Name("web").SubResource("exec").
			VersionedParams(&corev1.PodExecOptions{Command: []string{"/app", "exit", "7", "text"}, Stdout: true, Stderr: true}, scheme.ParameterCodec)
		executor, err := remotecommand.NewWebSocketExecutor(b.rest, http.MethodGet, request.URL().String())
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		err = executor.StreamWithContext(b.ctx, remotecommand.StreamOptions{Stdout: &out, Stderr: io.Discard})
		if err == nil || !strings.Contains(err.Error(), "exit code 7") || out.String() != "text\n" {
			t.Errorf("printed %q, error %v", out.String(), err)
		}
	})

	t.Run("attach", func(t *testing.T) {
		p := pod("echo", "echo")
		p.Spec.Containers[0].Stdin = true
		b.create(p)
		b.await("echo", "ready", ready)
		request := b.client.CoreV1().RESTClient().Post().Resource("pods").Namespace("default").Name("echo").SubResource("attach").
			VersionedParams(&corev1.PodAttachOptions{Stdin: true, Stdout: true}, scheme.ParameterCodec)
		executor, err := remotecommand.NewWebSocketExecutor(b.rest, http.MethodGet, request.URL().String())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second)
		defer cancel()
		in, feed := io.Pipe()
		read, out := io.Pipe()
		go executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: in, Stdout: out})
		go fmt.Fprintln(feed, "hello")
		line, err := bufio.NewReader(read).ReadString('\n')
		if err != nil || line != "hello\n" {
			t.Errorf("got %q, %v", line, err)
		}
	})

	t.Run("port-forward", func(t *testing.T) {
		url := b.client.CoreV1().RESTClient().Post().Resource("pods").Namespace("default").Name("web").SubResource("portforward").URL()
		transport, upgrader, err := spdy.RoundTripperFor(b.rest)
		if err != nil {
			t.Fatal(err)
		}
		stop, up := make(chan struct{}), make(chan struct{})
		forwarder, err := portforward.New(spdy.NewDialer(upgrader, &http.Client{Transport: transport}, http.MethodPost, url), []string{"0:8080"}, stop, up, io.Discard, io.Discard)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- forwarder.ForwardPorts() }()
		select {
		case <-up:
		case err := <-ended:
			t.Fatalf("port-forward: %v", err)
		case <-time.After(20 * time.Second):
			t.Fatal("port-forward does not begin")
		}
		ports, err := forwarder.GetPorts()
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/livez", ports[0].Local))
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if text, err := io.ReadAll(answer.Body); err != nil || string(text) != "ok\n" {
			t.Errorf("got %q, %v", text, err)
		}
		close(stop)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})

	t.Run("a followed log ends with its container", func(t *testing.T) {
		stream, err := b.client.CoreV1().Pods("default").GetLogs("web", &corev1.PodLogOptions{Follow: true}).Stream(b.ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer stream.Close()
		lines := bufio.NewReader(stream)
		if line, err := lines.ReadString('\n'); err != nil || line != "serving\n" {
			t.Fatalf("got %q, %v", line, err)
		}
		if err := b.client.CoreV1().Pods("default").Delete(b.ctx, "web", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if rest, err := io.ReadAll(lines); err != nil || string(rest) != "stopping\n" {
			t.Errorf("then %q, %v", rest, err)
		}
	})
}

func TestHostNetwork(t *testing.T) {
	b := newBench(t)
	p := pod("host", "serve")
	p.Spec.HostNetwork, p.Spec.HostPID = true, true
	p.Spec.Containers[0].ReadinessProbe = httpProbe("/readyz")
	b.create(p)
	got := b.await("host", "ready", ready)
	if got.Status.PodIP != "127.0.0.1" || got.Status.PodIPs[0].IP != "127.0.0.1" {
		t.Errorf("status %+v", got.Status)
	}
	b.post("127.0.0.1", "/livez")
	if out := b.exec("host", nil, "/app", "cat", "/proc/1/comm"); strings.TrimSpace(out) == "app" {
		t.Error("the pod does not see the node's processes")
	}
}

package nodelink_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/portforward"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/transport/spdy"
	"k8s.io/client-go/util/exec"
	"k8s.io/streaming/pkg/httpstream"
)

func TestLog(t *testing.T) {
	c := newCluster(t)
	c.run(t, "p", "n1", "c")
	lines := int64(7)
	out, err := c.client.CoreV1().Pods("default").GetLogs("p", &corev1.PodLogOptions{TailLines: &lines, Timestamps: true}).DoRaw(t.Context())
	if err != nil || string(out) != "first\nlast\n" {
		t.Fatalf("log %q, %v", out, err)
	}
	if asked := <-c.agent.asked; asked != "/containerLogs/default/p/c?tailLines=7&timestamps=true" {
		t.Errorf("the agent was asked %s", asked)
	}
}

func TestLogFollow(t *testing.T) {
	c := newCluster(t)
	c.run(t, "p", "n1", "c")
	stream, err := c.client.CoreV1().Pods("default").GetLogs("p", &corev1.PodLogOptions{Follow: true}).Stream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	lines := bufio.NewReader(stream)
	if line, err := lines.ReadString('\n'); line != "first\n" { // arrives while the agent still writes
		t.Fatalf("first line %q, %v", line, err)
	}
	close(c.agent.release)
	if line, err := lines.ReadString('\n'); line != "last\n" {
		t.Fatalf("last line %q, %v", line, err)
	}
}

func TestLogErrors(t *testing.T) {
	c := newCluster(t)
	c.run(t, "two", "n1", "a", "b")
	c.run(t, "unbound", "", "c")
	creating := c.run(t, "creating", "n1", "c")
	creating.Status.Phase = corev1.PodPending
	creating.Status.ContainerStatuses[0].State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ContainerCreating"}}
	if _, err := c.client.CoreV1().Pods("default").UpdateStatus(t.Context(), creating, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ pod, container, want string }{
		{"two", "", "a container name must be specified for pod two, choose one of: [a b]"},
		{"two", "x", "container x is not valid for pod two"},
		{"unbound", "", "pod unbound does not have a host assigned"},
		{"creating", "", `container "c" in pod "creating" is waiting to start: ContainerCreating`},
		{"absent", "", `pods "absent" not found`},
	} {
		_, err := c.client.CoreV1().Pods("default").GetLogs(tt.pod, &corev1.PodLogOptions{Container: tt.container}).Stream(t.Context())
		if err == nil || err.Error() != tt.want {
			t.Errorf("log of %s: %v, want %s", tt.pod, err, tt.want)
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	c := newCluster(t)
	var reached atomic.Bool
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Store(true) }))
	defer other.Close()
	c.agent.elsewhere = other.URL
	c.run(t, "p", "n1", "away")
	if _, err := c.client.CoreV1().Pods("default").GetLogs("p", &corev1.PodLogOptions{}).DoRaw(t.Context()); err == nil || reached.Load() {
		t.Errorf("the agent sent the API server elsewhere: error %v, followed %v", err, reached.Load())
	}
}

// executors are the two ways clients run a command: WebSocket, and SPDY for older ones.
func executors(t *testing.T, c *cluster, path string, options *corev1.PodExecOptions) map[string]remotecommand.Executor {
	t.Helper()
	url := c.client.CoreV1().RESTClient().Post().Namespace("default").Resource("pods").Name("p").SubResource(path).
		VersionedParams(options, scheme.ParameterCodec).URL()
	websocket, err := remotecommand.NewWebSocketExecutor(c.config, http.MethodGet, url.String())
	if err != nil {
		t.Fatal(err)
	}
	old, err := remotecommand.NewSPDYExecutor(c.config, http.MethodPost, url)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]remotecommand.Executor{"websocket": websocket, "spdy": old}
}

func TestExec(t *testing.T) {
	c := newCluster(t)
	c.run(t, "p", "n1", "c")
	options := &corev1.PodExecOptions{Command: []string{"cat", "-"}, Stdin: true, Stdout: true, Stderr: true}
	for name, executor := range executors(t, c, "exec", options) {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			var out, complaints bytes.Buffer
			err := executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: strings.NewReader("hello"), Stdout: &out, Stderr: &complaints})
			if err != nil || out.String() != "hello" || complaints.String() != "told on stderr" {
				t.Errorf("stdout %q, stderr %q, %v", &out, &complaints, err)
			}
			if asked := <-c.agent.asked; asked != "/exec/default/p/c?command=cat&command=-&error=1&input=1&output=1" {
				t.Errorf("the agent was asked %s", asked)
			}
		})
	}
}

func TestExecTellsTheExitCode(t *testing.T) {
	c := newCluster(t)
	c.run(t, "p", "n1", "c")
	for name, executor := range executors(t, c, "exec", &corev1.PodExecOptions{Command: []string{"fail"}, Stdout: true}) {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			err := executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: io.Discard})
			if exit, ok := err.(exec.ExitError); !ok || exit.ExitStatus() != 3 {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestAttach(t *testing.T) {
	c := newCluster(t)
	c.run(t, "p", "n1", "c")
	for name, executor := range executors(t, c, "attach", &corev1.PodExecOptions{Stdin: true, Stdout: true}) {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			var out bytes.Buffer
			if err := executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: strings.NewReader("hello"), Stdout: &out}); err != nil || out.String() != "hello" {
				t.Errorf("stdout %q, %v", &out, err)
			}
			if asked := <-c.agent.asked; asked != "/attach/default/p/c?input=1&output=1" {
				t.Errorf("the agent was asked %s", asked)
			}
		})
	}
}

func TestExecErrors(t *testing.T) {
	c := newCluster(t)
	c.run(t, "p", "n1", "a", "b")
	for name, executor := range executors(t, c, "exec", &corev1.PodExecOptions{Command: []string{"x"}, Stdout: true}) {
		err := executor.StreamWithContext(t.Context(), remotecommand.StreamOptions{Stdout: io.Discard})
		if err == nil || !strings.Contains(err.Error(), "a container name must be specified for pod p, choose one of: [a b]") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// dialers are the two ways clients forward a port.
func dialers(t *testing.T, c *cluster) map[string]httpstream.Dialer {
	t.Helper()
	url := c.client.CoreV1().RESTClient().Post().Namespace("default").Resource("pods").Name("p").SubResource("portforward").URL()
	tunnel, err := portforward.NewSPDYOverWebsocketDialerForStreaming(url, c.config)
	if err != nil {
		t.Fatal(err)
	}
	transport, upgrader, err := spdy.RoundTripperFor(c.config)
	if err != nil {
		t.Fatal(err)
	}
	old := spdy.NewDialerForStreaming(upgrader, &http.Client{Transport: transport}, http.MethodPost, url)
	return map[string]httpstream.Dialer{"websocket": tunnel, "spdy": old}
}

func TestPortForward(t *testing.T) {
	c := newCluster(t)
	c.run(t, "p", "n1", "c")
	for name, dialer := range dialers(t, c) {
		t.Run(name, func(t *testing.T) {
			stop, ready := make(chan struct{}), make(chan struct{})
			forward, err := portforward.NewOnAddressesForStreaming(dialer, []string{"127.0.0.1"}, []string{"0:80"}, stop, ready, io.Discard, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- forward.ForwardPorts() }()
			select {
			case <-ready:
			case err := <-ended:
				t.Fatal(err)
			}
			ports, err := forward.GetPorts()
			if err != nil {
				t.Fatal(err)
			}
			conn, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(int(ports[0].Local)))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			if _, err := io.WriteString(conn, "hello"); err != nil {
				t.Fatal(err)
			}
			answer := make([]byte, 5)
			if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "HELLO" {
				t.Errorf("answer %q, %v", answer, err)
			}
			close(stop)
			<-ended
			if asked := <-c.agent.asked; asked != "/portForward/default/p" {
				t.Errorf("the agent was asked %s", asked)
			}
		})
	}
}

func TestNodeProxy(t *testing.T) {
	c := newCluster(t)
	out, err := c.client.CoreV1().RESTClient().Get().Resource("nodes").Name("n1").SubResource("proxy").
		Suffix("containerLogs/default/p/c").Param("tailLines", "1").DoRaw(t.Context())
	if err != nil || string(out) != "first\nlast\n" {
		t.Fatalf("%q, %v", out, err)
	}
	if asked := <-c.agent.asked; asked != "/containerLogs/default/p/c?tailLines=1" {
		t.Errorf("the agent was asked %s", asked)
	}
}

func TestProxyRefusesTheHostItself(t *testing.T) {
	c := newCluster(t)
	pod := c.run(t, "p", "n1", "c")
	pod.Status.PodIP, pod.Status.PodIPs = "127.0.0.1", []corev1.PodIP{{IP: "127.0.0.1"}}
	if _, err := c.client.CoreV1().Pods("default").UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err := c.client.CoreV1().Pods("default").ProxyGet("", "p", "80", "/", nil).Stream(t.Context())
	if err == nil || !strings.Contains(err.Error(), "address not allowed: 127.0.0.1") {
		t.Errorf("pod with the address of this host: %v", err)
	}
	_, err = c.client.CoreV1().Services("default").ProxyGet("", "kubernetes", "", "/", nil).Stream(t.Context())
	if err == nil || !strings.Contains(err.Error(), "address not allowed: 127.0.0.1") {
		t.Errorf("service with an endpoint on this host: %v", err)
	}
}

// TestProxyWithoutASlash: as upstream's, the answer is a redirect to where relative links lead on.
func TestProxyWithoutASlash(t *testing.T) {
	c := newCluster(t)
	client, err := rest.HTTPClientFor(c.config)
	if err != nil {
		t.Fatal(err)
	}
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	pod := c.run(t, "p", "n1", "c")
	pod.Status.PodIP, pod.Status.PodIPs = "10.244.1.7", []corev1.PodIP{{IP: "10.244.1.7"}}
	if _, err := c.client.CoreV1().Pods("default").UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/api/v1/nodes/n1/proxy", "/api/v1/namespaces/default/pods/p:80/proxy?a=b"} {
		answer, err := client.Get(c.config.Host + path)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		at, query, _ := strings.Cut(path, "?")
		if query != "" {
			query = "?" + query
		}
		if got := answer.Header.Get("Location"); answer.StatusCode != http.StatusMovedPermanently || got != at+"/"+query {
			t.Errorf("%s: %d to %q", path, answer.StatusCode, got)
		}
	}
}

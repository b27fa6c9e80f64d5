package node

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/websocket"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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

	for _, protocol := range []string{"v4.channel.k8s.io", "v4.base64.channel.k8s.io"} {
		t.Run("port-forward of "+protocol, func(t *testing.T) { b.forwardByWebSocket(t, protocol) })
	}

	t.Run("proxy", func(t *testing.T) {
		get := func(path string) (string, error) {
			text, err := b.client.CoreV1().RESTClient().Get().AbsPath("/api/v1/namespaces/default/pods/" + path).DoRaw(b.ctx)
			return string(text), err
		}
		if text, err := get("web:8080/proxy/livez"); err != nil || text != "ok\n" {
			t.Errorf("pods/proxy: %q, %v", text, err)
		}
		if _, err := get("web:8081/proxy/"); !apierrors.IsServiceUnavailable(err) {
			t.Errorf("a port where nobody listens: %v", err)
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

// forwardByWebSocket forwards a port as the clients for Python, Java and JavaScript do: the ports are in the query, each has a
// channel for data and one for errors, and both begin with the port's number.
func (b *bench) forwardByWebSocket(t *testing.T, protocol string) {
	t.Helper()
	address := strings.Replace(b.rest.Host, "https:", "wss:", 1) + "/api/v1/namespaces/default/pods/web/portforward?ports=8080&ports=8081"
	config, err := websocket.NewConfig(address, b.rest.Host)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(b.rest.CAData)
	config.Protocol = []string{protocol}
	config.Header.Set("Authorization", "Bearer "+b.rest.BearerToken)
	config.TlsConfig = &tls.Config{RootCAs: roots, ServerName: b.rest.ServerName}
	conn, err := config.DialContext(b.ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	coded := strings.Contains(protocol, "base64")
	receive := func() (channel byte, data []byte) {
		var frame []byte
		if err := websocket.Message.Receive(conn, &frame); err != nil || len(frame) == 0 {
			t.Fatalf("a frame of %d bytes, %v", len(frame), err)
		}
		if !coded {
			return frame[0], frame[1:]
		}
		data, err := base64.StdEncoding.DecodeString(string(frame[1:]))
		if err != nil {
			t.Fatal(err)
		}
		return frame[0] - '0', data
	}
	ports := map[byte]uint16{}
	for range 4 {
		channel, data := receive()
		ports[channel] = binary.LittleEndian.Uint16(data)
	}
	if want := (map[byte]uint16{0: 8080, 1: 8080, 2: 8081, 3: 8081}); !maps.Equal(ports, want) {
		t.Fatalf("channels %v, want %v", ports, want)
	}
	question := "GET /livez HTTP/1.0\r\n\r\n"
	if coded {
		err = websocket.Message.Send(conn, "0"+base64.StdEncoding.EncodeToString([]byte(question)))
	} else {
		err = websocket.Message.Send(conn, append([]byte{0}, question...))
	}
	if err != nil {
		t.Fatal(err)
	}
	var answer []byte
	for !bytes.HasSuffix(answer, []byte("ok\n")) {
		channel, data := receive()
		if channel == 1 {
			t.Fatalf("error channel: %s", data)
		}
		if channel == 0 {
			answer = append(answer, data...)
		}
	}
	if !bytes.HasPrefix(answer, []byte("HTTP/1.0 200")) {
		t.Errorf("%s", answer)
	}
}

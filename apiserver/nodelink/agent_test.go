package nodelink_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/streaming/pkg/httpstream"
	"k8s.io/streaming/pkg/httpstream/spdy"

	"fairlead.dev/fairlead/api/usage"
	"fairlead.dev/fairlead/apiserver"
	"fairlead.dev/fairlead/cluster/join"
	"fairlead.dev/fairlead/internal/apitest"
	"fairlead.dev/fairlead/pki/peer"
)

// cluster is a real API server with one node, whose agent is a small stand-in on the kubelet's paths.
type cluster struct {
	config *rest.Config
	client kubernetes.Interface
	agent  *agent
}

// agent answers like a node agent. It tells what it was asked.
type agent struct {
	asked     chan string   // one line per request: path?query
	release   chan struct{} // lets a followed log go on
	elsewhere string        // where /containerLogs of the container "away" redirects to
	uses      []string      // UIDs of pods of which it tells what they use
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	cfg := apitest.Config(t, t.TempDir())
	server, _ := apitest.Run(t, cfg)
	client, err := kubernetes.NewForConfig(server.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{asked: make(chan string, 16), release: make(chan struct{})}
	port := a.serve(t, cfg)
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}
	if node, err = client.CoreV1().Nodes().Create(t.Context(), node, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: "n1"}, {Type: corev1.NodeInternalIP, Address: "127.0.0.1"}}
	node.Status.DaemonEndpoints.KubeletEndpoint.Port = port
	if _, err = client.CoreV1().Nodes().UpdateStatus(t.Context(), node, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	return &cluster{config: server.ClientConfig(), client: client, agent: a}
}

// serve starts the agent's HTTPS server, which asks for the API server's certificate.
func (a *agent) serve(t *testing.T, cfg apiserver.Config) int32 {
	t.Helper()
	certPEM, keyPEM, err := cfg.CA.Issue(join.ServingIdentity("n1", []netip.Addr{netip.MustParseAddr("127.0.0.1")}))
	if err != nil {
		t.Fatal(err)
	}
	cert, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/containerLogs/{ns}/{pod}/{container}", a.log)
	mux.HandleFunc("/exec/{ns}/{pod}/{container}", a.command)
	mux.HandleFunc("/attach/{ns}/{pod}/{container}", a.command)
	mux.HandleFunc("/portForward/{ns}/{pod}", a.portForward)
	mux.HandleFunc("GET "+usage.Path, a.usage)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if caller := r.TLS.PeerCertificates[0]; !peer.IsCaller(caller) {
			http.Error(w, "who are you: "+caller.Subject.String(), http.StatusForbidden)
			return
		}
		a.asked <- r.URL.RequestURI()
		mux.ServeHTTP(w, r)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: cfg.CA.Pool()}
	server.StartTLS()
	t.Cleanup(server.CloseClientConnections)
	return int32(server.Listener.Addr().(*net.TCPAddr).Port)
}

func (a *agent) log(w http.ResponseWriter, r *http.Request) {
	if r.PathValue("container") == "away" {
		http.Redirect(w, r, a.elsewhere, http.StatusFound)
		return
	}
	fmt.Fprintln(w, "first")
	if r.URL.Query().Get("follow") == "true" {
		w.(http.Flusher).Flush()
		<-a.release
	}
	fmt.Fprintln(w, "last")
}

// streams collects the streams a client opens, by type.
func streams(w http.ResponseWriter, r *http.Request, want int, protocols ...string) (httpstream.Connection, map[string]httpstream.Stream) {
	if _, err := httpstream.Handshake(r, w, protocols); err != nil {
		return nil, nil
	}
	opened := make(chan httpstream.Stream, 8)
	conn := spdy.NewResponseUpgrader().UpgradeResponse(w, r, func(s httpstream.Stream, replied <-chan struct{}) error {
		go func() { <-replied; opened <- s }()
		return nil
	})
	if conn == nil {
		return nil, nil
	}
	found := map[string]httpstream.Stream{}
	deadline := time.After(10 * time.Second)
	for len(found) < want {
		select {
		case s := <-opened:
			found[s.Headers().Get(corev1.StreamType)] = s
		case <-deadline:
			conn.Close()
			return nil, nil
		}
	}
	return conn, found
}

// command echoes standard input, and exits with 3 when the command is "fail".
func (a *agent) command(w http.ResponseWriter, r *http.Request) {
	want := 1
	for _, name := range []string{"input", "output", "error"} {
		if r.URL.Query().Get(name) == "1" {
			want++
		}
	}
	conn, s := streams(w, r, want, "v4.channel.k8s.io")
	if conn == nil {
		return
	}
	defer conn.Close()
	if in, ok := s[corev1.StreamTypeStdin]; ok {
		_, _ = io.Copy(s[corev1.StreamTypeStdout], in)
	}
	if out, ok := s[corev1.StreamTypeStderr]; ok {
		fmt.Fprint(out, "told on stderr")
	}
	answer := `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success"}`
	if r.URL.Query().Get("command") == "fail" {
		answer = `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","reason":"NonZeroExitCode","message":"exit 3","details":{"causes":[{"reason":"ExitCode","message":"3"}]}}`
	}
	fmt.Fprint(s[corev1.StreamTypeError], answer)
	for _, stream := range s {
		stream.Close()
	}
}

// portForward answers one connection with what it was sent, in capitals.
func (a *agent) portForward(w http.ResponseWriter, r *http.Request) {
	conn, s := streams(w, r, 2, "portforward.k8s.io")
	if conn == nil {
		return
	}
	defer conn.Close()
	buf := make([]byte, 5)
	_, _ = io.ReadFull(s[corev1.StreamTypeData], buf)
	fmt.Fprint(s[corev1.StreamTypeData], strings.ToUpper(string(buf)))
	s[corev1.StreamTypeData].Close()
	s[corev1.StreamTypeError].Close()
	<-conn.CloseChan()
}

// run makes a pod on the node whose containers all run.
func (c *cluster) run(t *testing.T, name, node string, containers ...string) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Spec: corev1.PodSpec{NodeName: node}}
	for _, n := range containers {
		pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Name: n, Image: "i"})
	}
	pod, err := c.client.CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range containers {
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{
			Name: n, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.Now()}},
		})
	}
	pod.Status.Phase = corev1.PodRunning
	if pod, err = c.client.CoreV1().Pods("default").UpdateStatus(t.Context(), pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	return pod
}

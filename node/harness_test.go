package node

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/internal/apitest"
	"fairlead.dev/fairlead/node/cri"
	"fairlead.dev/fairlead/node/image"
	"fairlead.dev/fairlead/pki"
)

// appImage is the image of the tests' containers; testdata/app is inside.
const appImage = "example.org/app:1"

// otherImage is the same under another name.
const otherImage = "example.org/app:2"

// bench is a node with the real containerd and the real API server.
type bench struct {
	t          testing.TB
	ctx        context.Context
	containerd *cri.Runtime
	rest       *rest.Config
	client     kubernetes.Interface
	cfg        Config
	agent      *Agent
	stop       func() // ends the agent and waits for it
}

func newBench(t testing.TB) *bench {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	dir, err := os.MkdirTemp("", "node")
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{t: t, ctx: ctx, containerd: &cri.Runtime{Dir: filepath.Join(dir, "c"), CgroupRoot: fmt.Sprintf("/fairlead-test-%d/%s", os.Getpid(), filepath.Base(dir))}}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := b.containerd.Stop(ctx); err != nil {
			t.Error(err)
		}
		if err := b.containerd.Clean(false); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := b.containerd.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := b.containerd.Ensure(ctx, appArchive(t)); err != nil {
		t.Fatal(err)
	}
	server := apitest.Config(t, t.TempDir())
	running, _ := apitest.Run(t, server)
	b.rest = running.ClientConfig()
	b.client = kubernetes.NewForConfigOrDie(b.rest)
	b.cfg = Config{
		Name: "n1", IPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Dir: filepath.Join(dir, "n"), Listen: freePort(t),
		ClusterDNS: []netip.Addr{netip.MustParseAddr("10.96.0.10")}, Domain: "cluster.local", CgroupRoot: b.containerd.CgroupRoot, ClientCAs: server.CA.Pool(),
	}
	registry := prometheus.NewRegistry()
	b.cfg.Metrics, b.cfg.Handlers = registry, map[string]http.Handler{"/metrics": promhttp.HandlerFor(registry, promhttp.HandlerOpts{})}
	b.cfg.Cert = serving(t, server.CA, b.cfg.IPs)
	b.startAgent()
	b.giveRange()
	return b
}

// giveRange plays the controller that assigns pod ranges, and waits until the node is Ready.
func (b *bench) giveRange() {
	b.t.Helper()
	patch := []byte(`{"spec":{"podCIDR":"10.99.3.0/24","podCIDRs":["10.99.3.0/24"]}}`)
	b.until("the node is registered", func() bool {
		_, err := b.client.CoreV1().Nodes().Patch(b.ctx, "n1", types.MergePatchType, patch, metav1.PatchOptions{})
		return err == nil
	})
	b.until("the node is Ready", func() bool {
		node, err := b.client.CoreV1().Nodes().Get(b.ctx, "n1", metav1.GetOptions{})
		if err != nil {
			return false
		}
		for _, c := range node.Status.Conditions {
			if c.Type == corev1.NodeReady {
				return c.Status == corev1.ConditionTrue
			}
		}
		return false
	})
}

func (b *bench) startAgent() {
	b.t.Helper()
	level := slog.LevelInfo
	if testing.Verbose() {
		level = slog.LevelDebug
	}
	agent := New(b.cfg, b.containerd, b.client, slog.New(slog.NewTextHandler(b.t.Output(), &slog.HandlerOptions{Level: level})))
	b.agent = agent
	ctx, cancel := context.WithCancel(b.ctx)
	ended := make(chan error, 1)
	go func() { ended <- agent.Run(ctx) }()
	stopped := false
	b.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				b.t.Errorf("agent: %v", err)
			}
		case <-time.After(20 * time.Second):
			b.t.Error("the agent does not stop")
		}
	}
	b.t.Cleanup(b.stop)
}

func freePort(t testing.TB) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return netip.MustParseAddrPort(l.Addr().String())
}

func serving(t testing.TB, ca *pki.Authority, ips []netip.Addr) *pki.Source {
	t.Helper()
	source, err := ca.Source(pki.Request{CommonName: "system:node:n1", Organizations: []string{"system:nodes"}, Addrs: ips, Names: []string{"n1"}, Server: true})
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// buildApp builds the test program.
func buildApp(t testing.TB) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "app")
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", out, "./testdata/app")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build testdata/app: %v\n%s", err, text)
	}
	program, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// appArchive is the test program in an image.
func appArchive(t testing.TB) []byte {
	t.Helper()
	program := buildApp(t)
	var archive bytes.Buffer
	err := image.Build(&archive, image.Spec{
		Refs: []string{appImage, otherImage}, Rootfs: []image.File{{Path: "app", Mode: 0o755, Data: program}, {Path: "tmp", Mode: os.ModeDir | 0o777}}, Entrypoint: []string{"/app"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return archive.Bytes()
}

func (b *bench) until(what string, ok func() bool) {
	b.t.Helper()
	for deadline := time.Now().Add(40 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if b.ctx.Err() != nil || time.Now().After(deadline) {
			b.t.Fatalf("timed out: %s", what)
		}
	}
}

// pod is a pod on the node with one container that runs the program with these arguments.
func pod(name string, args ...string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{
			NodeName:   "n1",
			Containers: []corev1.Container{{Name: "c", Image: appImage, Args: args}},
		},
	}
}

func httpProbe(path string) *corev1.Probe {
	return &corev1.Probe{
		PeriodSeconds: 1,
		ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(8080)}},
	}
}

func (b *bench) create(pod *corev1.Pod) *corev1.Pod {
	b.t.Helper()
	made, err := b.client.CoreV1().Pods(pod.Namespace).Create(b.ctx, pod, metav1.CreateOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	return made
}

func (b *bench) get(name string) *corev1.Pod {
	b.t.Helper()
	got, err := b.client.CoreV1().Pods("default").Get(b.ctx, name, metav1.GetOptions{})
	if err != nil {
		b.t.Fatal(err)
	}
	return got
}

// await waits until the pod satisfies ok and returns it.
func (b *bench) await(name, what string, ok func(*corev1.Pod) bool) *corev1.Pod {
	b.t.Helper()
	var last *corev1.Pod
	for deadline := time.Now().Add(40 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		got, err := b.client.CoreV1().Pods("default").Get(b.ctx, name, metav1.GetOptions{})
		if err == nil {
			if last = got; ok(got) {
				return got
			}
		}
		if b.ctx.Err() != nil || time.Now().After(deadline) {
			b.t.Fatalf("timed out: pod %s: %s; events %q; last seen %+v", name, what, b.events(name), last)
		}
	}
}

func ready(pod *corev1.Pod) bool { return conditionOf(pod, corev1.PodReady) == corev1.ConditionTrue }

func running(pod *corev1.Pod) bool { return pod.Status.Phase == corev1.PodRunning }

func conditionOf(pod *corev1.Pod, kind corev1.PodConditionType) corev1.ConditionStatus {
	for _, c := range pod.Status.Conditions {
		if c.Type == kind {
			return c.Status
		}
	}
	return ""
}

// gone waits until the API does not have the pod any more.
func (b *bench) gone(name string) {
	b.t.Helper()
	b.until(name+" is gone", func() bool {
		_, err := b.client.CoreV1().Pods("default").Get(b.ctx, name, metav1.GetOptions{})
		return err != nil
	})
}

// events are the reasons and messages of a pod's events, oldest first.
func (b *bench) events(name string) []string {
	list, err := b.client.CoreV1().Events("default").List(b.ctx, metav1.ListOptions{FieldSelector: "involvedObject.name=" + name})
	if err != nil {
		return []string{err.Error()}
	}
	var out []string
	for _, e := range list.Items {
		out = append(out, e.Reason+": "+e.Message)
	}
	return out
}

func (b *bench) awaitEvent(name, text string) {
	b.t.Helper()
	b.until("event of "+name+" with "+text, func() bool { return strings.Contains(strings.Join(b.events(name), "\n"), text) })
}

// log is the text of the pod's container.
func (b *bench) log(name string, options corev1.PodLogOptions) string {
	b.t.Helper()
	text, err := b.client.CoreV1().Pods("default").GetLogs(name, &options).DoRaw(b.ctx)
	if err != nil {
		b.t.Fatalf("log of %s: %v", name, err)
	}
	return string(text)
}

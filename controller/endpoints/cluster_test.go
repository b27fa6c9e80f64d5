package endpoints

//lint:file-ignore SA1019 v1 Endpoints are what the tests are about.

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/controller/endpoints/sample"
	"fairlead.dev/fairlead/internal/apitest"
)

// patience is how long a test waits for something that should take milliseconds.
const patience = 20 * time.Second

// cluster is a real API server without pods that run: tests play the node.
type cluster struct {
	config *rest.Config
	client kubernetes.Interface
	serial atomic.Int32
}

// startCluster starts an API server with the nodes n1, in zone a, and n2, in zone b.
func startCluster(t testing.TB) *cluster {
	t.Helper()
	c := connect(t, apitest.Start(t))
	for name, zone := range map[string]string{"n1": "a", "n2": "b"} {
		c.createNode(t, name, zone)
	}
	return c
}

// connect returns a cluster without nodes of an API server that runs.
func connect(t testing.TB, config *rest.Config) *cluster {
	t.Helper()
	c := &cluster{config: config}
	c.config.WarningHandler = rest.NoWarnings{}
	client, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		t.Fatal(err)
	}
	c.client = client
	return c
}

func (c *cluster) createNode(t testing.TB, name, zone string) {
	t.Helper()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelTopologyZone: zone}}}
	if _, err := c.client.CoreV1().Nodes().Create(t.Context(), node, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// wire is the controller's connection to the API, under the test's control.
type wire struct {
	writes atomic.Int32                              // requests that change Endpoints or EndpointSlices
	before atomic.Pointer[func(*http.Request) error] // is asked before each request
	sent   atomic.Int64                              // when the last write of a slice began, in Unix nanoseconds
	lag    atomic.Int64                              // nanoseconds by which each piece of a watch is late
}

// refuse makes requests fail for which f returns an error; nil ends it.
func (w *wire) refuse(f func(*http.Request) error) { w.before.Store(&f) }

// write tells whether a request changes an object of the kind, by its plural; empty for both kinds.
func write(r *http.Request, plural string) bool {
	return r.Method != http.MethodGet && strings.Contains(r.URL.Path, "/endpoint") &&
		(plural == "" || slices.Contains(strings.Split(r.URL.Path, "/"), plural))
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (w *wire) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if f := w.before.Load(); f != nil && *f != nil {
			if err := (*f)(r); err != nil {
				return nil, err
			}
		}
		if write(r, "") {
			w.writes.Add(1)
		}
		if write(r, "endpointslices") {
			w.sent.Store(time.Now().UnixNano())
		}
		response, err := next.RoundTrip(r)
		if err == nil && r.URL.Query().Get("watch") != "" && strings.Contains(r.URL.Path, "/endpoint") {
			response.Body = &lateBody{ReadCloser: response.Body, lag: &w.lag}
		}
		return response, err
	})
}

// lateBody delays what a watch delivers.
type lateBody struct {
	io.ReadCloser
	lag *atomic.Int64
}

func (b *lateBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	<-time.After(time.Duration(b.lag.Load()))
	return n, err
}

// run runs a controller until the test ends or the returned function is called.
func (c *cluster) run(t testing.TB) (w *wire, stop func()) {
	t.Helper()
	w = &wire{}
	config := rest.CopyConfig(c.config)
	config.WrapTransport = w.wrap
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	shared := informers.NewSharedInformerFactory(client, 0)
	return w, apitest.Control(t, shared, New(client, shared, nil, slog.New(slog.DiscardHandler)).Run)
}

// space is a namespace of its own for one test.
type space struct {
	*cluster
	name string
	wire *wire // of the controller, when alone made the space
}

func (c *cluster) space(t testing.TB) *space {
	t.Helper()
	s := &space{cluster: c, name: fmt.Sprint("space-", c.serial.Add(1))}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.name}}
	if _, err := c.client.CoreV1().Namespaces().Create(t.Context(), ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *space) createService(t testing.TB, changes ...func(*corev1.Service)) *corev1.Service {
	t.Helper()
	svc := sample.Service(changes...)
	svc.ObjectMeta = metav1.ObjectMeta{Namespace: s.name, Name: svc.Name, Labels: svc.Labels}
	svc.Spec.ClusterIP = ""
	svc, err := s.client.CoreV1().Services(s.name).Create(t.Context(), svc, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return svc
}

// updateService changes a Service.
func (s *space) updateService(t testing.TB, name string, change func(*corev1.Service)) {
	t.Helper()
	api := s.client.CoreV1().Services(s.name)
	svc, err := api.Get(t.Context(), name, metav1.GetOptions{})
	if err == nil {
		change(svc)
		_, err = api.Update(t.Context(), svc, metav1.UpdateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// createPods creates pods as they are, with status, a few at a time.
func (s *space) createPods(t testing.TB, pods ...*corev1.Pod) {
	t.Helper()
	api := s.client.CoreV1().Pods(s.name)
	var group sync.WaitGroup
	gate := make(chan struct{}, 16)
	for _, pod := range pods {
		gate <- struct{}{}
		group.Go(func() {
			defer func() { <-gate }()
			status := pod.Status
			pod.Namespace, pod.UID = s.name, ""
			created, err := api.Create(t.Context(), pod, metav1.CreateOptions{})
			if err == nil {
				created.Status = status
				_, err = api.UpdateStatus(t.Context(), created, metav1.UpdateOptions{})
			}
			if err != nil {
				t.Errorf("pod %s: %v", pod.Name, err)
			}
		})
	}
	group.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// updatePod changes a pod's metadata, or its status.
func (s *space) updatePod(t testing.TB, name string, change func(*corev1.Pod)) {
	t.Helper()
	api := s.client.CoreV1().Pods(s.name)
	pod, err := api.Get(t.Context(), name, metav1.GetOptions{})
	if err == nil {
		status := pod.Status.DeepCopy()
		change(pod)
		if fmt.Sprint(*status) == fmt.Sprint(pod.Status) {
			_, err = api.Update(t.Context(), pod, metav1.UpdateOptions{})
		} else {
			_, err = api.UpdateStatus(t.Context(), pod, metav1.UpdateOptions{})
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// deletePods removes pods at once.
func (s *space) deletePods(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		err := s.client.CoreV1().Pods(s.name).Delete(t.Context(), name, metav1.DeleteOptions{GracePeriodSeconds: ptr.To(int64(0))})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// slices returns the slices of a Service.
func (s *space) slices(t testing.TB, service string) []discoveryv1.EndpointSlice {
	t.Helper()
	list, err := s.client.DiscoveryV1().EndpointSlices(s.name).List(t.Context(),
		metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + service})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// sliceLines returns the slices of a Service as text.
func (s *space) sliceLines(t testing.TB, service string) []string {
	t.Helper()
	var lines []string
	for _, slice := range s.slices(t, service) {
		lines = append(lines, sample.SliceText(&slice))
	}
	slices.Sort(lines)
	return lines
}

// objectLines returns the Endpoints object of a Service as text; the one line "none" without any.
func (s *space) objectLines(t testing.TB, service string) []string {
	t.Helper()
	ep, err := s.client.CoreV1().Endpoints(s.name).Get(t.Context(), service, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return []string{"none"}
	}
	if err != nil {
		t.Fatal(err)
	}
	return sample.SubsetsText(ep.Subsets)
}

// events returns what people are told about a Service: how often, reason and message.
func (s *space) events(t testing.TB, service string) []string {
	t.Helper()
	list, err := s.client.CoreV1().Events(s.name).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, e := range list.Items {
		if e.InvolvedObject.Kind == "Service" && e.InvolvedObject.Name == service {
			lines = append(lines, fmt.Sprint(e.Count, " ", e.Reason, " ", e.Message))
		}
	}
	slices.Sort(lines)
	return lines
}

// eventually waits until read returns the wanted lines.
func eventually(t testing.TB, read func(testing.TB, string) []string, service string, want ...string) {
	t.Helper()
	var got []string
	until(t, func() bool {
		got = read(t, service)
		return slices.Equal(got, want)
	}, func() string {
		return fmt.Sprintf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	})
}

// until waits for a condition; otherwise says what is there instead.
func until(t testing.TB, condition func() bool, otherwise func() string) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline:
			t.Fatal(otherwise())
		case <-tick.C:
		}
	}
}

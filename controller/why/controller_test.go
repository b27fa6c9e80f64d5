package why

//lint:file-ignore SA1019 v1 Endpoints are what the tests are about.

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/api/probe"
	"fairlead.dev/fairlead/controller/endpoints"
	"fairlead.dev/fairlead/controller/external"
	"fairlead.dev/fairlead/controller/why/reported"
	"fairlead.dev/fairlead/internal/apitest"
	"fairlead.dev/fairlead/kube"
	"fairlead.dev/fairlead/why/mistake"
)

// patience is how long a test waits for something that should take a moment.
const patience = 30 * time.Second

// cluster is a real API server with the controllers that write endpoints.
type cluster struct{ client kubernetes.Interface }

func startCluster(t testing.TB) *cluster {
	t.Helper()
	cfg := apitest.Config(t, t.TempDir())
	cfg.AllowExternalIPs = true
	server, _ := apitest.Run(t, cfg)
	config := server.ClientConfig()
	config.WarningHandler = rest.NoWarnings{}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{client}
	c.create(t, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}})
	return c
}

// run runs the controllers that write endpoints until the test ends.
func (c *cluster) run(t testing.TB) {
	t.Helper()
	shared := informers.NewSharedInformerFactory(c.client, 0)
	log := slog.New(slog.DiscardHandler)
	nobody := func(context.Context, *corev1.Node, probe.Request) (probe.Reply, error) {
		return probe.Reply{}, errors.New("no node is asked")
	}
	apitest.Control(t, shared, endpoints.New(c.client, shared, nil, log).Run, external.New(c.client, shared, nobody, nil, log).Run)
}

// report runs the one of this package, in a hurry, until the test ends or the returned function is called. The change is made to it
// before it starts.
func (c *cluster) report(t testing.TB, change func(*Controller)) (w *Controller, stop func()) {
	t.Helper()
	shared := informers.NewSharedInformerFactory(c.client, 0)
	w = New(c.client, shared, nil, []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12")}, slog.New(slog.DiscardHandler))
	w.settle = 10 * time.Millisecond
	w.after = func(d time.Duration) time.Duration { return d / 100 }
	if change != nil {
		change(w)
	}
	return w, apitest.Control(t, shared, w.Run)
}

// create writes objects, with their status, and the namespaces that they are in.
func (c *cluster) create(t testing.TB, objects ...runtime.Object) {
	t.Helper()
	ctx, core := t.Context(), c.client.CoreV1()
	for _, obj := range objects {
		var err error
		obj = obj.DeepCopyObject()
		if space := obj.(metav1.Object).GetNamespace(); space != "" {
			_, err = core.Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: space}}, metav1.CreateOptions{})
			if err != nil && !apierrors.IsAlreadyExists(err) {
				t.Fatal(err)
			}
		}
		switch o := obj.(type) {
		case *corev1.Node:
			_, err = core.Nodes().Create(ctx, o, metav1.CreateOptions{})
		case *corev1.Endpoints:
			_, err = core.Endpoints(o.Namespace).Create(ctx, o, metav1.CreateOptions{})
		case *discoveryv1.EndpointSlice:
			_, err = c.client.DiscoveryV1().EndpointSlices(o.Namespace).Create(ctx, o, metav1.CreateOptions{})
		case *corev1.Service:
			status := o.Status
			if o, err = core.Services(o.Namespace).Create(ctx, o, metav1.CreateOptions{}); err == nil && len(status.LoadBalancer.Ingress) > 0 {
				o.Status = status
				_, err = core.Services(o.Namespace).UpdateStatus(ctx, o, metav1.UpdateOptions{})
			}
		case *corev1.Pod:
			status := o.Status
			if o, err = core.Pods(o.Namespace).Create(ctx, o, metav1.CreateOptions{}); err == nil {
				o.Status = status
				_, err = core.Pods(o.Namespace).UpdateStatus(ctx, o, metav1.UpdateOptions{})
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// events returns what this package says in a namespace, a line each; with a count only if it is said more than once.
func (c *cluster) events(t testing.TB, namespace string) []string {
	t.Helper()
	list, err := c.client.CoreV1().Events(namespace).List(t.Context(), metav1.ListOptions{FieldSelector: "source=" + Component})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, e := range list.Items {
		text := line(e.Type, e.Reason, e.InvolvedObject.Kind+" "+e.InvolvedObject.Namespace+"/"+e.InvolvedObject.Name, e.Message)
		if e.Count > 1 {
			text = fmt.Sprintf("%s (%d times)", text, e.Count)
		}
		lines = append(lines, text)
	}
	slices.Sort(lines)
	return lines
}

// endpoints returns all addresses of a namespace that proxies are told, a line each.
func (c *cluster) endpoints(t testing.TB, namespace string) []string {
	t.Helper()
	list, err := c.client.DiscoveryV1().EndpointSlices(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, slice := range list.Items {
		for _, ep := range slice.Endpoints {
			text := namespace + "/" + slice.Labels[discoveryv1.LabelServiceName] + " " + ep.Addresses[0]
			if ep.Conditions.Ready == nil || *ep.Conditions.Ready {
				text += " ready"
			}
			lines = append(lines, text)
		}
	}
	slices.Sort(lines)
	return lines
}

// becomes waits until read returns the wanted lines.
func becomes(t testing.TB, read func(testing.TB, string) []string, namespace, want string) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		got := strings.Join(read(t, namespace), "\n")
		if got == strings.TrimSuffix(want, "\n") {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("got\n%s\nwant\n%s", got, want)
		case <-tick.C:
		}
	}
}

// TestMistakes makes each mistake against the real API server: it is accepted, it is told once on the Service, and what is right
// beside it keeps working.
func TestMistakes(t *testing.T) {
	c := startCluster(t)
	c.run(t)
	all := mistake.Read(t, "../../why/testdata")
	for _, m := range all {
		c.create(t, m.Objects...)
	}
	c.report(t, nil)
	for _, m := range all {
		t.Run(m.Name, func(t *testing.T) {
			t.Parallel()
			namespace := m.Objects[0].(metav1.Object).GetNamespace()
			becomes(t, c.events, namespace, m.Events)
			becomes(t, c.endpoints, namespace, m.Endpoints)
		})
	}
}

func webService(namespace string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web"},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "web"}, Ports: []corev1.ServicePort{{Port: 80}}},
	}
}

func webPod(namespace string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "web-1", Labels: map[string]string{"app": "web"}},
		Spec:       corev1.PodSpec{NodeName: "n1", Containers: []corev1.Container{{Name: "c", Image: "web"}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.244.0.1", PodIPs: []corev1.PodIP{{IP: "10.244.0.1"}},
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
	}
}

// idleProbe is a mistake that is told at once: when it has been, what came before has been looked at.
func idleProbe(namespace string) *corev1.Service {
	svc := webService(namespace)
	svc.Name, svc.Spec.Selector, svc.Spec.Ports = "sign", nil, nil
	svc.Spec.Type, svc.Spec.ExternalName = corev1.ServiceTypeExternalName, "example.com"
	svc.Annotations = map[string]string{api.AnnotationProbe: "{}"}
	return svc
}

const sign = "Normal ProbeWithoutEffect Service %s/sign: annotation fairlead.dev/probe has no effect on a Service of type ExternalName, which has no endpoints. Remove it"

const noPods = "Warning NoMatchingPods Service %s/web: no pod in namespace %[1]s has the labels of spec.selector: app=web. Create the pods, or correct the selector or the labels of the pods"

// A Service that was applied before its pods is told of only when they do not come.
func TestNotAtOnce(t *testing.T) {
	c := startCluster(t)
	c.run(t)
	c.report(t, func(w *Controller) {
		w.after = func(d time.Duration) time.Duration { return d * 1000 } // no test takes as long
	})
	c.create(t, webService("early"))
	becomes(t, c.endpoints, "early", "")
	c.create(t, idleProbe("early"))
	becomes(t, c.events, "early", fmt.Sprintf(sign, "early"))
	c.create(t, webPod("early"))
	becomes(t, c.endpoints, "early", "early/web 10.244.0.1 ready")
	c.create(t, idleProbe("later"))
	becomes(t, c.events, "later", fmt.Sprintf(sign, "later"))
	becomes(t, c.events, "early", fmt.Sprintf(sign, "early"))
}

// What is wrong is told once, however often the Service is looked at; when it has been right it is told again. It is not told again
// because the program starts anew.
func TestReportedOnce(t *testing.T) {
	c := startCluster(t)
	c.run(t)
	_, stop := c.report(t, nil)
	const space = "once"
	c.create(t, webService(space))
	becomes(t, c.events, space, fmt.Sprintf(noPods, space))
	for i := range 5 { // changes that change nothing about it
		patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"n":"%d"}}}`, i)
		if _, err := c.client.CoreV1().Services(space).Patch(t.Context(), "web", "application/merge-patch+json", patch, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	c.create(t, idleProbe("sign-1"))
	becomes(t, c.events, "sign-1", fmt.Sprintf(sign, "sign-1"))
	becomes(t, c.events, space, fmt.Sprintf(noPods, space))

	stop()
	w, stop := c.report(t, nil)
	c.create(t, idleProbe("sign-2"))
	becomes(t, c.events, "sign-2", fmt.Sprintf(sign, "sign-2"))
	becomes(t, c.events, space, fmt.Sprintf(noPods, space))
	until(t, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		m := w.known[kube.Key(webService(space))]
		return m != nil && len(m.States) == 1 && m.States[0].Reported
	})

	c.create(t, webPod(space))
	until(t, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.known[kube.Key(webService(space))] == nil
	})
	w.mu.Lock()
	w.before = nil // as it is some time after the start
	w.mu.Unlock()
	if err := c.client.CoreV1().Pods(space).Delete(t.Context(), "web-1", metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool {
		list, err := c.client.CoreV1().Events(space).List(t.Context(), metav1.ListOptions{FieldSelector: "reason=NoMatchingPods"})
		times := int32(0)
		for _, e := range list.Items {
			times += e.Count
		}
		return err == nil && times == 2
	})
	stop()
}

func until(t testing.TB, condition func() bool) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-deadline:
			t.Fatal("it does not come about")
		case <-tick.C:
		}
	}
}

// When the pods come but do not start, that is told instead.
func TestTheNextMistake(t *testing.T) {
	c := startCluster(t)
	c.run(t)
	c.report(t, nil)
	const space = "next"
	c.create(t, webService(space))
	becomes(t, c.events, space, fmt.Sprintf(noPods, space))
	pod := webPod(space)
	pod.Spec.NodeName, pod.Status = "", corev1.PodStatus{Phase: corev1.PodPending}
	c.create(t, pod)
	becomes(t, c.events, space, fmt.Sprintf(noPods, space)+"\nWarning NoReadyPods Service next/web: "+
		"the selector matches 1 pod and it is not ready: web-1 is not ready (phase Pending). See kubectl describe pod web-1 -n next")
}

// However many Services are wrong, few Events are written.
func TestNoStorm(t *testing.T) {
	c := startCluster(t)
	w, _ := c.report(t, func(w *Controller) { w.limit = reported.RateLimit{Interval: time.Hour, Burst: 10} })
	const services = 200
	for i := range services {
		svc := webService("storm")
		svc.Name = fmt.Sprint("web-", i)
		c.create(t, svc)
	}
	count := func() int { return len(c.events(t, "storm")) }
	until(t, func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.known) == services
	})
	until(t, func() bool { return count() >= 10 })
	w.mu.Lock()
	next := w.limit.Next
	w.mu.Unlock()
	if n := count(); n != 10 || next.Before(time.Now()) {
		t.Errorf("%d Events, the next at %s", n, next)
	}
}

// 5 000 addresses by hand: the API keeps all of them, the first thousand get traffic, and the person is told.
func TestFiveThousandAddresses(t *testing.T) {
	c := startCluster(t)
	c.run(t)
	c.report(t, nil)
	svc := webService("many")
	svc.Spec.Selector = nil
	ep := &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Namespace: "many", Name: "web"}, Subsets: []corev1.EndpointSubset{{Ports: []corev1.EndpointPort{{Port: 80}}}}}
	for i := range 5000 {
		ep.Subsets[0].Addresses = append(ep.Subsets[0].Addresses, corev1.EndpointAddress{IP: fmt.Sprintf("198.18.%d.%d", i/250, i%250+1)})
	}
	c.create(t, svc, ep)
	becomes(t, c.events, "many", "Warning TooManyAddresses Service many/web: Endpoints web lists 5000 addresses in a subset, of which the first 1000 count: "+
		"4000 addresses get no traffic. Write EndpointSlices, each with up to 1000 endpoints")
	until(t, func() bool { return len(c.endpoints(t, "many")) == 1000 })
	stored, err := c.client.CoreV1().Endpoints("many").Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil || len(stored.Subsets[0].Addresses) != 5000 {
		t.Errorf("%d addresses are stored, %v", len(stored.Subsets[0].Addresses), err)
	}
}

// A selector that is taken away leaves its slice, which is told, also that traffic still goes there.
func TestSelectorTakenAway(t *testing.T) {
	c := startCluster(t)
	c.run(t)
	c.report(t, nil)
	const space = "left"
	c.create(t, webService(space), webPod(space))
	becomes(t, c.endpoints, space, "left/web 10.244.0.1 ready")
	patch := []byte(`{"spec":{"selector":null}}`)
	if _, err := c.client.CoreV1().Services(space).Patch(t.Context(), "web", "application/merge-patch+json", patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool {
		events := strings.Join(c.events(t, space), "\n")
		return strings.HasPrefix(events, "Warning LeftOverSlices Service left/web: EndpointSlice web-") && !strings.Contains(events, "\n")
	})
}

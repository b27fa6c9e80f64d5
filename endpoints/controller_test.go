package endpoints

//lint:file-ignore SA1019 v1 Endpoints are what the tests are about.

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// TestController runs the controller against a real API server, shared by tests that have a
// namespace each.
func TestController(t *testing.T) {
	c := startCluster(t)
	c.run(t)
	for name, test := range map[string]func(*testing.T, *space){
		"pods come, flip and go":                             testPods,
		"E14 labels of pods change":                          testPodLabels,
		"E33 Endpoints edited or deleted by hand come back":  testEndpointsByHand,
		"E67 slices edited or deleted by hand come back":     testSlicesByHand,
		"E32 Endpoints go with their Service":                testServiceDeleted,
		"E1 without selector, and when it is taken away":     testNoSelector,
		"E53 a Service of the same name gets its own slices": testServiceAnew,
		"E57 a pod waits for its node":                       testLateNode,
		"E100 to E108 Endpoints written by hand":             testMirror,
		"E30 more than a thousand addresses":                 testThousand,
		"E36 the namespace is being deleted":                 testNamespaceDeleted,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, c.space(t))
		})
	}
}

func testPods(t *testing.T, s *space) {
	s.createService(t)
	eventually(t, s.objectLines, "web")
	eventually(t, s.sliceLines, "web", "IPv4 ->")
	held := func(p *corev1.Pod) { p.Finalizers = []string{"example.com/hold"} }
	s.createPods(t, webPod("a", "10.0.0.1"), webPod("b", "10.0.0.2", unready, onNode("n2"), held))
	eventually(t, s.objectLines, "web", "10.0.0.1 !10.0.0.2 : http:8080/TCP")
	until(t, func() bool { return len(s.slices(t, "web")[0].Endpoints) == 2 }, func() string { return "no two endpoints" })

	s.updatePod(t, "b", func(p *corev1.Pod) { setReady(p, true, epoch) })
	s.updatePod(t, "a", unready)
	eventually(t, s.objectLines, "web", "10.0.0.2 !10.0.0.1 : http:8080/TCP")
	until(t, func() bool {
		for _, ep := range s.slices(t, "web")[0].Endpoints {
			if *ep.Conditions.Ready != (ep.TargetRef.Name == "b") {
				return false
			}
		}
		return true
	}, func() string { return fmt.Sprint(s.sliceLines(t, "web")) })

	s.deletePods(t, "a")
	eventually(t, s.objectLines, "web", "10.0.0.2 : http:8080/TCP")
	eventually(t, s.sliceLines, "web", "IPv4 http:8080/TCP -> 10.0.0.2(ready,serving)")
	s.deletePods(t, "b") // which stays, terminating, as long as something holds it
	eventually(t, s.objectLines, "web")
	eventually(t, s.sliceLines, "web", "IPv4 http:8080/TCP -> 10.0.0.2(serving,terminating)")
	s.updatePod(t, "b", func(p *corev1.Pod) { p.Finalizers = nil })
	eventually(t, s.sliceLines, "web", "IPv4 ->")
}

func testPodLabels(t *testing.T, s *space) {
	s.createService(t)
	s.createService(t, func(svc *corev1.Service) {
		svc.Name, svc.Spec.Selector = "db", map[string]string{"app": "db"}
	})
	s.createPods(t, webPod("a", "10.0.0.1"))
	eventually(t, s.objectLines, "web", "10.0.0.1 : http:8080/TCP")
	s.updatePod(t, "a", func(p *corev1.Pod) { p.Labels = map[string]string{"app": "db"} })
	for _, read := range []func(testing.TB, string) []string{s.objectLines, s.sliceLines} {
		until(t, func() bool { return len(read(t, "db")) == 1 && len(read(t, "web")) <= 1 }, func() string { return "no move" })
	}
	eventually(t, s.objectLines, "web")
	eventually(t, s.objectLines, "db", "10.0.0.1 : http:8080/TCP")
	eventually(t, s.sliceLines, "web", "IPv4 ->")
	eventually(t, s.sliceLines, "db", "IPv4 http:8080/TCP -> 10.0.0.1(ready,serving)")
}

func testEndpointsByHand(t *testing.T, s *space) {
	s.createService(t)
	s.createPods(t, webPod("a", "10.0.0.1"))
	eventually(t, s.objectLines, "web", "10.0.0.1 : http:8080/TCP")
	api := s.client.CoreV1().Endpoints(s.name)
	if err := api.Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, s.objectLines, "web", "10.0.0.1 : http:8080/TCP")
	ep, err := api.Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ep.Subsets[0].Addresses[0].IP = "10.9.9.9"
	if _, err := api.Update(t.Context(), ep, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, s.objectLines, "web", "10.0.0.1 : http:8080/TCP")
}

func testSlicesByHand(t *testing.T, s *space) {
	const want = "IPv4 http:8080/TCP -> 10.0.0.1(ready,serving)"
	s.createService(t)
	s.createPods(t, webPod("a", "10.0.0.1"))
	eventually(t, s.sliceLines, "web", want)
	api := s.client.DiscoveryV1().EndpointSlices(s.name)
	if err := api.Delete(t.Context(), s.slices(t, "web")[0].Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, s.sliceLines, "web", want)
	slice := s.slices(t, "web")[0]
	slice.Endpoints = nil
	if _, err := api.Update(t.Context(), &slice, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, s.sliceLines, "web", want)
	// A slice that somebody made for the same Service is nobody else's business (rule E87).
	own := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Name: "mine", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"10.9.9.9"}}},
	}
	if _, err := api.Create(t.Context(), own, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	s.updatePod(t, "a", unready)
	eventually(t, s.sliceLines, "web", "IPv4 -> 10.9.9.9()", "IPv4 http:8080/TCP -> 10.0.0.1()")
}

func testServiceDeleted(t *testing.T, s *space) {
	s.createService(t)
	eventually(t, s.objectLines, "web")
	if err := s.client.CoreV1().Services(s.name).Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, s.objectLines, "web", "none")
}

func testNoSelector(t *testing.T, s *space) {
	s.createService(t)
	s.createPods(t, webPod("a", "10.0.0.1"))
	eventually(t, s.objectLines, "web", "10.0.0.1 : http:8080/TCP")
	eventually(t, s.sliceLines, "web", "IPv4 http:8080/TCP -> 10.0.0.1(ready,serving)")
	s.updateService(t, "web", func(svc *corev1.Service) { svc.Spec.Selector = nil })
	s.deletePods(t, "a")
	// The Service that follows the pod is the sign that the deletion has been seen.
	s.createService(t, func(svc *corev1.Service) { svc.Name = "later" })
	eventually(t, s.objectLines, "later")
	eventually(t, s.objectLines, "web", "10.0.0.1 : http:8080/TCP")
}

func testServiceAnew(t *testing.T, s *space) {
	first := s.createService(t)
	s.createPods(t, webPod("a", "10.0.0.1"))
	eventually(t, s.sliceLines, "web", "IPv4 http:8080/TCP -> 10.0.0.1(ready,serving)")
	if err := s.client.CoreV1().Services(s.name).Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	second := s.createService(t)
	until(t, func() bool {
		list := s.slices(t, "web")
		return len(list) == 1 && list[0].OwnerReferences[0].UID == second.UID
	}, func() string { return fmt.Sprintf("Service %s, now %s: %v", first.UID, second.UID, s.slices(t, "web")) })
}

func testLateNode(t *testing.T, s *space) {
	s.createService(t)
	s.createPods(t, webPod("a", "10.0.0.1", onNode("late")))
	eventually(t, s.objectLines, "web", "10.0.0.1 : http:8080/TCP")
	eventually(t, s.sliceLines, "web", "IPv4 ->")
	s.createNode(t, "late", "c")
	eventually(t, s.sliceLines, "web", "IPv4 http:8080/TCP -> 10.0.0.1(ready,serving)")
	if ep := s.slices(t, "web")[0].Endpoints[0]; ep.Zone == nil || *ep.Zone != "c" {
		t.Errorf("zone: %v", ep.Zone)
	}
	patch := []byte(`{"metadata":{"labels":{"topology.kubernetes.io/zone":"d"}}}`)
	if _, err := s.client.CoreV1().Nodes().Patch(t.Context(), "late", types.StrategicMergePatchType, patch, metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return *s.slices(t, "web")[0].Endpoints[0].Zone == "d" }, func() string { return "the zone stays c" })
}

func testMirror(t *testing.T, s *space) {
	api := s.client.CoreV1().Endpoints(s.name)
	s.createService(t, func(svc *corev1.Service) { svc.Spec.Selector = nil })
	ep := handWritten(subset([]string{"10.5.0.1", "!10.5.0.2"}, 2379))
	ep.ObjectMeta = metav1.ObjectMeta{Name: "web"}
	ep, err := api.Create(t.Context(), ep, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, s.sliceLines, "web", "IPv4 p2379:2379/TCP -> 10.5.0.1(ready) 10.5.0.2()")

	ep.Subsets[0] = subset([]string{"10.5.0.1", "10.5.0.2", "10.5.0.3"}, 2379)
	if ep, err = api.Update(t.Context(), ep, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, s.sliceLines, "web", "IPv4 p2379:2379/TCP -> 10.5.0.1(ready) 10.5.0.2(ready) 10.5.0.3(ready)")

	slice := s.slices(t, "web")[0]
	if err := s.client.DiscoveryV1().EndpointSlices(s.name).Delete(t.Context(), slice.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { list := s.slices(t, "web"); return len(list) == 1 && list[0].UID != slice.UID }, func() string { return "not mirrored again" })

	ep.Labels = map[string]string{discoveryv1.LabelSkipMirror: "true"}
	if ep, err = api.Update(t.Context(), ep, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, s.sliceLines, "web")
	ep.Labels = nil
	if _, err = api.Update(t.Context(), ep, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, s.sliceLines, "web", "IPv4 p2379:2379/TCP -> 10.5.0.1(ready) 10.5.0.2(ready) 10.5.0.3(ready)")

	s.updateService(t, "web", func(svc *corev1.Service) { svc.Spec.Selector = map[string]string{"app": "web"} })
	eventually(t, s.sliceLines, "web", "IPv4 ->") // the mirror is gone, the selector's placeholder is there
	eventually(t, s.objectLines, "web")
}

func testThousand(t *testing.T, s *space) {
	s.createService(t)
	s.createPods(t, webPods(0, 1030)...)
	until(t, func() bool {
		total := 0
		for _, slice := range s.slices(t, "web") {
			if total += len(slice.Endpoints); len(slice.Endpoints) > 100 {
				t.Fatalf("%s has %d endpoints", slice.Name, len(slice.Endpoints))
			}
		}
		return total == 1030
	}, func() string { return fmt.Sprint(s.sliceLines(t, "web")) })
	seen := map[string]bool{}
	for _, slice := range s.slices(t, "web") {
		for _, ep := range slice.Endpoints {
			if seen[ep.TargetRef.Name] {
				t.Errorf("%s is in two slices", ep.TargetRef.Name)
			}
			seen[ep.TargetRef.Name] = true
		}
	}
	until(t, func() bool {
		ep, err := s.client.CoreV1().Endpoints(s.name).Get(t.Context(), "web", metav1.GetOptions{})
		return err == nil && len(ep.Subsets) == 1 && len(ep.Subsets[0].Addresses) == 1000 &&
			ep.Annotations[corev1.EndpointsOverCapacity] == "truncated"
	}, func() string { return "the Endpoints object is not truncated" })
}

func testNamespaceDeleted(t *testing.T, s *space) {
	ns, err := s.client.CoreV1().Namespaces().Get(t.Context(), s.name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.createService(t)
	eventually(t, s.sliceLines, "web", "IPv4 ->")
	if err := s.client.CoreV1().Namespaces().Delete(t.Context(), ns.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.client.DiscoveryV1().EndpointSlices(s.name).Delete(t.Context(), s.slices(t, "web")[0].Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	// The refusal is not reported as a failure; another Service is the sign that time has passed.
	other := s.space(t)
	other.createService(t)
	eventually(t, other.sliceLines, "web", "IPv4 ->")
	events, err := s.client.CoreV1().Events(s.name).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(events.Items) > 0 {
		t.Errorf("events: %v", events.Items)
	}
}

// One flip of one pod costs one write of each kind, and an irrelevant change costs none.
func TestR37_OneFlipIsOneWrite(t *testing.T) {
	c := startCluster(t)
	w, _ := c.run(t)
	s := c.space(t)
	s.createService(t)
	s.createPods(t, webPods(0, 150)...)
	until(t, func() bool { lines := s.objectLines(t, "web"); return len(lines) == 1 && len(s.slices(t, "web")) == 2 }, func() string { return "not settled" })
	until(t, func() bool {
		total := 0
		for _, slice := range s.slices(t, "web") {
			total += len(slice.Endpoints)
		}
		ep, err := c.client.CoreV1().Endpoints(s.name).Get(t.Context(), "web", metav1.GetOptions{})
		return total == 150 && err == nil && len(ep.Subsets[0].Addresses) == 150
	}, func() string { return "not settled" })
	settle(t, w)
	before := w.writes.Load()
	s.updatePod(t, "p0007", func(p *corev1.Pod) { p.Status.Message = "nothing that matters" })
	s.updatePod(t, "p0007", unready)
	until(t, func() bool { return w.writes.Load() >= before+2 }, func() string { return "no write" })
	settle(t, w)
	if n := w.writes.Load() - before; n != 2 {
		t.Errorf("%d writes, want one slice and one Endpoints object", n)
	}
}

// settle waits until nothing has been written for longer than a loop rechecks.
func settle(t *testing.T, w *wire) {
	t.Helper()
	quiet, last := time.Now(), w.writes.Load()
	until(t, func() bool {
		if n := w.writes.Load(); n != last {
			quiet, last = time.Now(), n
		}
		return time.Since(quiet) > recheckDelay+recheckDelay/2
	}, func() string { return "writes without end" })
}

// A controller that dies between two writes leaves a state that the next one completes.
func TestRestartBetweenTwoWrites(t *testing.T) {
	c := startCluster(t)
	s := c.space(t)
	s.createService(t)
	s.createPods(t, webPods(0, 250)...)
	for _, allowed := range []int32{1, 1, 0, 3} {
		w, stop := c.run(t)
		var count atomic.Int32
		refused := make(chan struct{}, 1000)
		w.refuse(func(r *http.Request) error {
			if !write(r, "endpointslices") || count.Add(1) <= allowed {
				return nil
			}
			refused <- struct{}{}
			return errors.New("cut off")
		})
		if allowed < 3 {
			<-refused
			stop()
			continue
		}
		eventually(t, s.sliceLines, "web",
			"IPv4 http:8080/TCP -> 100 endpoints", "IPv4 http:8080/TCP -> 100 endpoints", "IPv4 http:8080/TCP -> 50 endpoints")
	}
}

// Endpoints without a Service are removed at start, locks are not (rule E34).
func TestE34_OrphansAreRemovedAtStart(t *testing.T) {
	c := startCluster(t)
	s := c.space(t)
	for name, annotations := range map[string]map[string]string{
		"orphan": nil,
		"lock":   {"control-plane.alpha.kubernetes.io/leader": "{}"},
	} {
		ep := &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: annotations}}
		if _, err := c.client.CoreV1().Endpoints(s.name).Create(t.Context(), ep, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	c.run(t)
	eventually(t, s.objectLines, "orphan", "none")
	eventually(t, s.objectLines, "lock")
}

// While the watches are late, nothing is created twice and no flip is lost (rules E37 and E68).
func TestE68_LateWatches(t *testing.T) {
	c := startCluster(t)
	w, _ := c.run(t)
	s := c.space(t)
	s.createService(t)
	pods := webPods(0, 120)
	s.createPods(t, pods...)
	w.lag.Store(int64(30 * time.Millisecond))
	random := rand.New(rand.NewPCG(1, 1))
	ready := map[string]bool{}
	for range 150 {
		name := pods[random.IntN(len(pods))].Name
		ready[name] = random.IntN(2) == 0
		s.updatePod(t, name, func(p *corev1.Pod) { setReady(p, ready[name], epoch) })
	}
	until(t, func() bool {
		seen := map[string]int{}
		for _, slice := range s.slices(t, "web") {
			for _, ep := range slice.Endpoints {
				name := ep.TargetRef.Name
				if want, flipped := ready[name]; flipped && *ep.Conditions.Ready != want {
					return false
				}
				seen[name]++
			}
		}
		for name, n := range seen {
			if n != 1 {
				t.Fatalf("%s is in %d slices", name, n)
			}
		}
		return len(seen) == 120
	}, func() string { return "slices do not follow" })
	if n := len(s.slices(t, "web")); n != 2 {
		t.Errorf("%d slices, want 2", n)
	}
}

// A failure is told where people look, and does not stop other Services (rule E72).
func TestE36_E72_EventsOnTheService(t *testing.T) {
	c := startCluster(t)
	w, _ := c.run(t)
	broken, sound := c.space(t), c.space(t)
	w.refuse(func(r *http.Request) error {
		if write(r, "") && strings.Contains(r.URL.Path, "/"+broken.name+"/") {
			return errors.New("out of order")
		}
		return nil
	})
	broken.createService(t)
	sound.createService(t)
	eventually(t, sound.sliceLines, "web", "IPv4 ->")
	for _, reason := range []string{"FailedToUpdateEndpointSlices", "FailedToCreateEndpoint"} {
		until(t, func() bool {
			events, err := c.client.CoreV1().Events(broken.name).List(context.Background(), metav1.ListOptions{})
			return err == nil && slices.ContainsFunc(events.Items, func(e corev1.Event) bool {
				return e.Reason == reason && e.Type == corev1.EventTypeWarning && e.InvolvedObject.Kind == "Service" && e.InvolvedObject.Name == "web"
			})
		}, func() string { return "no event " + reason })
	}
	w.refuse(nil)
	eventually(t, broken.sliceLines, "web", "IPv4 ->")
	eventually(t, broken.objectLines, "web")
	broken.updateService(t, "web", func(svc *corev1.Service) { svc.Spec.Ports[0].TargetPort = intstr.FromInt32(1) })
}

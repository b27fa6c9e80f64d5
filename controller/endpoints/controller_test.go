package endpoints

//lint:file-ignore SA1019 v1 Endpoints are what the tests are about.

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"fairlead.dev/fairlead/controller/endpoints/sample"
)

// alone is a namespace in a cluster of its own, in which the controller runs.
func alone(t *testing.T) *space {
	t.Helper()
	t.Parallel()
	c := startCluster(t)
	w, _ := c.run(t)
	s := c.space(t)
	s.wire = w
	return s
}

func TestPodsComeFlipAndGo(t *testing.T) {
	s := alone(t)
	s.createService(t)
	eventually(t, s.objectLines, "web")
	eventually(t, s.sliceLines, "web", "IPv4 ->")
	held := func(p *corev1.Pod) { p.Finalizers = []string{"example.com/hold"} }
	s.createPods(t, sample.Pod("a", "10.0.0.1"), sample.Pod("b", "10.0.0.2", sample.Unready, sample.OnNode("n2"), held))
	eventually(t, s.objectLines, "web", "10.0.0.1 !10.0.0.2 : http:8080/TCP")
	until(t, func() bool { return len(s.slices(t, "web")[0].Endpoints) == 2 }, func() string { return "no two endpoints" })

	s.updatePod(t, "b", func(p *corev1.Pod) { sample.SetReady(p, true, sample.Epoch) })
	s.updatePod(t, "a", sample.Unready)
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

// One pod whose address the API refuses in a slice must not keep the others out.
func TestE4_OneUnusableAddressFreezesNobody(t *testing.T) {
	s := alone(t)
	s.createService(t)
	s.createPods(t, sample.Pod("a", "127.0.0.1"), sample.Pod("b", "10.0.0.2"), sample.Pod("c", "169.254.169.254"))
	eventually(t, s.objectLines, "web", "10.0.0.2 : http:8080/TCP")
	eventually(t, s.sliceLines, "web", "IPv4 http:8080/TCP -> 10.0.0.2(ready,serving)")
}

func TestE14_PodsMoveByTheirLabels(t *testing.T) {
	s := alone(t)
	s.createService(t)
	s.createService(t, func(svc *corev1.Service) {
		svc.Name, svc.Spec.Selector = "db", map[string]string{"app": "db"}
	})
	s.createPods(t, sample.Pod("a", "10.0.0.1"))
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

func TestE16_APodStandsBehindEveryServiceThatSelectsIt(t *testing.T) {
	s := alone(t)
	s.createService(t)
	s.createService(t, func(svc *corev1.Service) {
		svc.Name, svc.Spec.Selector = "all", map[string]string{"tier": "front"}
		svc.Spec.Ports[0].TargetPort = intstr.FromInt32(9090)
	})
	s.createPods(t,
		sample.Pod("a", "10.0.0.1", func(p *corev1.Pod) { p.Labels["tier"] = "front" }),
		sample.Pod("b", "10.0.0.2", func(p *corev1.Pod) { p.Labels = map[string]string{"tier": "front"} }))
	eventually(t, s.objectLines, "web", "10.0.0.1 : http:8080/TCP")
	eventually(t, s.objectLines, "all", "10.0.0.1 10.0.0.2 : http:9090/TCP")
	settle(t, s.wire)
	s.updatePod(t, "a", sample.Unready)
	eventually(t, s.objectLines, "web", "!10.0.0.1 : http:8080/TCP")
	eventually(t, s.objectLines, "all", "10.0.0.2 !10.0.0.1 : http:9090/TCP")
}

func TestE32_EndpointsGoWithTheirService(t *testing.T) {
	s := alone(t)
	s.createService(t)
	eventually(t, s.objectLines, "web")
	api := s.client.CoreV1().Services(s.name)
	if err := api.Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, s.objectLines, "web", "none")
	// Services that live for a moment leave nothing behind, whichever event comes first.
	for i := range 60 {
		name := fmt.Sprint("short-", i)
		s.createService(t, func(svc *corev1.Service) { svc.Name = name })
		if i%3 > 0 {
			eventually(t, s.objectLines, name)
		}
		if i%3 > 1 {
			if err := s.client.CoreV1().Endpoints(s.name).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := api.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	var left []corev1.Endpoints
	until(t, func() bool {
		list, err := s.client.CoreV1().Endpoints(s.name).List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		left = list.Items
		return len(left) == 0
	}, func() string { return fmt.Sprintf("%d Endpoints objects are left", len(left)) })
}

func TestE53_AServiceOfTheSameNameGetsItsOwnSlices(t *testing.T) {
	s := alone(t)
	first := s.createService(t)
	s.createPods(t, sample.Pod("a", "10.0.0.1"))
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

func TestE57_APodWaitsForItsNode(t *testing.T) {
	s := alone(t)
	s.createService(t)
	s.createPods(t, sample.Pod("a", "10.0.0.1", sample.OnNode("late")))
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

func TestE30_MoreThanAThousandAddresses(t *testing.T) {
	s := alone(t)
	s.createService(t)
	s.createPods(t, sample.Pods(0, 1030)...)
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

func TestE36_ANamespaceThatEndsIsNoFailure(t *testing.T) {
	s := alone(t)
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

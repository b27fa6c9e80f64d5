package plan

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/controller/endpoints/sample"
)

// planned returns the slices of a Service that has none yet, as text.
func planned(t *testing.T, svc *corev1.Service, pods ...*corev1.Pod) []string {
	t.Helper()
	return new(store).sync(t, svc, pods)
}

// onlySlice returns the one slice that a plan creates.
func onlySlice(t *testing.T, svc *corev1.Service, pods ...*corev1.Pod) *discoveryv1.EndpointSlice {
	t.Helper()
	plan, _ := Slices(svc, pods, sample.Nodes(), nil)
	if len(plan.Create) != 1 {
		t.Fatalf("plan creates %d slices, want 1", len(plan.Create))
	}
	return plan.Create[0]
}

func TestE50_LabelsAreTheServicesAndThreeOfOurOwn(t *testing.T) {
	svc := sample.Service(func(s *corev1.Service) {
		s.Labels[discoveryv1.LabelManagedBy] = "me"
		s.Labels[corev1.IsHeadlessService] = ""
	})
	want := map[string]string{
		"team":                       "a",
		discoveryv1.LabelServiceName: "web",
		discoveryv1.LabelManagedBy:   "endpointslice-controller.k8s.io",
	}
	if got := onlySlice(t, svc).Labels; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	svc.Spec.ClusterIP = corev1.ClusterIPNone
	want[corev1.IsHeadlessService] = ""
	if got := onlySlice(t, svc).Labels; !maps.Equal(got, want) {
		t.Errorf("headless: got %v, want %v", got, want)
	}
}

func TestE50_LabelsAddedByHandAreRemoved(t *testing.T) {
	var s store
	pods := sample.Pods(0, 1)
	s.sync(t, sample.Service(), pods)
	s.slices["web-1"].Labels["mine"] = "yes"
	equal(t, s.sync(t, sample.Service(), pods), "update web-1 IPv4 http:8080/TCP -> 10.244.0.1(ready,serving)")
	if _, still := s.slices["web-1"].Labels["mine"]; still {
		t.Error("the label is still there")
	}
}

func TestE51_TriggerTime(t *testing.T) {
	const annotation = corev1.EndpointsLastChangeTriggerTime
	var s store
	s.sync(t, sample.Service(), sample.Pods(0, 150))
	for name, slice := range s.slices {
		if got := slice.Annotations[annotation]; got != "2026-01-02T03:04:05Z" {
			t.Errorf("%s: first slices: got %q, want the creation of the Service", name, got)
		}
	}
	pods := sample.Pods(0, 150)
	sample.SetReady(pods[3], false, sample.Epoch.Add(1500*time.Millisecond))
	sample.SetReady(pods[4], false, sample.Epoch.Add(time.Second))
	s.sync(t, sample.Service(), pods)
	if got := s.slices["web-1"].Annotations[annotation]; got != "2026-01-02T03:04:06Z" {
		t.Errorf("after two flips: got %q, want the earlier one", got)
	}
	if got := s.slices["web-2"].Annotations[annotation]; got != "2026-01-02T03:04:05Z" {
		t.Errorf("the slice that is not written: got %q, want it as it was", got)
	}
	s.slices["web-1"].Annotations["mine"] = "kept"
	s.sync(t, sample.Service(), pods[1:])
	got := s.slices["web-1"].Annotations
	if _, still := got[annotation]; still || got["mine"] != "kept" {
		t.Errorf("after a deletion, which has no trigger: got %v", got)
	}
}

func TestE51_ServiceAnnotationsAreNotCopied(t *testing.T) {
	svc := sample.Service(func(s *corev1.Service) { s.Annotations = map[string]string{"a": "b"} })
	if _, copied := onlySlice(t, svc, sample.Pods(0, 1)...).Annotations["a"]; copied {
		t.Error("copied")
	}
}

func TestE52_GenerateName(t *testing.T) {
	if got := onlySlice(t, sample.Service()).GenerateName; got != "web-" {
		t.Errorf("got %q", got)
	}
	long := strings.Repeat("a", 300)
	if got := generateName(long); got != long {
		t.Errorf("a name to which no dash can be added: got %d characters", len(got))
	}
}

func TestE53_OwnerIsTheServiceByUID(t *testing.T) {
	var s store
	s.sync(t, sample.Service(), sample.Pods(0, 1))
	want := metav1.OwnerReference{
		APIVersion: "v1", Kind: "Service", Name: "web", UID: "svc-1",
		Controller: ptr.To(true), BlockOwnerDeletion: ptr.To(true),
	}
	if got := s.slices["web-1"].OwnerReferences; len(got) != 1 || fmt.Sprint(got[0].String()) != fmt.Sprint(want.String()) {
		t.Errorf("got %v, want %v", got, want)
	}
	again := sample.Service(func(s *corev1.Service) { s.UID = "svc-2" })
	equal(t, s.sync(t, again, sample.Pods(0, 1)),
		"create IPv4 http:8080/TCP -> 10.244.0.1(ready,serving)",
		"delete web-1")
}

func dualStack(svc *corev1.Service) {
	svc.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}
}

func TestE54_OneGroupPerFamilyAndPortList(t *testing.T) {
	var s store
	pod := sample.Pod("a", "10.0.0.1", func(p *corev1.Pod) {
		p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: "fd00::1"})
	})
	equal(t, s.sync(t, sample.Service(dualStack), []*corev1.Pod{pod, sample.Pod("b", "10.0.0.2")}),
		"create IPv4 http:8080/TCP -> 10.0.0.1(ready,serving) 10.0.0.2(ready,serving)",
		"create IPv6 http:8080/TCP -> fd00::1(ready,serving)")
	equal(t, s.sync(t, sample.Service(), []*corev1.Pod{pod, sample.Pod("b", "10.0.0.2")}), "delete web-2")
}

func TestE55_AtMostOneHundredPerSlice(t *testing.T) {
	equal(t, planned(t, sample.Service(), sample.Pods(0, 250)...),
		"create IPv4 http:8080/TCP -> 100 endpoints",
		"create IPv4 http:8080/TCP -> 100 endpoints",
		"create IPv4 http:8080/TCP -> 50 endpoints")
}

func TestE56_Conditions(t *testing.T) {
	for _, c := range []struct {
		name string
		pod  *corev1.Pod
		want string
	}{
		{"ready", sample.Pod("a", "10.0.0.1"), "10.0.0.1(ready,serving)"},
		{"not ready", sample.Pod("a", "10.0.0.1", sample.Unready), "10.0.0.1()"},
		{"ready and terminating", sample.Pod("a", "10.0.0.1", sample.Terminating), "10.0.0.1(serving,terminating)"},
		{"not ready and terminating", sample.Pod("a", "10.0.0.1", sample.Unready, sample.Terminating), "10.0.0.1(terminating)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ep := onlySlice(t, sample.Service(), c.pod).Endpoints[0]
			if got := sample.EndpointText(&ep); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if ep.Conditions.Ready == nil || ep.Conditions.Serving == nil || ep.Conditions.Terminating == nil {
				t.Error("a condition is nil")
			}
		})
	}
}

func TestE57_NodeAndZone(t *testing.T) {
	for _, c := range []struct {
		node string
		svc  *corev1.Service
		want string
		wait int
	}{
		{"n1", sample.Service(), "n1 a", 0},
		{"n0", sample.Service(), "n0 ", 0},
		{"unknown", sample.Service(), "", 1},
		{"unknown", sample.Service(sample.PublishNotReady), "unknown ", 0},
		{"", sample.Service(), " ", 0},
	} {
		plan, remarks := Slices(c.svc, []*corev1.Pod{sample.Pod("a", "10.0.0.1", sample.OnNode(c.node))}, sample.Nodes(), nil)
		got := ""
		if eps := plan.Create[0].Endpoints; len(eps) > 0 {
			got = ptr.Deref(eps[0].NodeName, "") + " " + ptr.Deref(eps[0].Zone, "")
		}
		if got != c.want || len(remarks.Waiting) != c.wait {
			t.Errorf("node %q: got %q and %d waiting, want %q and %d", c.node, got, len(remarks.Waiting), c.want, c.wait)
		}
	}
}

func TestE57_ZoneOfTheNodeChanges(t *testing.T) {
	pods := sample.Pods(0, 1)
	existing := stored(sample.Service(), pods)
	nodes := sample.Nodes()
	nodes["n1"].Labels[corev1.LabelTopologyZone] = "c"
	plan, _ := Slices(sample.Service(), pods, nodes, existing)
	if len(plan.Update) != 1 || *plan.Update[0].Endpoints[0].Zone != "c" {
		t.Errorf("got %v", describe(plan))
	}
}

func TestE58_AddressesAreCanonical(t *testing.T) {
	v6 := sample.Service(func(s *corev1.Service) { s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol} })
	equal(t, planned(t, v6, sample.Pod("a", "FD00:0::0:1")), "create IPv6 http:8080/TCP -> fd00::1(ready,serving)")
	equal(t, planned(t, sample.Service(), sample.Pod("a", "010.0.0.001")), "create IPv4 http:8080/TCP -> 10.0.0.1(ready,serving)")
}

func TestE66_ServiceBeingDeletedGetsNoNewSlices(t *testing.T) {
	going := func(s *corev1.Service) { s.DeletionTimestamp = ptr.To(metav1.NewTime(sample.Epoch)) }
	equal(t, planned(t, sample.Service(going), sample.Pods(0, 1)...))
	var s store
	s.sync(t, sample.Service(), sample.Pods(0, 2))
	equal(t, s.sync(t, sample.Service(going), sample.Pods(0, 1)), "update web-1 IPv4 http:8080/TCP -> 10.244.0.1(ready,serving)")
}

func TestE69_PortChanges(t *testing.T) {
	two := func(svc *corev1.Service) {
		svc.Spec.Ports = append(svc.Spec.Ports, corev1.ServicePort{Name: "dns", Port: 53, TargetPort: intstr.FromInt32(53), Protocol: corev1.ProtocolUDP})
	}
	var s store
	pods := sample.Pods(0, 1)
	s.sync(t, sample.Service(two), pods)
	equal(t, s.sync(t, sample.Service(two, func(svc *corev1.Service) { slices.Reverse(svc.Spec.Ports) }), pods))
	equal(t, s.sync(t, sample.Service(two, func(svc *corev1.Service) { svc.Spec.Ports[1].Protocol = corev1.ProtocolTCP }), pods),
		"update web-1 IPv4 dns:53/TCP http:8080/TCP -> 10.244.0.1(ready,serving)")
	equal(t, s.sync(t, sample.Service(), pods), "update web-1 IPv4 http:8080/TCP -> 10.244.0.1(ready,serving)")
}

// The order of ports does not count either when they lead to the same number, or are of two protocols.
func TestE69_OrderOfPorts(t *testing.T) {
	for _, last := range []corev1.ServicePort{
		{Name: "also", Port: 81, TargetPort: intstr.FromInt32(8080), Protocol: corev1.ProtocolTCP},
		{Name: "http-udp", Port: 80, TargetPort: intstr.FromInt32(8080), Protocol: corev1.ProtocolUDP},
		{Name: "other", Port: 82, TargetPort: intstr.FromInt32(82), Protocol: corev1.ProtocolTCP},
	} {
		two := func(svc *corev1.Service) { svc.Spec.Ports = append(svc.Spec.Ports, last) }
		var s store
		s.sync(t, sample.Service(two), sample.Pods(0, 1))
		equal(t, s.sync(t, sample.Service(two, func(svc *corev1.Service) { slices.Reverse(svc.Spec.Ports) }), sample.Pods(0, 1)))
	}
}

func TestE70_PublishNotReadyAddresses(t *testing.T) {
	equal(t, planned(t, sample.Service(sample.PublishNotReady),
		sample.Pod("a", "10.0.0.1", sample.Unready), sample.Pod("b", "10.0.0.2", sample.Terminating), sample.Pod("c", "10.0.0.3", sample.Unready, sample.Terminating)),
		"create IPv4 http:8080/TCP -> 10.0.0.1(ready) 10.0.0.2(ready,serving,terminating) 10.0.0.3(ready,terminating)")
}

func TestE71_ResourceVersionOfTheReferenceDoesNotCount(t *testing.T) {
	var s store
	s.sync(t, sample.Service(), sample.Pods(0, 1))
	s.slices["web-1"].Endpoints[0].TargetRef.ResourceVersion = "77"
	equal(t, s.sync(t, sample.Service(), sample.Pods(0, 1)))
}

func TestHeadlessWithoutPorts(t *testing.T) {
	svc := sample.Service(func(s *corev1.Service) { s.Spec.ClusterIP, s.Spec.Ports = corev1.ClusterIPNone, nil })
	var s store
	equal(t, s.sync(t, svc, nil), "create IPv4 ->")
	equal(t, s.sync(t, svc, sample.Pods(0, 1)), "update web-1 IPv4 -> 10.244.0.1(ready,serving)")
	equal(t, s.sync(t, svc, nil), "update web-1 IPv4 ->")
}

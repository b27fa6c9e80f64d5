package endpoints

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
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

// planned returns the slices of a Service that has none yet, as text.
func planned(t *testing.T, svc *corev1.Service, pods ...*corev1.Pod) []string {
	t.Helper()
	return new(store).sync(t, svc, pods)
}

// onlySlice returns the one slice that a plan creates.
func onlySlice(t *testing.T, svc *corev1.Service, pods ...*corev1.Pod) *discoveryv1.EndpointSlice {
	t.Helper()
	plan, _ := planSlices(svc, pods, someNodes(), nil)
	if len(plan.create) != 1 {
		t.Fatalf("plan creates %d slices, want 1", len(plan.create))
	}
	return plan.create[0]
}

func TestE3_EndedPodsAreNoEndpoints(t *testing.T) {
	evicted := webPod("a", "10.0.0.1", func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed })
	completed := webPod("b", "10.0.0.2", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded })
	for _, svc := range []*corev1.Service{webService(), webService(publishNotReady)} {
		equal(t, planned(t, svc, evicted, completed), "create IPv4 ->")
	}
}

func TestE4_PodsWithoutAddressAreNoEndpoints(t *testing.T) {
	pod := webPod("a", "", func(p *corev1.Pod) { p.Status.PodIPs = nil })
	equal(t, planned(t, webService(publishNotReady), pod), "create IPv4 ->")
}

func TestE6_ReadyIsTheReadyCondition(t *testing.T) {
	silent := webPod("b", "10.0.0.2", func(p *corev1.Pod) { p.Status.Conditions = nil })
	equal(t, planned(t, webService(), webPod("a", "10.0.0.1"), silent, webPod("c", "10.0.0.3", unready)),
		"create IPv4 http:8080/TCP -> 10.0.0.1(ready,serving) 10.0.0.2() 10.0.0.3()")
}

// namedTarget makes the Service's port refer to the container port "serve".
func namedTarget(svc *corev1.Service) { svc.Spec.Ports[0].TargetPort = intstr.FromString("serve") }

// serves gives the pod's first container a port named "serve".
func serves(port int32, protocol corev1.Protocol) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		c := &pod.Spec.Containers[0]
		c.Ports = append(c.Ports, corev1.ContainerPort{Name: "serve", ContainerPort: port, Protocol: protocol})
	}
}

func TestE7_NumericTargetNeedsNoDeclaration(t *testing.T) {
	equal(t, planned(t, webService(), webPod("a", "10.0.0.1")), "create IPv4 http:8080/TCP -> 10.0.0.1(ready,serving)")
}

func TestE8_NamedTargetMatchesNameAndProtocol(t *testing.T) {
	sidecar := func(policy *corev1.ContainerRestartPolicy) *corev1.Pod {
		return webPod("a", "10.0.0.1", func(p *corev1.Pod) {
			p.Spec.InitContainers = []corev1.Container{{
				Name: "i", RestartPolicy: policy,
				Ports: []corev1.ContainerPort{{Name: "serve", ContainerPort: 9}},
			}}
		})
	}
	for _, c := range []struct {
		name string
		pod  *corev1.Pod
		want string
	}{
		{"of the same protocol", webPod("a", "10.0.0.1", serves(1, corev1.ProtocolUDP), serves(2, corev1.ProtocolTCP)), "create IPv4 http:2/TCP -> 10.0.0.1(ready,serving)"},
		{"no protocol is TCP", webPod("a", "10.0.0.1", serves(3, "")), "create IPv4 http:3/TCP -> 10.0.0.1(ready,serving)"},
		{"of a sidecar", sidecar(ptr.To(corev1.ContainerRestartPolicyAlways)), "create IPv4 http:9/TCP -> 10.0.0.1(ready,serving)"},
		{"not of an init container", sidecar(nil), "create IPv4 -> 10.0.0.1(ready,serving)"},
		{"containers come first", func() *corev1.Pod {
			p := sidecar(ptr.To(corev1.ContainerRestartPolicyAlways))
			serves(4, corev1.ProtocolTCP)(p)
			return p
		}(), "create IPv4 http:4/TCP -> 10.0.0.1(ready,serving)"},
	} {
		t.Run(c.name, func(t *testing.T) { equal(t, planned(t, webService(namedTarget), c.pod), c.want) })
	}
}

func TestE9_NamedTargetMayDifferFromPodToPod(t *testing.T) {
	equal(t, planned(t, webService(namedTarget),
		webPod("a", "10.0.0.1", serves(8080, "TCP")), webPod("b", "10.0.0.2", serves(9090, "TCP"))),
		"create IPv4 http:8080/TCP -> 10.0.0.1(ready,serving)",
		"create IPv4 http:9090/TCP -> 10.0.0.2(ready,serving)")
}

func TestE10_PodWithoutTheNamedPortIsInASliceWithoutPorts(t *testing.T) {
	equal(t, planned(t, webService(namedTarget), webPod("a", "10.0.0.1")), "create IPv4 -> 10.0.0.1(ready,serving)")
}

func TestE11_PortsAreNamedAfterTheServicePort(t *testing.T) {
	svc := webService(func(s *corev1.Service) {
		s.Spec.Ports[0].Name = ""
		s.Spec.Ports[0].AppProtocol = ptr.To("kubernetes.io/h2c")
	})
	port := onlySlice(t, svc, webPod("a", "10.0.0.1")).Ports[0]
	if port.Name == nil || *port.Name != "" {
		t.Errorf("name = %v, want a pointer to the empty name", port.Name)
	}
	if ptr.Deref(port.AppProtocol, "") != "kubernetes.io/h2c" {
		t.Errorf("appProtocol = %v", port.AppProtocol)
	}
}

func TestE12_HostnameNeedsTheServiceAsSubdomain(t *testing.T) {
	for _, c := range []struct{ hostname, subdomain, want string }{
		{"a-0", "web", "a-0"},
		{"a-0", "", ""},
		{"a-0", "other", ""},
		{"", "web", ""},
	} {
		pod := webPod("a", "10.0.0.1", func(p *corev1.Pod) { p.Spec.Hostname, p.Spec.Subdomain = c.hostname, c.subdomain })
		got := onlySlice(t, webService(), pod).Endpoints[0].Hostname
		if ptr.Deref(got, "") != c.want || got != nil && *got == "" {
			t.Errorf("hostname %q, subdomain %q: got %v, want %q", c.hostname, c.subdomain, got, c.want)
		}
	}
}

func TestE13_TargetRefNamesThePod(t *testing.T) {
	got := onlySlice(t, webService(), webPod("a", "10.0.0.1")).Endpoints[0].TargetRef
	if want := (corev1.ObjectReference{Kind: "Pod", Namespace: "default", Name: "a", UID: "uid-a"}); *got != want {
		t.Errorf("got %v, want %v", *got, want)
	}
}

func TestE50_LabelsAreTheServicesAndThreeOfOurOwn(t *testing.T) {
	svc := webService(func(s *corev1.Service) {
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
	pods := webPods(0, 1)
	s.sync(t, webService(), pods)
	s.slices["web-1"].Labels["mine"] = "yes"
	equal(t, s.sync(t, webService(), pods), "update web-1 IPv4 http:8080/TCP -> 10.244.0.1(ready,serving)")
	if _, still := s.slices["web-1"].Labels["mine"]; still {
		t.Error("the label is still there")
	}
}

func TestE51_TriggerTime(t *testing.T) {
	const annotation = corev1.EndpointsLastChangeTriggerTime
	var s store
	s.sync(t, webService(), webPods(0, 150))
	for name, slice := range s.slices {
		if got := slice.Annotations[annotation]; got != "2026-01-02T03:04:05Z" {
			t.Errorf("%s: first slices: got %q, want the creation of the Service", name, got)
		}
	}
	pods := webPods(0, 150)
	setReady(pods[3], false, epoch.Add(1500*time.Millisecond))
	setReady(pods[4], false, epoch.Add(time.Second))
	s.sync(t, webService(), pods)
	if got := s.slices["web-1"].Annotations[annotation]; got != "2026-01-02T03:04:06Z" {
		t.Errorf("after two flips: got %q, want the earlier one", got)
	}
	if got := s.slices["web-2"].Annotations[annotation]; got != "2026-01-02T03:04:05Z" {
		t.Errorf("the slice that is not written: got %q, want it as it was", got)
	}
	s.slices["web-1"].Annotations["mine"] = "kept"
	s.sync(t, webService(), pods[1:])
	got := s.slices["web-1"].Annotations
	if _, still := got[annotation]; still || got["mine"] != "kept" {
		t.Errorf("after a deletion, which has no trigger: got %v", got)
	}
}

func TestE51_ServiceAnnotationsAreNotCopied(t *testing.T) {
	svc := webService(func(s *corev1.Service) { s.Annotations = map[string]string{"a": "b"} })
	if _, copied := onlySlice(t, svc, webPods(0, 1)...).Annotations["a"]; copied {
		t.Error("copied")
	}
}

func TestE52_GenerateName(t *testing.T) {
	if got := onlySlice(t, webService()).GenerateName; got != "web-" {
		t.Errorf("got %q", got)
	}
	long := strings.Repeat("a", 300)
	if got := generateName(long); got != long {
		t.Errorf("a name to which no dash can be added: got %d characters", len(got))
	}
}

func TestE53_OwnerIsTheServiceByUID(t *testing.T) {
	var s store
	s.sync(t, webService(), webPods(0, 1))
	want := metav1.OwnerReference{
		APIVersion: "v1", Kind: "Service", Name: "web", UID: "svc-1",
		Controller: ptr.To(true), BlockOwnerDeletion: ptr.To(true),
	}
	if got := s.slices["web-1"].OwnerReferences; len(got) != 1 || fmt.Sprint(got[0].String()) != fmt.Sprint(want.String()) {
		t.Errorf("got %v, want %v", got, want)
	}
	again := webService(func(s *corev1.Service) { s.UID = "svc-2" })
	equal(t, s.sync(t, again, webPods(0, 1)),
		"create IPv4 http:8080/TCP -> 10.244.0.1(ready,serving)",
		"delete web-1")
}

func dualStack(svc *corev1.Service) {
	svc.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}
}

func TestE54_OneGroupPerFamilyAndPortList(t *testing.T) {
	var s store
	pod := webPod("a", "10.0.0.1", func(p *corev1.Pod) {
		p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: "fd00::1"})
	})
	equal(t, s.sync(t, webService(dualStack), []*corev1.Pod{pod, webPod("b", "10.0.0.2")}),
		"create IPv4 http:8080/TCP -> 10.0.0.1(ready,serving) 10.0.0.2(ready,serving)",
		"create IPv6 http:8080/TCP -> fd00::1(ready,serving)")
	equal(t, s.sync(t, webService(), []*corev1.Pod{pod, webPod("b", "10.0.0.2")}), "delete web-2")
}

func TestE55_AtMostOneHundredPerSlice(t *testing.T) {
	equal(t, planned(t, webService(), webPods(0, 250)...),
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
		{"ready", webPod("a", "10.0.0.1"), "10.0.0.1(ready,serving)"},
		{"not ready", webPod("a", "10.0.0.1", unready), "10.0.0.1()"},
		{"ready and terminating", webPod("a", "10.0.0.1", terminating), "10.0.0.1(serving,terminating)"},
		{"not ready and terminating", webPod("a", "10.0.0.1", unready, terminating), "10.0.0.1(terminating)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ep := onlySlice(t, webService(), c.pod).Endpoints[0]
			if got := describeEndpoint(&ep); got != c.want {
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
		{"n1", webService(), "n1 a", 0},
		{"n0", webService(), "n0 ", 0},
		{"unknown", webService(), "", 1},
		{"unknown", webService(publishNotReady), "unknown ", 0},
		{"", webService(), " ", 0},
	} {
		plan, waiting := planSlices(c.svc, []*corev1.Pod{webPod("a", "10.0.0.1", onNode(c.node))}, someNodes(), nil)
		got := ""
		if eps := plan.create[0].Endpoints; len(eps) > 0 {
			got = ptr.Deref(eps[0].NodeName, "") + " " + ptr.Deref(eps[0].Zone, "")
		}
		if got != c.want || len(waiting) != c.wait {
			t.Errorf("node %q: got %q and %d waiting, want %q and %d", c.node, got, len(waiting), c.want, c.wait)
		}
	}
}

func TestE58_AddressesAreCanonical(t *testing.T) {
	v6 := webService(func(s *corev1.Service) { s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol} })
	equal(t, planned(t, v6, webPod("a", "FD00:0::0:1")), "create IPv6 http:8080/TCP -> fd00::1(ready,serving)")
	equal(t, planned(t, webService(), webPod("a", "010.0.0.001")), "create IPv4 http:8080/TCP -> 10.0.0.1(ready,serving)")
}

func TestE59_Placeholder(t *testing.T) {
	var s store
	svc := webService(dualStack)
	equal(t, s.sync(t, svc, nil), "create IPv4 ->", "create IPv6 ->")
	equal(t, s.sync(t, svc, nil))
	equal(t, s.sync(t, svc, webPods(0, 1)), "update web-1 IPv4 http:8080/TCP -> 10.244.0.1(ready,serving)")
	equal(t, s.sync(t, svc, nil), "update web-1 IPv4 ->")
}

func TestE60_SameEndpointIsReplacedInPlace(t *testing.T) {
	var s store
	pods := webPods(0, 3)
	s.sync(t, webService(), pods)
	pods[1] = webPod("p0001", "10.244.0.2", unready, onNode("n2"), func(p *corev1.Pod) { p.UID = "other" })
	equal(t, s.sync(t, webService(), pods),
		"update web-1 IPv4 http:8080/TCP -> 10.244.0.1(ready,serving) 10.244.0.2() 10.244.0.3(ready,serving)")
	ep := s.slices["web-1"].Endpoints[1]
	if ep.TargetRef.UID != "other" || *ep.NodeName != "n2" || *ep.Zone != "b" {
		t.Errorf("got %v", ep)
	}
}

func TestE61_EmptiedSlicesAreDeleted(t *testing.T) {
	var s store
	pods := webPods(0, 150)
	s.sync(t, webService(), pods)
	equal(t, s.sync(t, webService(), pods[:100]), "delete web-2")
}

func TestE62_NewEndpointsFillSlicesThatAreWrittenAnyway(t *testing.T) {
	var s store
	pods := webPods(0, 250)
	s.sync(t, webService(), pods)
	// One endpoint leaves web-1 and one leaves web-3; of the three that come, one fits into web-1,
	// the fullest, and the others into web-3.
	next := slices.Concat(pods[1:200], pods[201:], webPods(300, 3))
	equal(t, s.sync(t, webService(), next),
		"update web-1 IPv4 http:8080/TCP -> 100 endpoints",
		"update web-3 IPv4 http:8080/TCP -> 51 endpoints")
}

func TestE63_TheRestGoesWhereItComesClosestToFull(t *testing.T) {
	var s store
	pods := webPods(0, 250)
	s.sync(t, webService(), pods)
	s.sync(t, webService(), pods[20:]) // web-1 has 80 now, web-2 100, web-3 50
	equal(t, s.sync(t, webService(), webPods(20, 250)), "update web-1 IPv4 http:8080/TCP -> 100 endpoints")
	equal(t, s.sync(t, webService(), webPods(20, 251)), "update web-3 IPv4 http:8080/TCP -> 51 endpoints")
	equal(t, s.sync(t, webService(), webPods(20, 320)), "create IPv4 http:8080/TCP -> 69 endpoints")
}

func TestE63_SlicesAreNeverRebalanced(t *testing.T) {
	var s store
	pods := webPods(0, 300)
	s.sync(t, webService(), pods)
	few := []*corev1.Pod{pods[0], pods[100], pods[200]}
	equal(t, s.sync(t, webService(), few),
		"update web-1 IPv4 http:8080/TCP -> 10.244.0.1(ready,serving)",
		"update web-2 IPv4 http:8080/TCP -> 10.244.0.101(ready,serving)",
		"update web-3 IPv4 http:8080/TCP -> 10.244.0.201(ready,serving)")
	equal(t, s.sync(t, webService(), few))
}

func TestE64_CreateRecyclesDelete(t *testing.T) {
	var s store
	s.sync(t, webService(), webPods(0, 150))
	uid := s.slices["web-1"].UID
	moved := webService(func(s *corev1.Service) { s.Spec.Ports[0].TargetPort = intstr.FromInt32(9090) })
	equal(t, s.sync(t, moved, webPods(0, 150)),
		"update web-1 IPv4 http:9090/TCP -> 100 endpoints",
		"update web-2 IPv4 http:9090/TCP -> 50 endpoints")
	if s.slices["web-1"].UID != uid {
		t.Error("the object was not reused")
	}
	// An IPv4 slice cannot become an IPv6 one.
	v6 := webService(func(s *corev1.Service) { s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol} })
	equal(t, s.sync(t, v6, nil), "create IPv6 ->", "delete web-1", "delete web-2")
}

func TestE65_OnePodChangesOneSlice(t *testing.T) {
	var s store
	pods := webPods(0, 1000)
	s.sync(t, webService(), pods)
	before := maps.Clone(s.slices)
	pods[555] = webPod("p0555", pods[555].Status.PodIP, unready)
	equal(t, s.sync(t, webService(), pods), "update web-6 IPv4 http:8080/TCP -> 100 endpoints")
	for name, slice := range before {
		if same := s.slices[name] == slice; same != (name != "web-6") {
			t.Errorf("%s is untouched: %v", name, same)
		}
	}
}

func TestE65_NothingChangesNothing(t *testing.T) {
	var s store
	pods := webPods(0, 250)
	s.sync(t, webService(), pods)
	slices.Reverse(pods)
	equal(t, s.sync(t, webService(), pods))
}

func TestE66_ServiceBeingDeletedGetsNoNewSlices(t *testing.T) {
	going := func(s *corev1.Service) { s.DeletionTimestamp = ptr.To(metav1.NewTime(epoch)) }
	equal(t, planned(t, webService(going), webPods(0, 1)...))
	var s store
	s.sync(t, webService(), webPods(0, 2))
	equal(t, s.sync(t, webService(going), webPods(0, 1)), "update web-1 IPv4 http:8080/TCP -> 10.244.0.1(ready,serving)")
}

func TestE69_PortChanges(t *testing.T) {
	two := func(svc *corev1.Service) {
		svc.Spec.Ports = append(svc.Spec.Ports, corev1.ServicePort{Name: "dns", Port: 53, TargetPort: intstr.FromInt32(53), Protocol: corev1.ProtocolUDP})
	}
	var s store
	pods := webPods(0, 1)
	s.sync(t, webService(two), pods)
	equal(t, s.sync(t, webService(two, func(svc *corev1.Service) { slices.Reverse(svc.Spec.Ports) }), pods))
	equal(t, s.sync(t, webService(two, func(svc *corev1.Service) { svc.Spec.Ports[1].Protocol = corev1.ProtocolTCP }), pods),
		"update web-1 IPv4 dns:53/TCP http:8080/TCP -> 10.244.0.1(ready,serving)")
	equal(t, s.sync(t, webService(), pods), "update web-1 IPv4 http:8080/TCP -> 10.244.0.1(ready,serving)")
}

func TestE70_PublishNotReadyAddresses(t *testing.T) {
	equal(t, planned(t, webService(publishNotReady),
		webPod("a", "10.0.0.1", unready), webPod("b", "10.0.0.2", terminating), webPod("c", "10.0.0.3", unready, terminating)),
		"create IPv4 http:8080/TCP -> 10.0.0.1(ready) 10.0.0.2(ready,serving,terminating) 10.0.0.3(ready,terminating)")
}

func TestE71_ResourceVersionOfTheReferenceDoesNotCount(t *testing.T) {
	var s store
	s.sync(t, webService(), webPods(0, 1))
	s.slices["web-1"].Endpoints[0].TargetRef.ResourceVersion = "77"
	equal(t, s.sync(t, webService(), webPods(0, 1)))
}

func TestHeadlessWithoutPorts(t *testing.T) {
	svc := webService(func(s *corev1.Service) { s.Spec.ClusterIP, s.Spec.Ports = corev1.ClusterIPNone, nil })
	var s store
	equal(t, s.sync(t, svc, nil), "create IPv4 ->")
	equal(t, s.sync(t, svc, webPods(0, 1)), "update web-1 IPv4 -> 10.244.0.1(ready,serving)")
	equal(t, s.sync(t, svc, nil), "update web-1 IPv4 ->")
}

func TestE90_E91_E92_TrafficDistribution(t *testing.T) {
	prefer := func(mode string) func(*corev1.Service) {
		return func(s *corev1.Service) { s.Spec.TrafficDistribution = &mode }
	}
	pods := []*corev1.Pod{webPod("a", "10.0.0.1"), webPod("b", "10.0.0.2", onNode("n2")), webPod("c", "10.0.0.3", onNode("n0"))}
	hints := func(slice *discoveryv1.EndpointSlice) string {
		var text []string
		for _, ep := range slice.Endpoints {
			words := []string{"-"}
			if ep.Hints != nil {
				words = nil
				for _, z := range ep.Hints.ForZones {
					words = append(words, "zone "+z.Name)
				}
				for _, n := range ep.Hints.ForNodes {
					words = append(words, "node "+n.Name)
				}
			}
			text = append(text, strings.Join(words, " "))
		}
		return strings.Join(text, ", ")
	}
	var s store
	for _, c := range []struct{ mode, want string }{
		{"PreferClose", "zone a, zone b, -"},
		{"PreferSameZone", "zone a, zone b, -"},
		{"PreferSameNode", "zone a node n1, zone b node n2, node n0"},
		{"Somewhere", "-, -, -"},
	} {
		s.sync(t, webService(prefer(c.mode)), pods)
		if got := hints(s.slices["web-1"]); got != c.want {
			t.Errorf("%s: got %s, want %s", c.mode, got, c.want)
		}
	}
	s.sync(t, webService(prefer("PreferClose")), pods)
	unready(pods[0])
	s.sync(t, webService(prefer("PreferClose")), pods)
	if got, want := hints(s.slices["web-1"]), "zone a, zone b, -"; got != want {
		t.Errorf("an endpoint that is not ready keeps its hints: got %s, want %s", got, want)
	}
	s.sync(t, webService(), pods)
	if got, want := hints(s.slices["web-1"]), "-, -, -"; got != want {
		t.Errorf("unset: got %s, want %s", got, want)
	}
}

func TestPlanSlicesTrustsNothingInTheStore(t *testing.T) {
	var s store
	s.sync(t, webService(), webPods(0, 2))
	bad := s.slices["web-1"]
	bad.Endpoints = append(bad.Endpoints,
		discoveryv1.Endpoint{},                                // no address at all
		discoveryv1.Endpoint{Addresses: []string{"10.9.9.9"}}, // somebody's own
		bad.Endpoints[0],                                      // twice
		discoveryv1.Endpoint{Addresses: []string{"10.244.0.1"}, TargetRef: &corev1.ObjectReference{Name: "p0000", UID: types.UID("x")}})
	equal(t, s.sync(t, webService(), webPods(0, 2)),
		"update web-1 IPv4 http:8080/TCP -> 10.244.0.1(ready,serving) 10.244.0.2(ready,serving)")
}

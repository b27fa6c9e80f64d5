package plan

//lint:file-ignore SA1019 v1 Endpoints are what the tests are about.

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/controller/endpoints/sample"
)

// plannedV1 returns the subsets of a Service that has no Endpoints object yet, as text.
func plannedV1(t *testing.T, svc *corev1.Service, pods ...*corev1.Pod) []string {
	t.Helper()
	want := Endpoints(svc, pods, nil)
	if want == nil {
		t.Fatal("no object is created")
	}
	return sample.SubsetsText(want.Subsets)
}

func TestE5_TerminatingPodsLeaveEndpointsAtOnce(t *testing.T) {
	equal(t, plannedV1(t, sample.Service(), sample.Pod("a", "10.0.0.1", sample.Terminating)))
	equal(t, plannedV1(t, sample.Service(sample.PublishNotReady), sample.Pod("a", "10.0.0.1", sample.Terminating, sample.Unready)), "10.0.0.1 : http:8080/TCP")
}

func TestE9_NamedTargetsThatDifferGiveSeveralSubsets(t *testing.T) {
	equal(t, plannedV1(t, sample.Service(namedTarget),
		sample.Pod("a", "10.0.0.1", serves(8080, "TCP")), sample.Pod("b", "10.0.0.2", serves(9090, "TCP"))),
		"10.0.0.1 : http:8080/TCP",
		"10.0.0.2 : http:9090/TCP")
}

func TestE10_PodWithoutAnyPortIsNotInEndpoints(t *testing.T) {
	equal(t, plannedV1(t, sample.Service(namedTarget), sample.Pod("a", "10.0.0.1")))
	both := sample.Service(namedTarget, func(s *corev1.Service) {
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: "metrics", Port: 9, Protocol: corev1.ProtocolTCP})
	})
	equal(t, plannedV1(t, both, sample.Pod("a", "10.0.0.1")), "10.0.0.1 : metrics:9/TCP")
}

func TestE20_ObjectExistsWithoutPods(t *testing.T) {
	want := Endpoints(sample.Service(), nil, nil)
	if want == nil || want.Name != "web" || want.Namespace != "default" || len(want.Subsets) != 0 {
		t.Errorf("got %v", want)
	}
}

func TestE21_PrimaryFamilyOnly(t *testing.T) {
	pod := sample.Pod("a", "10.0.0.1", func(p *corev1.Pod) {
		p.Status.PodIPs = append(p.Status.PodIPs, corev1.PodIP{IP: "fd00::1"})
	})
	equal(t, plannedV1(t, sample.Service(dualStack), pod), "10.0.0.1 : http:8080/TCP")
	equal(t, plannedV1(t, sample.Service(func(s *corev1.Service) {
		s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol, corev1.IPv4Protocol}
	}), pod, sample.Pod("b", "10.0.0.2")), "fd00::1 : http:8080/TCP")
}

func TestE22_NotReadyPodsAreListedApart(t *testing.T) {
	pods := []*corev1.Pod{sample.Pod("a", "10.0.0.1"), sample.Pod("b", "10.0.0.2", sample.Unready)}
	equal(t, plannedV1(t, sample.Service(), pods...), "10.0.0.1 !10.0.0.2 : http:8080/TCP")
	equal(t, plannedV1(t, sample.Service(sample.PublishNotReady), pods...), "10.0.0.1 10.0.0.2 : http:8080/TCP")
}

func TestE23_AddressesCarryNodeHostnameAndPod(t *testing.T) {
	pod := sample.Pod("a", "10.0.0.1", func(p *corev1.Pod) { p.Spec.Hostname, p.Spec.Subdomain = "a-0", "web" })
	got := Endpoints(sample.Service(), []*corev1.Pod{pod}, nil).Subsets[0].Addresses[0]
	if got.NodeName == nil || *got.NodeName != "n1" || got.Hostname != "a-0" {
		t.Errorf("node and host name: got %v", got)
	}
	if want := (corev1.ObjectReference{Kind: "Pod", Namespace: "default", Name: "a", UID: "uid-a"}); *got.TargetRef != want {
		t.Errorf("got %v, want %v", *got.TargetRef, want)
	}
}

func TestE24_HeadlessWithoutPorts(t *testing.T) {
	svc := sample.Service(func(s *corev1.Service) { s.Spec.ClusterIP, s.Spec.Ports = corev1.ClusterIPNone, nil })
	equal(t, plannedV1(t, svc, sample.Pod("a", "10.0.0.1"), sample.Pod("b", "10.0.0.2")), "10.0.0.1 10.0.0.2 :")
}

func TestE25_Repack(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []corev1.EndpointSubset
		want []string
	}{
		{"nothing", nil, nil},
		{"same ports", []corev1.EndpointSubset{sample.Subset([]string{"10.0.0.1"}, 1), sample.Subset([]string{"10.0.0.2"}, 1)},
			[]string{"10.0.0.1 10.0.0.2 : p1:1/TCP"}},
		{"same addresses", []corev1.EndpointSubset{sample.Subset([]string{"10.0.0.1"}, 1), sample.Subset([]string{"10.0.0.1"}, 2)},
			[]string{"10.0.0.1 : p1:1/TCP p2:2/TCP"}},
		{"ready for one port only", []corev1.EndpointSubset{sample.Subset([]string{"10.0.0.1"}, 1), sample.Subset([]string{"!10.0.0.1"}, 2)},
			[]string{"10.0.0.1 : p1:1/TCP", "!10.0.0.1 : p2:2/TCP"}},
		{"one address has a port more", []corev1.EndpointSubset{sample.Subset([]string{"10.0.0.1"}, 1, 2), sample.Subset([]string{"10.0.0.2"}, 1)},
			[]string{"10.0.0.1 10.0.0.2 : p1:1/TCP", "10.0.0.1 : p2:2/TCP"}},
		{"with and without ports", []corev1.EndpointSubset{sample.Subset([]string{"10.0.0.1"}), sample.Subset([]string{"10.0.0.1"}, 1)},
			[]string{"10.0.0.1 :", "10.0.0.1 : p1:1/TCP"}},
		{"ports without addresses", []corev1.EndpointSubset{sample.Subset(nil, 1)}, nil},
	} {
		t.Run(c.name, func(t *testing.T) { equal(t, sample.SubsetsText(repack(c.in)), c.want...) })
	}
}

func TestE26_NotReadyWins(t *testing.T) {
	for _, in := range [][]corev1.EndpointSubset{
		{sample.Subset([]string{"10.0.0.1"}, 1), sample.Subset([]string{"!10.0.0.1"}, 1)},
		{sample.Subset([]string{"!10.0.0.1"}, 1), sample.Subset([]string{"10.0.0.1"}, 1)},
	} {
		equal(t, sample.SubsetsText(repack(in)), "!10.0.0.1 : p1:1/TCP")
	}
}

func TestE27_OrderIsCanonical(t *testing.T) {
	in := []corev1.EndpointSubset{
		sample.Subset([]string{"10.0.0.10", "!10.0.0.7", "10.0.0.9"}, 3, 1),
		sample.Subset([]string{"10.0.1.1", "10.0.0.11"}, 2),
	}
	want := []string{"10.0.0.9 10.0.0.10 !10.0.0.7 : p1:1/TCP p3:3/TCP", "10.0.0.11 10.0.1.1 : p2:2/TCP"}
	random := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		random.Shuffle(len(in), func(i, j int) { in[i], in[j] = in[j], in[i] })
		for _, s := range in {
			random.Shuffle(len(s.Addresses), func(i, j int) { s.Addresses[i], s.Addresses[j] = s.Addresses[j], s.Addresses[i] })
			random.Shuffle(len(s.Ports), func(i, j int) { s.Ports[i], s.Ports[j] = s.Ports[j], s.Ports[i] })
		}
		once := repack(in)
		equal(t, sample.SubsetsText(once), want...)
		equal(t, sample.SubsetsText(repack(once)), want...)
	}
}

func TestE28_Labels(t *testing.T) {
	svc := sample.Service(func(s *corev1.Service) { s.Labels[corev1.IsHeadlessService] = "" })
	want := map[string]string{"team": "a", "endpoints.kubernetes.io/managed-by": "endpoint-controller"}
	if got := Endpoints(svc, nil, nil).Labels; !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	svc.Spec.ClusterIP = corev1.ClusterIPNone
	want[corev1.IsHeadlessService] = ""
	if got := Endpoints(svc, nil, nil).Labels; !maps.Equal(got, want) {
		t.Errorf("headless: got %v, want %v", got, want)
	}
}

func TestE29_TriggerTime(t *testing.T) {
	trigger := func(ep *corev1.Endpoints) string { return ep.Annotations[corev1.EndpointsLastChangeTriggerTime] }
	pods := sample.Pods(0, 3)
	ep := Endpoints(sample.Service(), pods, nil)
	if got := trigger(ep); got != "2026-01-02T03:04:05Z" {
		t.Errorf("first: got %q, want the creation of the Service", got)
	}
	sample.SetReady(pods[0], false, sample.Epoch.Add(1500*time.Millisecond))
	sample.SetReady(pods[1], false, sample.Epoch.Add(time.Second))
	ep = Endpoints(sample.Service(), pods, ep)
	if got := trigger(ep); got != "2026-01-02T03:04:06Z" {
		t.Errorf("two flips: got %q, want the earlier", got)
	}
	ep = Endpoints(sample.Service(), pods[1:], ep)
	if got := trigger(ep); got != "" {
		t.Errorf("a deletion has no trigger: got %q", got)
	}
}

func TestE30_OverCapacity(t *testing.T) {
	pods := sample.Pods(0, 1100)
	for _, pod := range pods[:200] {
		sample.Unready(pod)
	}
	ep := Endpoints(sample.Service(), pods, nil)
	if ready, not := len(ep.Subsets[0].Addresses), len(ep.Subsets[0].NotReadyAddresses); ready != 900 || not != 100 {
		t.Errorf("kept %d ready and %d not ready, want 900 and 100", ready, not)
	}
	if got := ep.Annotations[corev1.EndpointsOverCapacity]; got != "truncated" {
		t.Errorf("annotation: got %q", got)
	}
	if again := Endpoints(sample.Service(), pods, ep); again != nil {
		t.Error("written again")
	}
	ep = Endpoints(sample.Service(), pods[:1000], ep)
	if _, still := ep.Annotations[corev1.EndpointsOverCapacity]; still {
		t.Error("the annotation is still there although everything fits")
	}
}

func TestE30_EachSubsetGivesUpItsShare(t *testing.T) {
	in := []corev1.EndpointSubset{
		sample.Subset([]string{"10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"}, 1),
		sample.Subset([]string{"10.0.1.1", "10.0.1.2", "10.0.1.3", "!10.0.1.4"}, 2),
		sample.Subset([]string{"!10.0.2.1"}, 3),
	}
	got, truncated := truncate(in, 6)
	if !truncated {
		t.Error("not truncated")
	}
	equal(t, sample.SubsetsText(got), "10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4 : p1:1/TCP", "10.0.1.1 10.0.1.2 : p2:2/TCP")
	got, _ = truncate(in, 10)
	equal(t, sample.SubsetsText(got),
		"10.0.0.1 10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5 10.0.0.6 : p1:1/TCP",
		"10.0.1.1 10.0.1.2 10.0.1.3 !10.0.1.4 : p2:2/TCP")
	if got, truncated := truncate(in, 11); truncated || len(got) != 3 {
		t.Error("truncated what fits")
	}
}

func TestE31_NoWriteWithoutDifference(t *testing.T) {
	pods := sample.Pods(0, 3)
	ep := Endpoints(sample.Service(), pods, nil)
	ep.ResourceVersion = "5"
	ep.Subsets[0].Addresses[0].TargetRef.ResourceVersion = "7"
	slices.Reverse(pods)
	if again := Endpoints(sample.Service(), pods, ep); again != nil {
		t.Errorf("written: %v", again)
	}
	for name, change := range map[string]func(*corev1.Endpoints){
		"a label":              func(ep *corev1.Endpoints) { ep.Labels["x"] = "y" },
		"an address":           func(ep *corev1.Endpoints) { ep.Subsets[0].Addresses[0].IP = "10.0.0.9" },
		"a port":               func(ep *corev1.Endpoints) { ep.Subsets[0].Ports[0].Port++ },
		"over capacity":        func(ep *corev1.Endpoints) { ep.Annotations[corev1.EndpointsOverCapacity] = "truncated" },
		"the node":             func(ep *corev1.Endpoints) { ep.Subsets[0].Addresses[0].NodeName = nil },
		"the pod's UID":        func(ep *corev1.Endpoints) { ep.Subsets[0].Addresses[0].TargetRef.UID = "" },
		"readiness":            func(ep *corev1.Endpoints) { s := &ep.Subsets[0]; s.NotReadyAddresses, s.Addresses = s.Addresses, nil },
		"application protocol": func(ep *corev1.Endpoints) { ep.Subsets[0].Ports[0].AppProtocol = new(string) },
	} {
		other := ep.DeepCopy()
		change(other)
		if got := Endpoints(sample.Service(), pods, other); got == nil || got.ResourceVersion != "5" {
			t.Errorf("%s changed by hand: got %v, want an update of version 5", name, got)
		}
	}
}

func TestE35_AServiceThatIsBeingDeletedIsNothingSpecial(t *testing.T) {
	going := func(s *corev1.Service) { s.DeletionTimestamp = ptr.To(metav1.NewTime(sample.Epoch)) }
	equal(t, plannedV1(t, sample.Service(going), sample.Pod("a", "10.0.0.1")), "10.0.0.1 : http:8080/TCP")
	ep := Endpoints(sample.Service(), sample.Pods(0, 2), nil)
	next := Endpoints(sample.Service(going), sample.Pods(0, 1), ep)
	if next == nil {
		t.Fatal("not followed any more")
	}
	equal(t, sample.SubsetsText(next.Subsets), "10.244.0.1 : http:8080/TCP")
}

func TestS5_TargetPortDefaultsToPort(t *testing.T) {
	svc := sample.Service(func(s *corev1.Service) { s.Spec.Ports[0].TargetPort = intstr.IntOrString{} })
	equal(t, plannedV1(t, svc, sample.Pod("a", "10.0.0.1")), "10.0.0.1 : http:80/TCP")
}

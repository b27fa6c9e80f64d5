package plan

import (
	"maps"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"

	"fairlead.dev/fairlead/controller/endpoints/sample"
)

func TestE55_OverfullSlicesAreSplit(t *testing.T) {
	var s store
	s.sync(t, sample.Service(), sample.Pods(0, 100))
	more, _ := Slices(sample.Service(), sample.Pods(100, 30), sample.Nodes(), nil)
	s.slices["web-1"].Endpoints = append(s.slices["web-1"].Endpoints, more.Create[0].Endpoints...)
	equal(t, s.sync(t, sample.Service(), sample.Pods(0, 130)),
		"create IPv4 http:8080/TCP -> 30 endpoints",
		"update web-1 IPv4 http:8080/TCP -> 100 endpoints")
}

func TestE59_Placeholder(t *testing.T) {
	var s store
	svc := sample.Service(dualStack)
	equal(t, s.sync(t, svc, nil), "create IPv4 ->", "create IPv6 ->")
	equal(t, s.sync(t, svc, nil))
	equal(t, s.sync(t, svc, sample.Pods(0, 1)), "update web-1 IPv4 http:8080/TCP -> 10.244.0.1(ready,serving)")
	equal(t, s.sync(t, svc, nil), "update web-1 IPv4 ->")
}

func TestE60_SameEndpointIsReplacedInPlace(t *testing.T) {
	var s store
	pods := sample.Pods(0, 3)
	s.sync(t, sample.Service(), pods)
	pods[1] = sample.Pod("p0001", "10.244.0.2", sample.Unready, sample.OnNode("n2"), func(p *corev1.Pod) { p.UID = "other" })
	equal(t, s.sync(t, sample.Service(), pods),
		"update web-1 IPv4 http:8080/TCP -> 10.244.0.1(ready,serving) 10.244.0.2() 10.244.0.3(ready,serving)")
	ep := s.slices["web-1"].Endpoints[1]
	if ep.TargetRef.UID != "other" || *ep.NodeName != "n2" || *ep.Zone != "b" {
		t.Errorf("got %v", ep)
	}
	// Each difference suffices; another address or host name is another endpoint, which comes last.
	const changed = "10.244.0.1(ready,serving) 10.244.0.2(ready,serving) 10.244.0.3(ready,serving)"
	for _, c := range []struct {
		what   string
		change func(*corev1.Pod)
		want   string
	}{
		{"UID", func(p *corev1.Pod) { p.UID = "other" }, changed},
		{"node of the same zone", sample.OnNode("n3"), changed},
		{"serving", sample.Terminating, "10.244.0.1(ready,serving) 10.244.0.2(serving,terminating) 10.244.0.3(ready,serving)"},
		{"address", func(p *corev1.Pod) { p.Status.PodIPs[0].IP = "10.9.9.9" }, "10.244.0.1(ready,serving) 10.244.0.3(ready,serving) 10.9.9.9(ready,serving)"},
		{"host name", func(p *corev1.Pod) { p.Spec.Hostname, p.Spec.Subdomain = "h", "web" }, "10.244.0.1(ready,serving) 10.244.0.3(ready,serving) 10.244.0.2(ready,serving)"},
	} {
		var s store
		pods := sample.Pods(0, 3)
		s.sync(t, sample.Service(), pods)
		pods[1] = pods[1].DeepCopy() // what is stored points into the pod
		c.change(pods[1])
		if got := s.sync(t, sample.Service(), pods); len(got) != 1 || got[0] != "update web-1 IPv4 http:8080/TCP -> "+c.want {
			t.Errorf("another %s: got %v", c.what, got)
		}
	}
}

func TestE61_EmptiedSlicesAreDeleted(t *testing.T) {
	var s store
	pods := sample.Pods(0, 150)
	s.sync(t, sample.Service(), pods)
	equal(t, s.sync(t, sample.Service(), pods[:100]), "delete web-2")
}

func TestE62_NewEndpointsFillSlicesThatAreWrittenAnyway(t *testing.T) {
	var s store
	pods := sample.Pods(0, 250)
	s.sync(t, sample.Service(), pods)
	// One endpoint leaves web-1 and one leaves web-3; of the three that come, one fits into web-1,
	// the fullest, and the others into web-3.
	next := slices.Concat(pods[1:200], pods[201:], sample.Pods(300, 3))
	equal(t, s.sync(t, sample.Service(), next),
		"update web-1 IPv4 http:8080/TCP -> 100 endpoints",
		"update web-3 IPv4 http:8080/TCP -> 51 endpoints")
}

func TestE63_TheRestGoesWhereItComesClosestToFull(t *testing.T) {
	var s store
	pods := sample.Pods(0, 250)
	s.sync(t, sample.Service(), pods)
	rest := slices.Concat(pods[60:100], pods[120:]) // web-1 has 40, web-2 80, web-3 50
	s.sync(t, sample.Service(), rest)
	equal(t, s.sync(t, sample.Service(), slices.Concat(rest, sample.Pods(300, 20))), "update web-2 IPv4 http:8080/TCP -> 100 endpoints")
	equal(t, s.sync(t, sample.Service(), slices.Concat(rest, sample.Pods(300, 21))), "update web-3 IPv4 http:8080/TCP -> 51 endpoints")
	equal(t, s.sync(t, sample.Service(), slices.Concat(rest, sample.Pods(300, 76))), "update web-1 IPv4 http:8080/TCP -> 95 endpoints")
	equal(t, s.sync(t, sample.Service(), slices.Concat(rest, sample.Pods(300, 131))), "create IPv4 http:8080/TCP -> 55 endpoints")
}

func TestE63_SlicesAreNeverRebalanced(t *testing.T) {
	var s store
	pods := sample.Pods(0, 300)
	s.sync(t, sample.Service(), pods)
	few := []*corev1.Pod{pods[0], pods[100], pods[200]}
	equal(t, s.sync(t, sample.Service(), few),
		"update web-1 IPv4 http:8080/TCP -> 10.244.0.1(ready,serving)",
		"update web-2 IPv4 http:8080/TCP -> 10.244.0.101(ready,serving)",
		"update web-3 IPv4 http:8080/TCP -> 10.244.0.201(ready,serving)")
	equal(t, s.sync(t, sample.Service(), few))
}

func TestE64_CreateRecyclesDelete(t *testing.T) {
	var s store
	s.sync(t, sample.Service(), sample.Pods(0, 150))
	uid := s.slices["web-1"].UID
	moved := sample.Service(func(s *corev1.Service) { s.Spec.Ports[0].TargetPort = intstr.FromInt32(9090) })
	equal(t, s.sync(t, moved, sample.Pods(0, 150)),
		"update web-1 IPv4 http:9090/TCP -> 100 endpoints",
		"update web-2 IPv4 http:9090/TCP -> 50 endpoints")
	if s.slices["web-1"].UID != uid {
		t.Error("the object was not reused")
	}
	// An IPv4 slice cannot become an IPv6 one.
	v6 := sample.Service(func(s *corev1.Service) { s.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv6Protocol} })
	equal(t, s.sync(t, v6, nil), "create IPv6 ->", "delete web-1", "delete web-2")
}

func TestE65_OnePodChangesOneSlice(t *testing.T) {
	var s store
	pods := sample.Pods(0, 1000)
	s.sync(t, sample.Service(), pods)
	before := maps.Clone(s.slices)
	pods[555] = sample.Pod("p0555", pods[555].Status.PodIP, sample.Unready)
	equal(t, s.sync(t, sample.Service(), pods), "update web-6 IPv4 http:8080/TCP -> 100 endpoints")
	for name, slice := range before {
		if same := s.slices[name] == slice; same != (name != "web-6") {
			t.Errorf("%s is untouched: %v", name, same)
		}
	}
}

func TestE65_NothingChangesNothing(t *testing.T) {
	var s store
	pods := sample.Pods(0, 250)
	s.sync(t, sample.Service(), pods)
	slices.Reverse(pods)
	equal(t, s.sync(t, sample.Service(), pods))
}

func TestPlanSlicesTrustsNothingInTheStore(t *testing.T) {
	var s store
	s.sync(t, sample.Service(), sample.Pods(0, 2))
	bad := s.slices["web-1"]
	bad.Endpoints = append(bad.Endpoints,
		discoveryv1.Endpoint{},                                // no address at all
		discoveryv1.Endpoint{Addresses: []string{"10.9.9.9"}}, // somebody's own
		bad.Endpoints[0],                                      // twice
		discoveryv1.Endpoint{Addresses: []string{"10.244.0.1"}, TargetRef: &corev1.ObjectReference{Name: "p0000", UID: types.UID("x")}})
	equal(t, s.sync(t, sample.Service(), sample.Pods(0, 2)),
		"update web-1 IPv4 http:8080/TCP -> 10.244.0.1(ready,serving) 10.244.0.2(ready,serving)")
}

// A create whose answer got lost is repeated and leaves two slices of the same endpoints: the next
// plan removes one.
func TestSlicesThatWereCreatedTwice(t *testing.T) {
	var s store
	pods := sample.Pods(0, 3)
	for range 2 {
		plan, _ := Slices(sample.Service(), pods, sample.Nodes(), nil)
		s.apply(t, plan)
	}
	equal(t, s.sync(t, sample.Service(), pods), "delete web-2")
	equal(t, s.sync(t, sample.Service(), pods))
}

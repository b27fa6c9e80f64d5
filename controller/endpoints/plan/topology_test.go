package plan

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"fairlead.dev/fairlead/controller/endpoints/sample"
)

// zoneNodes returns one ready node per zone, named after it, with so many CPUs.
func zoneNodes(cpus map[string]int) map[string]*corev1.Node {
	nodes := map[string]*corev1.Node{}
	for zone, n := range cpus {
		node := &corev1.Node{}
		node.Name = zone
		node.Labels = map[string]string{corev1.LabelTopologyZone: zone}
		node.Status.Allocatable = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(fmt.Sprint(n))}
		node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
		nodes[zone] = node
	}
	return nodes
}

func auto(svc *corev1.Service) {
	svc.Annotations = map[string]string{corev1.AnnotationTopologyMode: "Auto"}
}

// spread returns ready pods on the nodes of zones, as in "aab".
func spread(zones string) []*corev1.Pod {
	pods := sample.Pods(0, len(zones))
	for i, zone := range zones {
		pods[i].Spec.NodeName = string(zone)
	}
	return pods
}

// zonesOf returns the zones for which the endpoints of a plan are meant, in order, - for none.
func zonesOf(plan Changes) string {
	var zones strings.Builder
	for _, slice := range plan.Create {
		for _, ep := range slice.Endpoints {
			if ep.Hints == nil {
				zones.WriteString("-")
				continue
			}
			zones.WriteString(ep.Hints.ForZones[0].Name)
		}
	}
	return zones.String()
}

func TestE93_WhoAsksForAuto(t *testing.T) {
	const older, newer = corev1.DeprecatedAnnotationTopologyAwareHints, corev1.AnnotationTopologyMode
	for _, c := range []struct {
		annotations map[string]string
		want        bool
	}{
		{nil, false},
		{map[string]string{newer: "Auto"}, true},
		{map[string]string{newer: "auto"}, true},
		{map[string]string{newer: "AUTO"}, false},
		{map[string]string{newer: "Disabled"}, false},
		{map[string]string{older: "auto"}, true},
		{map[string]string{older: "Disabled", newer: "Auto"}, false},
		{map[string]string{older: "Auto", newer: "Disabled"}, true},
	} {
		svc := sample.Service(func(s *corev1.Service) { s.Annotations = c.annotations })
		if got := Automatic(svc); got != c.want {
			t.Errorf("%v: got %v", c.annotations, got)
		}
	}
}

func TestE93_HintsFollowCPU(t *testing.T) {
	for _, c := range []struct {
		cpus map[string]int
		pods string
		want string
	}{
		{map[string]int{"a": 4, "b": 4}, "aabb", "aabb"},
		{map[string]int{"a": 4, "b": 4}, "aaab", "baab"},                           // b needs two of four
		{map[string]int{"a": 4, "b": 4}, "aaaaaaaaabbbbbbbb", "aaaaaaaaabbbbbbbb"}, // 9 to 8 is near enough
		{map[string]int{"a": 6, "b": 2}, "aaaaabbb", "aaaaabbb"},
		{map[string]int{"a": 6, "b": 2}, "aabbbbbb", "aaaaabbb"},
		{map[string]int{"a": 4, "b": 4}, "aacc", "aabb"}, // no ready node is left in zone c
	} {
		plan, remarks := Slices(sample.Service(auto), spread(c.pods), withNode(zoneNodes(c.cpus), "c"), nil)
		if problem := remarks.Topology["IPv4"]; problem != "" {
			t.Errorf("%v, pods in %s: %s", c.cpus, c.pods, problem)
		}
		if got := zonesOf(plan); got != c.want {
			t.Errorf("%v, pods in %s: got %s, want %s", c.cpus, c.pods, got, c.want)
		}
	}
}

// withNode adds a node in a zone of its name that is not ready.
func withNode(nodes map[string]*corev1.Node, name string) map[string]*corev1.Node {
	if nodes[name] == nil {
		node := &corev1.Node{}
		node.Name, node.Labels = name, map[string]string{corev1.LabelTopologyZone: name}
		nodes[name] = node
	}
	return nodes
}

func TestE94_WhenAutoGivesNoHints(t *testing.T) {
	without := func(change func(*corev1.Node)) map[string]*corev1.Node {
		nodes := zoneNodes(map[string]int{"a": 2, "b": 2})
		change(nodes["b"])
		return nodes
	}
	for _, c := range []struct {
		nodes map[string]*corev1.Node
		pods  string
		want  string
	}{
		{zoneNodes(map[string]int{"a": 1, "b": 1, "c": 1}), "ab", "Insufficient number of endpoints"},
		{zoneNodes(map[string]int{"a": 1}), "aa", "Nodes only ready in one zone"},
		{without(func(n *corev1.Node) { n.Status.Conditions = nil }), "ab", "Nodes only ready in one zone"},
		{without(func(n *corev1.Node) { n.Labels["node-role.kubernetes.io/control-plane"] = "" }), "ab", "Nodes only ready in one zone"},
		{without(func(n *corev1.Node) { n.Status.Allocatable = nil }), "aa", "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"},
		{without(func(n *corev1.Node) { n.Labels = nil }), "aa", "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes"},
		{zoneNodes(map[string]int{"a": 7, "b": 1}), "ab", "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold"},
	} {
		plan, remarks := Slices(sample.Service(auto), spread(c.pods), c.nodes, nil)
		if got := remarks.Topology["IPv4"]; got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
		if got := zonesOf(plan); got != "--" {
			t.Errorf("%s: hints %s", c.want, got)
		}
	}
	// A pod in no zone, on a node that is not ready.
	nodes := withNode(zoneNodes(map[string]int{"a": 1, "b": 1}), "x")
	nodes["x"].Labels = nil
	if _, remarks := Slices(sample.Service(auto), spread("axb"), nodes, nil); remarks.Topology["IPv4"] != zonelessPod {
		t.Errorf("got %q", remarks.Topology["IPv4"])
	}
}

func TestE93_AutoOverridesTrafficDistribution(t *testing.T) {
	mode := "PreferClose"
	svc := sample.Service(auto, func(s *corev1.Service) { s.Spec.TrafficDistribution = &mode })
	plan, _ := Slices(svc, spread("a"), zoneNodes(map[string]int{"a": 1, "b": 1}), nil)
	if got := zonesOf(plan); got != "-" {
		t.Errorf("got %s", got)
	}
}

// Whatever the zones and pods are, no zone that gets hints is overloaded by more than a fifth, and
// every ready endpoint has exactly one zone.
func TestE94_NoZoneIsOverloaded(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	balanced := 0
	for range 2000 {
		cpus := map[string]int{"a": 1 + random.IntN(8), "b": 1 + random.IntN(8), "c": 1 + random.IntN(8)}
		zones := strings.Map(func(rune) rune { return rune('a' + random.IntN(3)) }, strings.Repeat("x", 3+random.IntN(40)))
		plan, remarks := Slices(sample.Service(auto), spread(zones), zoneNodes(cpus), nil)
		got := zonesOf(plan)
		if remarks.Topology["IPv4"] != "" {
			if strings.Trim(got, "-") != "" {
				t.Fatalf("%s, and yet hints %s", remarks.Topology["IPv4"], got)
			}
			continue
		}
		balanced++
		if len(got) != len(zones) || strings.Contains(got, "-") {
			t.Fatalf("%v, pods in %s: hints %s are not complete", cpus, zones, got)
		}
		for zone, cpu := range cpus {
			fair := float64(len(zones)) * float64(cpu) / float64(cpus["a"]+cpus["b"]+cpus["c"])
			if load := fair / float64(strings.Count(got, zone)); load > 1.2+1e-9 || math.IsNaN(load) {
				t.Fatalf("%v, pods in %s, hints %s: load in %s is %.2f", cpus, zones, got, zone, load)
			}
		}
	}
	if balanced < 500 {
		t.Errorf("only %d of 2000 cases were balanced", balanced)
	}
}

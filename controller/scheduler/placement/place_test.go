package placement

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// node is a ready node with 2 cores, 4 GiB and room for 10 pods.
func node(name string, change ...func(*corev1.Node)) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"kubernetes.io/hostname": name}}}
	n.Status.Allocatable = corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourceMemory: resource.MustParse("4Gi"), corev1.ResourcePods: resource.MustParse("10"),
	}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	for _, f := range change {
		f(n)
	}
	return n
}

func taint(key, value string, effect corev1.TaintEffect) func(*corev1.Node) {
	return func(n *corev1.Node) {
		n.Spec.Taints = append(n.Spec.Taints, corev1.Taint{Key: key, Value: value, Effect: effect})
	}
}
func cordoned(n *corev1.Node) { n.Spec.Unschedulable = true }
func notReady(n *corev1.Node) { n.Status.Conditions[0].Status = corev1.ConditionFalse }
func nodeLabel(k, v string) func(*corev1.Node) {
	return func(n *corev1.Node) { n.Labels[k] = v }
}

// pod is a pod of controller owner ("" for none).
func pod(name, owner string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID(name)}}
	p.Spec.Containers = []corev1.Container{{Name: "c"}}
	p.Spec.SchedulerName = corev1.DefaultSchedulerName
	if owner != "" {
		yes := true
		p.OwnerReferences = []metav1.OwnerReference{{UID: types.UID(owner), Controller: &yes}}
	}
	for _, f := range change {
		f(p)
	}
	return p
}

func requests(cpu, memory string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)}
	}
}
func port(ip string, protocol corev1.Protocol, number int32) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Containers[0].Ports = append(p.Spec.Containers[0].Ports, corev1.ContainerPort{HostIP: ip, Protocol: protocol, HostPort: number, ContainerPort: number})
	}
}
func selector(k, v string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{k: v} }
}
func toleration(t corev1.Toleration) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.Tolerations = append(p.Spec.Tolerations, t) }
}
func affinity(a *corev1.NodeAffinity) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.Affinity = &corev1.Affinity{NodeAffinity: a} }
}
func label(k, v string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Labels = map[string]string{k: v} }
}
func leaving(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{} }

// on is a Node with pods.
func on(n *corev1.Node, pods ...*corev1.Pod) *Node {
	out := NewNode(n)
	for _, p := range pods {
		out.Put(NewPod(p))
	}
	return out
}

// clusterOf is a cluster of the nodes, whose namespaces have their names as label team.
func clusterOf(nodes []*Node) *Cluster {
	slices.SortFunc(nodes, func(a, b *Node) int { return strings.Compare(a.Object.Name, b.Object.Name) })
	return &Cluster{Nodes: nodes, Namespaces: func(name string) labels.Set { return labels.Set{"team": name} }}
}

// placeOn is the node that the pod is placed on, or the sentence that says why there is none.
func placeOn(p *corev1.Pod, nodes ...*Node) (string, string) {
	d := Place(p, clusterOf(nodes))
	if d.Node != "" {
		return d.Node, ""
	}
	return "", d.Message()
}

func zone(v string) corev1.NodeSelectorTerm {
	return corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "zone", Operator: corev1.NodeSelectorOpIn, Values: []string{v}}}}
}

func TestPlaceRefuses(t *testing.T) {
	for _, c := range []struct {
		what  string
		pod   *corev1.Pod
		nodes []*Node
		want  string
	}{
		{"no nodes", pod("p", ""), nil, "no nodes available to schedule pods"},
		{"cordoned", pod("p", ""), []*Node{on(node("a", cordoned))}, "0/1 nodes are available: 1 node(s) were unschedulable."},
		{"not ready", pod("p", ""), []*Node{on(node("a", notReady))}, "0/1 nodes are available: 1 node(s) had untolerated taint {node.kubernetes.io/not-ready: }."},
		{"tainted", pod("p", ""), []*Node{on(node("a", taint("dedicated", "db", corev1.TaintEffectNoSchedule)))},
			"0/1 nodes are available: 1 node(s) had untolerated taint {dedicated: db}."},
		{"pods are evicted from it", pod("p", ""), []*Node{on(node("a", taint("drain", "", corev1.TaintEffectNoExecute)))},
			"0/1 nodes are available: 1 node(s) had untolerated taint {drain: }."},
		{"selector", pod("p", "", selector("disk", "ssd")), []*Node{on(node("a")), on(node("b"))},
			"0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."},
		{"required affinity", pod("p", "", affinity(&corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{zone("z")}}})),
			[]*Node{on(node("a"))}, "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."},
		{"cpu and memory", pod("p", "", requests("1500m", "3Gi")), []*Node{on(node("a"), pod("q", "", requests("1", "2Gi"))), on(node("b"), pod("q", "", requests("1", "10Mi")))},
			"0/2 nodes are available: 1 Insufficient memory, 2 Insufficient cpu."},
		{"mixed", pod("p", "", requests("4", "1Mi")), []*Node{on(node("a", cordoned)), on(node("b"))},
			"0/2 nodes are available: 1 Insufficient cpu, 1 node(s) were unschedulable."},
		{"unknown resource", pod("p", "", func(p *corev1.Pod) {
			p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{"example.com/gpu": resource.MustParse("1")}
		}), []*Node{on(node("a"))}, "0/1 nodes are available: 1 Insufficient example.com/gpu."},
	} {
		if got, why := placeOn(c.pod, c.nodes...); got != "" || why != c.want {
			t.Errorf("%s: %q, %q; want %q", c.what, got, why, c.want)
		}
	}
}

func TestPlaceTooManyPods(t *testing.T) {
	full := on(node("a"))
	for i := range 10 {
		full.Put(NewPod(pod(fmt.Sprint("q", i), "")))
	}
	if got, reasons := placeOn(pod("p", ""), full); got != "" || reasons != "0/1 nodes are available: 1 Too many pods." {
		t.Errorf("%q, %q", got, reasons)
	}
	full.Remove("q3")
	if got, _ := placeOn(pod("p", ""), full); got != "a" {
		t.Errorf("after a pod left: %q", got)
	}
}

func TestD15_HostPorts(t *testing.T) {
	for _, c := range []struct {
		have, want func(*corev1.Pod)
		fits       bool
	}{
		{port("", corev1.ProtocolTCP, 80), port("", corev1.ProtocolTCP, 80), false},
		{port("", corev1.ProtocolTCP, 80), port("", corev1.ProtocolUDP, 80), true},
		{port("", corev1.ProtocolTCP, 80), port("", corev1.ProtocolTCP, 81), true},
		{port("127.0.0.1", corev1.ProtocolTCP, 80), port("10.0.0.1", corev1.ProtocolTCP, 80), true},
		{port("127.0.0.1", corev1.ProtocolTCP, 80), port("127.0.0.1", corev1.ProtocolTCP, 80), false},
		{port("127.0.0.1", corev1.ProtocolTCP, 80), port("0.0.0.0", corev1.ProtocolTCP, 80), false},
		{port("0.0.0.0", corev1.ProtocolTCP, 80), port("127.0.0.1", corev1.ProtocolTCP, 80), false},
		{port("", "", 80), port("0.0.0.0", corev1.ProtocolTCP, 80), false},
	} {
		have, want := pod("q", "", c.have), pod("p", "", c.want)
		got, reasons := placeOn(want, on(node("a"), have))
		if (got == "a") != c.fits {
			t.Errorf("%v beside %v: %q, %v", want.Spec.Containers[0].Ports, have.Spec.Containers[0].Ports, got, reasons)
		}
	}
}

func TestPlacePrefers(t *testing.T) {
	preferred := affinity(&corev1.NodeAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{{Weight: 1, Preference: zone("z")}}})
	for _, c := range []struct {
		what  string
		pod   *corev1.Pod
		nodes []*Node
		want  string
	}{
		{"the first by name", pod("p", ""), []*Node{on(node("b")), on(node("a"))}, "a"},
		{"fewer pods of its owner", pod("p", "rs"), []*Node{on(node("a"), pod("q", "rs")), on(node("b"), pod("r", "x"), pod("s", "x"))}, "b"},
		{"a leaving pod does not count for its owner", pod("p", "rs"), []*Node{on(node("a"), pod("q", "rs", leaving)), on(node("b"), pod("r", "rs"))}, "a"},
		{"fewer pods with its labels", pod("p", "", label("app", "x")), []*Node{on(node("a"), pod("q", "", label("app", "x"))), on(node("b"), pod("r", "", label("app", "y")), pod("s", ""))}, "b"},
		{"least requested", pod("p", ""), []*Node{on(node("a"), pod("q", "", requests("1", "1Gi"))), on(node("b"), pod("r", "", requests("500m", "1Gi")))}, "b"},
		{"requests of nothing still count", pod("p", ""), []*Node{on(node("a"), pod("q", "")), on(node("b"))}, "b"},
		{"preferred affinity before spread", pod("p", "rs", preferred), []*Node{on(node("a")), on(node("b", nodeLabel("zone", "z")), pod("q", "rs"))}, "b"},
		{"no PreferNoSchedule taint", pod("p", ""), []*Node{on(node("a", taint("k", "", corev1.TaintEffectPreferNoSchedule))), on(node("b"), pod("q", ""))}, "b"},
		{"tolerated taint", pod("p", "", toleration(corev1.Toleration{Key: "k", Operator: corev1.TolerationOpExists})), []*Node{on(node("a", taint("k", "v", corev1.TaintEffectNoSchedule)))}, "a"},
		{"cordoned but tolerated", pod("p", "", toleration(corev1.Toleration{Operator: corev1.TolerationOpExists})), []*Node{on(node("a", cordoned, notReady))}, "a"},
		{"its selector", pod("p", "", selector("kubernetes.io/hostname", "b")), []*Node{on(node("a")), on(node("b"), pod("q", ""))}, "b"},
	} {
		if got, reasons := placeOn(c.pod, c.nodes...); got != c.want {
			t.Errorf("%s: %q (%v), want %q", c.what, got, reasons, c.want)
		}
	}
}

func TestNodeCountsReturnToZero(t *testing.T) {
	n := on(node("a"))
	for i := range 5 {
		n.Put(NewPod(pod(fmt.Sprint("p", i), "rs", requests("100m", "1Mi"), port("", corev1.ProtocolTCP, int32(80+i)))))
		n.Put(NewPod(pod(fmt.Sprint("p", i), "rs", requests("200m", "1Mi"), port("", corev1.ProtocolTCP, int32(90+i)), leaving)))
	}
	if n.used[corev1.ResourceCPU] != 1000 || len(n.ports) != 5 || len(n.groups) != 0 {
		t.Errorf("used %v, ports %v, groups %v", n.used, n.ports, n.groups)
	}
	for i := range 5 {
		n.Remove(types.UID(fmt.Sprint("p", i)))
		n.Remove(types.UID(fmt.Sprint("p", i)))
	}
	if n.used[corev1.ResourceCPU] != 0 || n.cpu != 0 || n.mem != 0 || len(n.ports)+len(n.groups)+len(n.pods) != 0 {
		t.Errorf("left over: %+v", n)
	}
}

func BenchmarkPlace(b *testing.B) {
	var nodes []*Node
	for i := range 100 {
		n := on(node(fmt.Sprintf("n%03d", i)))
		for k := range 9 {
			n.Put(NewPod(pod(fmt.Sprint(i, "-", k), fmt.Sprint("rs", k))))
		}
		nodes = append(nodes, n)
	}
	cluster := clusterOf(nodes)
	p := pod("p", "rs1", requests("100m", "10Mi"))
	for b.Loop() {
		if d := Place(p, cluster); d.Node == "" {
			b.Fatal("no node")
		}
	}
}

// 1 000 pods of ten kinds to 100 nodes, one after the other: plain ones, and those that have to be away from, would rather be with, or
// are spread among the others.
func BenchmarkThousandPods(b *testing.B) {
	for _, c := range []struct {
		name string
		wish func(*corev1.Pod)
	}{{"plain", func(*corev1.Pod) {}}, {"anti-affinity", away(near("web", host))}, {"preferred", rather(10, near("web", zones))}, {"spread", even(zones, corev1.DoNotSchedule)}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				var nodes []*Node
				for i := range 100 {
					nodes = append(nodes, on(node(fmt.Sprintf("n%03d", i), nodeLabel(zones, fmt.Sprint("z", i%3)))))
				}
				cluster := clusterOf(nodes)
				for i := range 1000 {
					p := pod(fmt.Sprint("p", i), fmt.Sprint("rs", i%10), requests("100m", "10Mi"), label("app", "x"))
					c.wish(p)
					d := Place(p, cluster)
					k := slices.IndexFunc(nodes, func(n *Node) bool { return n.Object.Name == d.Node })
					if k < 0 {
						b.Fatal(d.Message())
					}
					nodes[k].Put(NewPod(p))
				}
			}
		})
	}
}

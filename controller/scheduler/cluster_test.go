package scheduler

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// A pod counts on its node from the decision on, whatever becomes of the binding and in whatever order one hears of it: no node
// is ever given more than it has.
func TestAPodCountsFromTheDecisionOn(t *testing.T) {
	p := pod("p")
	on := func(node string) *corev1.Pod {
		bound := p.DeepCopy()
		bound.Spec.NodeName = node
		return bound
	}
	for _, test := range []struct {
		name  string
		then  func(c *cluster)
		want  string // where it counts
		again string // where it is bound if it comes back; none: it is decided
	}{
		{"under way", func(*cluster) {}, "n1", ""},
		{"the cache shows it", func(c *cluster) { c.put(on("n1")) }, "n1", ""},
		{"it is elsewhere", func(c *cluster) { c.put(on("n2")) }, "n2", ""},
		{"refused", func(c *cluster) { c.refused(p.UID) }, "", "n1"},
		{"no answer", func(c *cluster) { c.unsure(p.UID) }, "n1", "n1"},
		{"no answer, then the cache shows it", func(c *cluster) { c.unsure(p.UID); c.put(on("n1")) }, "n1", ""},
		{"the cache shows it, then no answer", func(c *cluster) { c.put(on("n1")); c.unsure(p.UID) }, "n1", ""},
		{"the cache shows it, then refused", func(c *cluster) { c.put(on("n1")); c.refused(p.UID) }, "n1", ""},
		{"no answer, and another node is better now", func(c *cluster) { c.unsure(p.UID); c.put(withNode(pod("q"), "n1")) }, "n1", "n1"},
		{"no answer, and the node is gone", func(c *cluster) { c.unsure(p.UID); c.removeNode("n1") }, "n1", "n2"},
		{"gone", func(c *cluster) { c.remove(p.UID) }, "", "n1"},
		{"gone, then no answer", func(c *cluster) { c.remove(p.UID); c.unsure(p.UID) }, "", "n1"},
	} {
		c := newCluster(nil)
		c.setNode(node("n1"))
		c.setNode(node("n2"))
		if at, message := placed(c, p); at != "n1" {
			t.Fatalf("%s: placed on %q: %s", test.name, at, message)
		}
		test.then(c)
		at := ""
		for name, n := range c.nodes {
			if n.Has(p.UID) {
				at += name
			}
		}
		if at != test.want || c.where[p.UID] != test.want {
			t.Errorf("%s: counts on %q, by the list of pods on %q; want %q", test.name, at, c.where[p.UID], test.want)
		}
		again := ""
		if !c.decided(p.UID) {
			again, _ = placed(c, p)
		}
		if again != test.again {
			t.Errorf("%s: bound again to %q, want %q", test.name, again, test.again)
		}
	}
}

// placed is the node that the pod is placed on, or why there is none.
func placed(c *cluster, p *corev1.Pod) (node, message string) {
	out := c.place(p, func() ([]*policyv1.PodDisruptionBudget, bool) { return nil, true })
	return out.node, out.message
}

// node is a ready node with room for ten pods.
func node(name string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	n.Status.Allocatable = corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("2"), corev1.ResourceMemory: resource.MustParse("4Gi"), corev1.ResourcePods: resource.MustParse("10"),
	}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	return n
}

func pod(name string) *corev1.Pod {
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID(name)},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}}}
}

func withNode(p *corev1.Pod, node string) *corev1.Pod {
	p.Spec.NodeName = node
	return p
}

// Nothing is remembered of pods that the cache shows.
func TestNothingIsAssumedOfWhatTheCacheShows(t *testing.T) {
	c := newCluster(nil)
	c.setNode(node("n1"))
	for i := range 10 {
		p := pod(fmt.Sprint("p", i))
		if at, message := placed(c, p); at == "" {
			t.Fatal(message)
		}
		c.put(withNode(p.DeepCopy(), "n1"))
		if _, repeat := c.assumed.Unanswered(p.UID, p.UID); repeat || c.assumed.NoAnswer(p.UID, p.UID) {
			t.Errorf("%s is still assumed", p.Name)
		}
	}
}

// replica is a pod of a ReplicaSet that takes nearly half of a node's processors.
func replica(name string) *corev1.Pod {
	p := pod(name)
	p.OwnerReferences = []metav1.OwnerReference{{UID: "rs", Controller: new(true)}}
	p.Spec.Containers[0].Resources.Requests = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("900m")}
	return p
}

const full = "0/2 nodes are available: 2 Insufficient cpu. preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod."

// A pod decided for a node counts there at once: two replicas land on two nodes, and
// a node is never overcommitted, whatever the informer knows.
func TestDecisionsCountAtOnce(t *testing.T) {
	c := newCluster(nil)
	c.setNode(node("a"))
	c.setNode(node("b"))
	got := map[string]int{}
	for i := range 4 {
		n, message := placed(c, replica(fmt.Sprint("p", i)))
		if message != "" {
			t.Fatal(message)
		}
		got[n]++
	}
	if got["a"] != 2 || got["b"] != 2 {
		t.Errorf("placed %v", got)
	}
	if n, message := placed(c, replica("p9")); n != "" || message != full {
		t.Errorf("overcommitted: %q, %q", n, message)
	}
	c.removeNode("b")
	if !c.remove("p0") || c.remove("p0") {
		t.Error("a pod is counted once")
	}
	if n, _ := placed(c, replica("p10")); n != "a" {
		t.Errorf("placed on %q", n)
	}
	for _, uid := range []types.UID{"p1", "p2", "p3"} {
		c.remove(uid)
	}
	if len(c.nodes) != 1 {
		t.Errorf("nodes %v are kept without object and pods", c.nodes)
	}
}

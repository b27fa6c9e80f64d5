package scheduler

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// A pod counts on its node from the decision on, whatever becomes of the binding and in whatever order one hears of it: no node
// is ever given more than it has.
func TestAPodCountsFromTheDecisionOn(t *testing.T) {
	p := pod("p", "", requests("1", "1Gi"))
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
		{"no answer, and another node is better now", func(c *cluster) { c.unsure(p.UID); c.put(withNode(pod("q", ""), "n1")) }, "n1", "n1"},
		{"no answer, and the node is gone", func(c *cluster) { c.unsure(p.UID); c.removeNode("n1") }, "n1", "n2"},
		{"gone", func(c *cluster) { c.remove(p.UID) }, "", "n1"},
		{"gone, then no answer", func(c *cluster) { c.remove(p.UID); c.unsure(p.UID) }, "", "n1"},
	} {
		c := newCluster()
		c.setNode(node("n1"))
		c.setNode(node("n2"))
		if at, message := c.place(p); at != "n1" {
			t.Fatalf("%s: placed on %q: %s", test.name, at, message)
		}
		test.then(c)
		at := ""
		for name, n := range c.nodes {
			if _, counted := n.pods[p.UID]; counted {
				at += name
			}
		}
		if at != test.want || c.where[p.UID] != test.want {
			t.Errorf("%s: counts on %q, by the list of pods on %q; want %q", test.name, at, c.where[p.UID], test.want)
		}
		again := ""
		if !c.decided(p.UID) {
			again, _ = c.place(p)
		}
		if again != test.again {
			t.Errorf("%s: bound again to %q, want %q", test.name, again, test.again)
		}
	}
}

func withNode(p *corev1.Pod, node string) *corev1.Pod {
	p.Spec.NodeName = node
	return p
}

// Nothing is remembered of pods that the cache shows.
func TestNothingIsAssumedOfWhatTheCacheShows(t *testing.T) {
	c := newCluster()
	c.setNode(node("n1"))
	for i := range 10 {
		p := pod(fmt.Sprint("p", i), "")
		if at, message := c.place(p); at == "" {
			t.Fatal(message)
		}
		c.put(withNode(p.DeepCopy(), "n1"))
		if _, repeat := c.assumed.Unanswered(p.UID, p.UID); repeat || c.assumed.NoAnswer(p.UID, p.UID) {
			t.Errorf("%s is still assumed", p.Name)
		}
	}
}

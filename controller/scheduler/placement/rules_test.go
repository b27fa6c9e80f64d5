package placement

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// near is a term about the pods with the label app.
func near(app, key string) corev1.PodAffinityTerm {
	return corev1.PodAffinityTerm{LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": app}}, TopologyKey: key}
}

func with(terms ...corev1.PodAffinityTerm) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Affinity = &corev1.Affinity{PodAffinity: &corev1.PodAffinity{RequiredDuringSchedulingIgnoredDuringExecution: terms}}
	}
}

func away(terms ...corev1.PodAffinityTerm) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: terms}}
	}
}

func rather(weight int32, t corev1.PodAffinityTerm) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Affinity = &corev1.Affinity{PodAffinity: &corev1.PodAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{Weight: weight, PodAffinityTerm: t}}}}
	}
}

func in(namespace string) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Namespace = namespace } }

func even(key string, met corev1.UnsatisfiableConstraintAction, change ...func(*corev1.TopologySpreadConstraint)) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		c := corev1.TopologySpreadConstraint{MaxSkew: 1, TopologyKey: key, WhenUnsatisfiable: met, LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}}}
		for _, f := range change {
			f(&c)
		}
		p.Spec.TopologySpreadConstraints = append(p.Spec.TopologySpreadConstraints, c)
	}
}

const (
	host  = corev1.LabelHostname
	zones = corev1.LabelTopologyZone
)

func TestAffinityBetweenPods(t *testing.T) {
	web := label("app", "web")
	elsewhere := near("web", host)
	elsewhere.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"team": "blue"}}
	for _, c := range []struct {
		what  string
		pod   *corev1.Pod
		nodes []*Node
		want  string // the node, or the reason
	}{
		{"with", pod("p", "", with(near("web", host))), []*Node{on(node("a")), on(node("b"), pod("q", "", web))}, "b"},
		{"in its zone", pod("p", "", with(near("web", zones))), []*Node{on(node("a", nodeLabel(zones, "z"))), on(node("b", nodeLabel(zones, "z"), cordoned), pod("q", "", web))}, "a"},
		{"with nobody", pod("p", "", with(near("web", host))), []*Node{on(node("a"))}, "1 node(s) didn't match pod affinity rules"},
		{"the first of those with each other", pod("p", "", web, with(near("web", host))), []*Node{on(node("a"))}, "a"},
		{"not in another namespace", pod("p", "", with(near("web", host))), []*Node{on(node("a"), pod("q", "", web, in("blue")))}, "1 node(s) didn't match pod affinity rules"},
		{"in a namespace by its labels", pod("p", "", with(elsewhere)), []*Node{on(node("a")), on(node("b"), pod("q", "", web, in("blue")))}, "b"},
		{"away", pod("p", "", away(near("web", host))), []*Node{on(node("a"), pod("q", "", web)), on(node("b"), pod("r", ""), pod("s", ""))}, "b"},
		{"away from all", pod("p", "", away(near("web", host))), []*Node{on(node("a"), pod("q", "", web))}, "1 node(s) didn't match pod anti-affinity rules"},
		{"somebody is away from it", pod("p", "", web), []*Node{on(node("a"), pod("q", "", away(near("web", host))))}, "1 node(s) didn't satisfy existing pods anti-affinity rules"},
		{"would rather", pod("p", "", rather(10, near("web", host))), []*Node{on(node("a")), on(node("b"), pod("q", "", web))}, "b"},
		{"somebody would rather", pod("p", "", web), []*Node{on(node("a")), on(node("b"), pod("q", "", rather(10, near("web", host))))}, "b"},
	} {
		if got, why := placeOn(c.pod, c.nodes...); got != c.want && why != "0/1 nodes are available: "+c.want+"." {
			t.Errorf("%s: %q, %q; want %q", c.what, got, why, c.want)
		}
	}
}

func TestTopologySpread(t *testing.T) {
	web := label("app", "web")
	const refused = "1 node(s) didn't match pod topology spread constraints"
	for _, c := range []struct {
		what  string
		pod   *corev1.Pod
		nodes []*Node
		want  string
	}{
		{"hard", pod("p", "", web, even(host, corev1.DoNotSchedule)), []*Node{on(node("a"), pod("q", "", web)), on(node("b"), pod("r", ""), pod("s", ""))}, "b"},
		{"too few domains", pod("p", "", web, even(host, corev1.DoNotSchedule, func(c *corev1.TopologySpreadConstraint) { c.MinDomains = new(int32(2)) })),
			[]*Node{on(node("a"), pod("q", "", web))}, refused},
		{"one domain is enough", pod("p", "", web, even(host, corev1.DoNotSchedule)), []*Node{on(node("a"), pod("q", "", web))}, "a"},
		{"no label", pod("p", "", web, even(zones, corev1.DoNotSchedule)), []*Node{on(node("a"))}, refused + " (missing required label)"},
		{"a node that it may not go to counts", pod("p", "", web, selector("disk", "ssd"), even(host, corev1.DoNotSchedule, func(c *corev1.TopologySpreadConstraint) { c.NodeAffinityPolicy = new(corev1.NodeInclusionPolicyIgnore) })),
			[]*Node{on(node("a", nodeLabel("disk", "ssd")), pod("q", "", web)), on(node("b"))}, "1 node(s) didn't match Pod's node affinity/selector, " + refused},
		{"or not", pod("p", "", web, selector("disk", "ssd"), even(host, corev1.DoNotSchedule)),
			[]*Node{on(node("a", nodeLabel("disk", "ssd")), pod("q", "", web)), on(node("b"))}, "a"},
		{"a tainted node does not count", pod("p", "", web, even(host, corev1.DoNotSchedule, func(c *corev1.TopologySpreadConstraint) { c.NodeTaintsPolicy = new(corev1.NodeInclusionPolicyHonor) })),
			[]*Node{on(node("a"), pod("q", "", web)), on(node("b", taint("k", "", corev1.TaintEffectNoSchedule)))}, "a"},
		{"of the same version", pod("p", "", func(p *corev1.Pod) { p.Labels = map[string]string{"app": "web", "v": "2"} },
			even(host, corev1.DoNotSchedule, func(c *corev1.TopologySpreadConstraint) { c.MatchLabelKeys = []string{"v"} })),
			[]*Node{on(node("a"), pod("q", "", web)), on(node("b"), pod("r", "", func(p *corev1.Pod) { p.Labels = map[string]string{"app": "web", "v": "2"} }))}, "a"},
		{"soft", pod("p", "", web, even(host, corev1.ScheduleAnyway)), []*Node{on(node("a"), pod("q", "", web)), on(node("b"), pod("r", ""))}, "b"},
	} {
		if got, why := placeOn(c.pod, c.nodes...); got != c.want && why != "0/1 nodes are available: "+c.want+"." && why != "0/2 nodes are available: "+c.want+"." {
			t.Errorf("%s: %q, %q; want %q", c.what, got, why, c.want)
		}
	}
}

func TestImagesDraw(t *testing.T) {
	has := func(n *corev1.Node) {
		n.Status.Images = []corev1.ContainerImage{{Names: []string{"reg/big:latest"}, SizeBytes: 900 << 20}}
	}
	p := pod("p", "", func(p *corev1.Pod) { p.Spec.Containers[0].Image = "reg/big" })
	if got, why := placeOn(p, on(node("a")), on(node("b", has))); got != "b" {
		t.Errorf("%q, %q", got, why)
	}
}

func priority(n int32) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Spec.Priority = &n } }
func began(second int64) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Status.StartTime = &metav1.Time{Time: metav1.Unix(second, 0).Time} }
}

func TestPreemption(t *testing.T) {
	big := requests("1500m", "1Mi")
	half := requests("1", "1Mi")
	budget := &policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Namespace: "default"},
		Spec: policyv1.PodDisruptionBudgetSpec{Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "kept"}}}}
	never := corev1.PreemptNever
	for _, c := range []struct {
		what  string
		pod   *corev1.Pod
		nodes []*Node
		want  []string // who leaves
		why   string   // or why nobody
	}{
		{"the lower priority leaves", pod("p", "", big, priority(10)), []*Node{on(node("a"), pod("q", "", half, priority(5))), on(node("b"), pod("r", "", half))}, []string{"r"}, ""},
		{"as few as do", pod("p", "", half, priority(10)), []*Node{on(node("a"), pod("q", "", half, began(1)), pod("r", "", half, began(2)))}, []string{"r"}, ""},
		{"a budget protects", pod("p", "", half, priority(10)), []*Node{on(node("a"), pod("q", "", half, began(1)), pod("r", "", half, began(2), label("app", "kept")))}, []string{"q"}, ""},
		{"but not for ever", pod("p", "", half, priority(10)), []*Node{on(node("a"), pod("q", "", requests("2", "1Mi"), label("app", "kept")))}, []string{"q"}, ""},
		{"not the same priority", pod("p", "", half, priority(10)), []*Node{on(node("a"), pod("q", "", requests("2", "1Mi"), priority(10)))}, nil,
			"0/1 nodes are available: 1 No preemption victims found for incoming pod."},
		{"it would not help", pod("p", "", selector("disk", "ssd"), priority(10)), []*Node{on(node("a"), pod("q", ""))}, nil,
			"0/1 nodes are available: 1 Preemption is not helpful for scheduling."},
		{"not enough", pod("p", "", big, priority(10)), []*Node{on(node("a"), pod("q", "", half, priority(20)), pod("r", "", requests("100m", "1Mi")))}, nil,
			"0/1 nodes are available: 1 Insufficient cpu."},
		{"never", pod("p", "", big, priority(10), func(p *corev1.Pod) { p.Spec.PreemptionPolicy = &never }), []*Node{on(node("a"), pod("r", "", half))}, nil,
			"not eligible due to preemptionPolicy=Never."},
		{"a victim that is leaving is waited for", pod("p", "", big, priority(10), func(p *corev1.Pod) { p.Status.NominatedNodeName = "a" }),
			[]*Node{on(node("a"), pod("r", "", half, leaving, func(p *corev1.Pod) {
				p.Status.Conditions = []corev1.PodCondition{{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: corev1.PodReasonPreemptionByScheduler}}
			}))}, nil, "not eligible due to a terminating pod on the nominated node."},
		{"anti-affinity", pod("p", "", away(near("web", host)), priority(10)), []*Node{on(node("a"), pod("q", "", label("app", "web")), pod("r", ""))}, []string{"q"}, ""},
	} {
		d := Place(c.pod, clusterOf(c.nodes))
		if d.Node != "" {
			t.Fatalf("%s: placed on %s", c.what, d.Node)
		}
		found, why, _ := Preempt(d, []*policyv1.PodDisruptionBudget{budget})
		var who []string
		if found != nil {
			for _, p := range found.Victims {
				who = append(who, p.Name)
			}
		}
		if !slices.Equal(who, c.want) || c.want == nil && why != c.why {
			t.Errorf("%s: %v leave, %q; want %v, %q", c.what, who, why, c.want, c.why)
		}
	}
}

// Room that is made for a pod is kept from others that have no greater right to it, and is the pod's first choice.
func TestNominated(t *testing.T) {
	a := on(node("a"))
	for _, c := range []struct {
		what     string
		priority int32
		want     string
	}{{"lower", 0, "0/1 nodes are available: 1 Insufficient cpu."}, {"the same", 10, "0/1 nodes are available: 1 Insufficient cpu."}, {"higher", 20, ""}} {
		a.Nominate(NewPod(pod("q", "", requests("2", "1Mi"), priority(10))))
		if _, why := placeOn(pod("p", "", requests("1", "1Mi"), priority(c.priority)), a); why != c.want {
			t.Errorf("%s priority: %q, want %q", c.what, why, c.want)
		}
	}
	wish := pod("q", "", priority(10), func(p *corev1.Pod) { p.Status.NominatedNodeName = "b" })
	if got, _ := placeOn(wish, on(node("a")), on(node("b"), pod("r", ""))); got != "b" {
		t.Errorf("placed on %q", got)
	}
}

// A pod that waits is looked at again when something changes that may help it.
func TestHeals(t *testing.T) {
	for _, c := range []struct {
		what string
		pod  *corev1.Pod
		want Change
	}{
		{"more than the node has left", pod("p", "", requests("2", "1Mi")), NodeChanged | PodGone},
		{"more than the node is", pod("p", "", requests("3", "1Mi")), NodeChanged},
		{"its selector", pod("p", "", selector("disk", "ssd")), NodeChanged},
		{"pods to be with", pod("p", "", with(near("web", host))), NodeChanged | PodGone | PodCame},
	} {
		if d := Place(c.pod, clusterOf([]*Node{on(node("a"), pod("q", "", requests("100m", "1Mi")))})); d.Node != "" || d.Heals != c.want {
			t.Errorf("%s: placed on %q, may be helped by %b, want %b", c.what, d.Node, d.Heals, c.want)
		}
	}
}

// What a pod asks for besides its containers counts: overhead, and resources of the whole pod.
func TestWholePod(t *testing.T) {
	whole := func(p *corev1.Pod) {
		p.Spec.Resources = &corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("3")}}
	}
	over := func(p *corev1.Pod) {
		p.Spec.Overhead = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1500m")}
	}
	for what, p := range map[string]*corev1.Pod{"resources": pod("p", "", requests("100m", "1Mi"), whole), "overhead": pod("p", "", requests("1", "1Mi"), over)} {
		if got, why := placeOn(p, on(node("a"))); got != "" || why != "0/1 nodes are available: 1 Insufficient cpu." {
			t.Errorf("%s: %q, %q", what, got, why)
		}
	}
}

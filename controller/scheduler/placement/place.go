package placement

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/klog/v2"
)

// Reasons counts, over the nodes that were refused, why; in upstream's words.
type Reasons map[string]int

// Message is upstream's sentence for a pod that fits nowhere.
func (r Reasons) Message(nodes int) string {
	if nodes == 0 {
		return "no nodes available to schedule pods"
	}
	parts := make([]string, 0, len(r))
	for reason, n := range r {
		parts = append(parts, fmt.Sprintf("%d %s", n, reason))
	}
	slices.Sort(parts)
	return fmt.Sprintf("0/%d nodes are available: %s.", nodes, strings.Join(parts, ", "))
}

// Place chooses the pod's node: among those that may take it, the one the pod
// prefers (node affinity), then the one that minds least (PreferNoSchedule
// taints), then the one with the fewest pods of the same group, then the one with
// the most room, then the first by name. It returns "" and the reasons if there is
// none.
func Place(pod *corev1.Pod, nodes []*Node) (string, Reasons) {
	reasons := Reasons{}
	asked := ask(pod)
	var best *Node
	var bestRank rank
	for _, n := range nodes {
		if why := asked.refusals(n); len(why) > 0 {
			for _, w := range why {
				reasons[w]++
			}
			continue
		}
		if r := asked.rank(n); best == nil || r.compare(bestRank) < 0 {
			best, bestRank = n, r
		}
	}
	if best == nil {
		return "", reasons
	}
	return best.Object.Name, nil
}

// request is a pod with everything derived from it that does not depend on the
// node.
type request struct {
	pod       *corev1.Pod
	load      load
	required  nodeaffinity.RequiredNodeAffinity
	preferred *nodeaffinity.PreferredSchedulingTerms
}

func ask(pod *corev1.Pod) request {
	r := request{pod: pod, load: loadOf(pod), required: nodeaffinity.GetRequiredNodeAffinity(pod)}
	if a := pod.Spec.Affinity; a != nil && a.NodeAffinity != nil {
		// Terms that do not parse prefer nothing; validation refuses them.
		r.preferred, _ = nodeaffinity.NewPreferredSchedulingTerms(a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	return r
}

// refusals says why the node cannot take the pod: the first kind of reason that
// applies, and for resources every one that is short.
func (r *request) refusals(n *Node) []string {
	node := n.Object
	if node.Spec.Unschedulable && !tolerates(r.pod, &corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule}) {
		return []string{"node(s) were unschedulable"}
	}
	for _, t := range taintsOf(node) {
		if t.Effect != corev1.TaintEffectPreferNoSchedule && !tolerates(r.pod, &t) {
			return []string{fmt.Sprintf("node(s) had untolerated taint {%s: %s}", t.Key, t.Value)}
		}
	}
	if ok, err := r.required.Match(node); err != nil || !ok {
		return []string{"node(s) didn't match Pod's node affinity/selector"}
	}
	for _, p := range r.load.ports {
		if n.conflicts(p) {
			return []string{"node(s) didn't have free ports for the requested pod ports"}
		}
	}
	return r.shortages(n)
}

// shortages compares requests with what is left of the node's allocatable. A
// request of zero always fits.
func (r *request) shortages(n *Node) []string {
	var short []string
	allocatable := n.Object.Status.Allocatable
	if pods, ok := allocatable[corev1.ResourcePods]; ok && int64(len(n.pods)) >= pods.Value() {
		short = append(short, "Too many pods")
	}
	for name, want := range r.load.requests {
		if want > 0 && want > capacity(allocatable, name)-n.used[name] {
			short = append(short, "Insufficient "+string(name))
		}
	}
	slices.Sort(short)
	return short
}

func capacity(list corev1.ResourceList, name corev1.ResourceName) int64 {
	q := list[name]
	if name == corev1.ResourceCPU {
		return q.MilliValue()
	}
	return q.Value()
}

func tolerates(pod *corev1.Pod, taint *corev1.Taint) bool {
	for i := range pod.Spec.Tolerations {
		if pod.Spec.Tolerations[i].ToleratesTaint(klog.Logger{}, taint, true) {
			return true
		}
	}
	return false
}

// rank orders nodes that fit; less is better, field by field.
type rank struct {
	dislike int64   // minus the weight of preferred node affinity terms
	minds   int     // PreferNoSchedule taints not tolerated
	group   int     // pods of the same group
	used    float64 // mean used share of cpu and memory with the pod on it
	pods    int
	name    string
}

func (a rank) compare(b rank) int {
	return cmp.Or(
		cmp.Compare(a.dislike, b.dislike),
		cmp.Compare(a.minds, b.minds),
		cmp.Compare(a.group, b.group),
		cmp.Compare(a.used, b.used),
		cmp.Compare(a.pods, b.pods),
		cmp.Compare(a.name, b.name),
	)
}

func (r *request) rank(n *Node) rank {
	out := rank{group: n.groups[r.load.group], pods: len(n.pods), name: n.Object.Name}
	if r.preferred != nil {
		out.dislike = -r.preferred.Score(n.Object)
	}
	for i := range n.Object.Spec.Taints {
		t := &n.Object.Spec.Taints[i]
		if t.Effect == corev1.TaintEffectPreferNoSchedule && !tolerates(r.pod, t) {
			out.minds++
		}
	}
	out.used = (share(n.cpu+r.load.cpu, capacity(n.Object.Status.Allocatable, corev1.ResourceCPU)) +
		share(n.mem+r.load.mem, capacity(n.Object.Status.Allocatable, corev1.ResourceMemory))) / 2
	return out
}

// share is the part of total in use; a node that states no total counts as full.
func share(used, total int64) float64 {
	if total <= 0 {
		return 1
	}
	return float64(used) / float64(total)
}

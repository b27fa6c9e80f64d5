package placement

import (
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/klog/v2"
)

// filter is a rule about which nodes will do.
type filter struct {
	name    string                      // upstream's plugin
	applies func(r *request) *judgement // nil: it has no say about this pod
	heals   Change                      // what may change its mind
}

// judgement is a filter's as it applies to one pod.
type judgement struct {
	check func(n *Node) refusal
	count func(p *Pod, n *Node, by int) // tells it of a pod that came to a node (1) or left it (-1); nil: it looks at single nodes
	never string                        // why no node will do; then nothing else is asked
	heals Change
}

// filters are those of upstream's scheduler, in its order: the first one that refuses a node says why.
var filters = []filter{
	{"NodeUnschedulable", unschedulable, NodeChanged},
	{"TaintToleration", taints, NodeChanged},
	{"NodeAffinity", nodeAffinity, NodeChanged},
	{"NodePorts", hostPorts, NodeChanged | PodGone},
	{"NodeResourcesFit", fits, NodeChanged | PodGone},
	{"VolumeRestrictions", oncePod, VolumeChanged | PodGone},
	{"NodeVolumeLimits", volumeLimits, VolumeChanged | NodeChanged | PodGone},
	{"VolumeBinding", volumeBinding, VolumeChanged | NodeChanged},
	{"VolumeZone", volumeZone, VolumeChanged | NodeChanged},
	{"PodTopologySpread", hardSpread, NodeChanged | PodGone | PodCame},
	{"InterPodAffinity", podAffinity, NodeChanged | PodGone | PodCame},
}

// scorer is a rule about which node is better.
type scorer struct {
	name   string                                               // upstream's plugin
	weight int64                                                // upstream's
	score  func(r *request, nodes []*Node, points []int64) bool // 0 to 100 points for each node; false: it has no say about this pod
}

// scorers are those of upstream's scheduler.
var scorers = []scorer{
	{"TaintToleration", 3, preferredTaints},
	{"NodeAffinity", 2, preferredNodes},
	{"NodeResourcesFit", 1, leastAllocated},
	{"VolumeBinding", 1, largeVolumes},
	{"PodTopologySpread", 2, softSpread},
	{"InterPodAffinity", 2, preferredPods},
	{"NodeResourcesBalancedAllocation", 1, balanced},
	{"ImageLocality", 1, images},
}

// most is the points of the best node.
const most = 100

// scale brings points to 0 to 100, by the highest; upside down if fewer are better.
func scale(points []int64, fewer bool) {
	highest := slices.Max(points)
	for i := range points {
		if highest > 0 {
			points[i] = most * points[i] / highest
		}
		if fewer {
			points[i] = most - points[i]
		}
	}
}

func unschedulable(r *request) *judgement {
	if r.tolerates(&corev1.Taint{Key: corev1.TaintNodeUnschedulable, Effect: corev1.TaintEffectNoSchedule}) {
		return nil
	}
	return &judgement{check: func(n *Node) refusal {
		if n.Object.Spec.Unschedulable {
			return forever("node(s) were unschedulable")
		}
		return refusal{}
	}}
}

func taints(r *request) *judgement {
	return &judgement{check: func(n *Node) refusal {
		for _, t := range n.taints() {
			if t.Effect != corev1.TaintEffectPreferNoSchedule && !r.tolerates(&t) {
				return forever(fmt.Sprintf("node(s) had untolerated taint {%s: %s}", t.Key, t.Value))
			}
		}
		return refusal{}
	}}
}

func (r *request) tolerates(taint *corev1.Taint) bool {
	for i := range r.object.Spec.Tolerations {
		if r.object.Spec.Tolerations[i].ToleratesTaint(klog.Logger{}, taint, true) {
			return true
		}
	}
	return false
}

func nodeAffinity(r *request) *judgement {
	spec := &r.object.Spec
	if len(spec.NodeSelector) == 0 && (spec.Affinity == nil || spec.Affinity.NodeAffinity == nil ||
		spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil) {
		return nil
	}
	return &judgement{check: func(n *Node) refusal {
		if ok, err := r.required.Match(n.Object); err != nil || !ok {
			return forever("node(s) didn't match Pod's node affinity/selector")
		}
		return refusal{}
	}}
}

func hostPorts(r *request) *judgement {
	if len(r.ports) == 0 {
		return nil
	}
	return &judgement{check: func(n *Node) refusal {
		if slices.ContainsFunc(r.ports, n.conflicts) {
			return refuse("node(s) didn't have free ports for the requested pod ports")
		}
		return refusal{}
	}}
}

// fits compares requests with what is left of the node's allocatable. A
// request of zero always fits.
func fits(r *request) *judgement {
	return &judgement{check: func(n *Node) (no refusal) {
		if pods, ok := n.allocatable[corev1.ResourcePods]; ok && int64(len(n.pods)) >= pods {
			no.reasons = append(no.reasons, "Too many pods")
		}
		for name, want := range r.requests {
			if have := n.allocatable[name]; want > 0 && want > have-n.used[name] {
				no.reasons = append(no.reasons, "Insufficient "+string(name))
				no.final = no.final || want > have
			}
		}
		if no.final {
			no.by = NodeChanged
		}
		return no
	}}
}

func preferredTaints(r *request, nodes []*Node, points []int64) bool {
	some := false
	for i, n := range nodes {
		points[i] = 0
		for k := range n.Object.Spec.Taints {
			if t := &n.Object.Spec.Taints[k]; t.Effect == corev1.TaintEffectPreferNoSchedule && !r.tolerates(t) {
				points[i]++
				some = true
			}
		}
	}
	if some {
		scale(points, true)
	}
	return some
}

func preferredNodes(r *request, nodes []*Node, points []int64) bool {
	a := r.object.Spec.Affinity
	if a == nil || a.NodeAffinity == nil || len(a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution) == 0 {
		return false
	}
	// Terms that do not parse prefer nothing; validation refuses them.
	terms, err := nodeaffinity.NewPreferredSchedulingTerms(a.NodeAffinity.PreferredDuringSchedulingIgnoredDuringExecution)
	if err != nil {
		return false
	}
	for i, n := range nodes {
		points[i] = terms.Score(n.Object)
	}
	scale(points, false)
	return true
}

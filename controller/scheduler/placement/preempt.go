package placement

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// Preemption is a node, and the pods of lower priority that have to leave it, the most important first. Some may be leaving already.
type Preemption struct {
	Node    string
	Victims []*Pod

	broken int // pods whose leaving breaks a disruption budget
}

// budget is a PodDisruptionBudget.
type budget struct {
	*policyv1.PodDisruptionBudget
	selector labels.Selector
}

// Preempt finds the node on which the least has to be given up for the pod that Place decided about as d; budgets are the
// cluster's. Without such a node it says why, and whether a node that has been nominated before is given up.
func Preempt(d Decision, budgets []*policyv1.PodDisruptionBudget) (found *Preemption, message string, over bool) {
	r := d.request
	if why := r.mayNotPreempt(d); why != "" {
		return nil, why, false
	}
	parsed := make([]budget, 0, len(budgets))
	for _, b := range budgets {
		parsed = append(parsed, budget{b, selectorOf(b.Spec.Selector)})
	}
	reasons := map[string]int{}
	for i, n := range r.cluster.Nodes {
		if d.never != "" || d.refused[i].final {
			reasons["Preemption is not helpful for scheduling"]++
			continue
		}
		candidate, no := r.makeRoom(n, parsed)
		for _, reason := range no.reasons {
			reasons[reason]++
		}
		if candidate != nil && (found == nil || candidate.compare(found) < 0) {
			found = candidate
		}
	}
	if found == nil {
		return nil, sentence(len(r.cluster.Nodes), reasons), true
	}
	return found, fmt.Sprintf("found a potential placement for pod on node %s, preempting %d victims", found.Node, len(found.Victims)), false
}

// mayNotPreempt says why the pod may not have others leave.
func (r *request) mayNotPreempt(d Decision) string {
	if policy := r.object.Spec.PreemptionPolicy; policy != nil && *policy == corev1.PreemptNever {
		return "not eligible due to preemptionPolicy=Never."
	}
	for i, n := range r.cluster.Nodes {
		if n.Object.Name != r.object.Status.NominatedNodeName || d.never != "" || d.refused[i].final {
			continue
		}
		for _, p := range n.pods {
			if p.Preempted && p.Priority < r.Priority {
				return "not eligible due to a terminating pod on the nominated node."
			}
		}
	}
	return ""
}

// makeRoom finds the pods of lower priority without which the pod would fit: first all of them are taken away, then each that can
// stay is put back, those first that a budget protects, then by importance.
func (r *request) makeRoom(n *Node, budgets []budget) (*Preemption, refusal) {
	var lower []*Pod
	for _, p := range n.pods {
		if p.Priority < r.Priority {
			lower = append(lower, p)
		}
	}
	if len(lower) == 0 {
		return nil, forever("No preemption victims found for incoming pod")
	}
	room := n.clone()
	take := func(p *Pod) { room.Remove(p.UID); r.moved(p, n, -1) }
	put := func(p *Pod) { room.Put(p); r.moved(p, n, 1) }
	for _, p := range lower {
		take(p)
	}
	if no := r.judge(room); len(no.reasons) > 0 {
		for _, p := range lower {
			put(p)
		}
		return nil, no
	}
	slices.SortFunc(lower, importance)
	protected, free := protect(lower, budgets)
	out := &Preemption{Node: n.Object.Name}
	for i, p := range append(protected, free...) {
		put(p)
		if len(r.judge(room).reasons) == 0 {
			continue
		}
		take(p)
		out.Victims = append(out.Victims, p)
		if i < len(protected) {
			out.broken++
		}
	}
	for _, p := range out.Victims {
		put(p)
	}
	if len(out.Victims) == 0 {
		return nil, refusal{}
	}
	slices.SortFunc(out.Victims, importance)
	return out, refusal{}
}

// Leave notes that the pod is being deleted to make room, before anybody else sees it.
func (p *Pod) Leave() { p.Leaving, p.Preempted = true, true }

// importance orders pods: a higher priority first, then what has run for longer.
func importance(a, b *Pod) int {
	return cmp.Or(cmp.Compare(b.Priority, a.Priority), cmp.Compare(a.started, b.started), cmp.Compare(a.UID, b.UID))
}

// protect parts the pods into those whose leaving would break a budget, the others having left, and the rest.
func protect(pods []*Pod, budgets []budget) (protected, free []*Pod) {
	left := make([]int32, len(budgets))
	for i := range budgets {
		left[i] = budgets[i].Status.DisruptionsAllowed
	}
	breaks := func(p *Pod) bool {
		for i := range budgets {
			b := &budgets[i]
			if b.Namespace != p.Namespace || b.selector.Empty() || len(p.Labels) == 0 || !b.selector.Matches(p.Labels) {
				continue
			}
			if _, known := b.Status.DisruptedPods[p.Name]; known {
				continue
			}
			if left[i]--; left[i] < 0 {
				return true
			}
		}
		return false
	}
	for _, p := range pods {
		if breaks(p) {
			protected = append(protected, p)
		} else {
			free = append(free, p)
		}
	}
	return protected, free
}

// compare orders preemptions, the better first, by upstream's rules: fewer broken budgets; a lower highest priority; a lower sum of
// priorities; fewer pods; the latest start among the most important ones.
func (a *Preemption) compare(b *Preemption) int {
	return cmp.Or(
		cmp.Compare(a.broken, b.broken),
		cmp.Compare(a.Victims[0].Priority, b.Victims[0].Priority),
		cmp.Compare(a.sum(), b.sum()),
		cmp.Compare(len(a.Victims), len(b.Victims)),
		cmp.Compare(b.start(), a.start()),
	)
}

// sum is that of the priorities, shifted so that none is negative: more pods never are a smaller sum.
func (a *Preemption) sum() (out int64) {
	for _, p := range a.Victims {
		out += int64(p.Priority) + math.MaxInt32 + 1
	}
	return out
}

// start is the earliest of the pods of the highest priority.
func (a *Preemption) start() int64 {
	out := a.Victims[0].started
	for _, p := range a.Victims {
		if p.Priority == a.Victims[0].Priority {
			out = min(out, p.started)
		}
	}
	return out
}

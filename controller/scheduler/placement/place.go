package placement

import (
	"cmp"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
)

// Cluster is what decisions are made from.
type Cluster struct {
	Nodes      []*Node                      // by name
	Namespaces func(name string) labels.Set // labels of a namespace
	Storage    *Storage                     // may be nil while no pod has a claim
}

// Decision is where a pod goes, or why it cannot.
type Decision struct {
	Node    string   // empty: there is none
	Volumes Bindings // what has to be bound before the pod

	request *request
	never   string    // why no node will do, whatever it is like
	refused []refusal // of each node, in the order of the cluster's
	Heals   Change    // without a node: what may change that
}

// Place chooses the pod's node: the one that room was made on for the pod, if it will do; else of those that will do the one with
// the best scores, then the one with the fewest pods, then the first by name.
func Place(pod *corev1.Pod, c *Cluster) Decision {
	r := ask(pod, c)
	d := Decision{request: r, never: r.never, Heals: NodeChanged | r.heals}
	if d.never != "" {
		return d
	}
	fitting := make([]*Node, 0, len(c.Nodes))
	for _, n := range c.Nodes {
		if n.Object.Name == pod.Status.NominatedNodeName && len(r.judge(n).reasons) == 0 {
			return r.settle(n)
		}
	}
	for i, n := range c.Nodes {
		no := r.judge(n)
		if len(no.reasons) == 0 {
			fitting = append(fitting, n)
			continue
		}
		if len(fitting) == 0 {
			if d.refused == nil {
				d.refused = make([]refusal, len(c.Nodes))
			}
			d.refused[i] = no
			d.Heals |= no.by
		}
	}
	if len(fitting) > 0 {
		return r.settle(r.best(fitting))
	}
	return d
}

// settle is the decision for a node that will do.
func (r *request) settle(n *Node) Decision {
	d := Decision{Node: n.Object.Name}
	if r.volumes != nil {
		d.Volumes, _ = r.volumes.find(n)
	}
	return d
}

// Message is upstream's sentence for a pod that has no node.
func (d *Decision) Message() string {
	nodes := len(d.request.cluster.Nodes)
	switch {
	case nodes == 0:
		return "no nodes available to schedule pods"
	case d.never != "":
		return fmt.Sprintf("0/%d nodes are available: %s.", nodes, d.never)
	}
	reasons := map[string]int{}
	for _, no := range d.refused {
		for _, reason := range no.reasons {
			reasons[reason]++
		}
	}
	return sentence(nodes, reasons)
}

// request is a pod with everything derived from it that does not depend on one
// node.
type request struct {
	*Pod
	object   *corev1.Pod
	cluster  *Cluster
	required nodeaffinity.RequiredNodeAffinity
	volumes  *volumes // nil: it has no claims

	judgements []judgement
	never      string
	heals      Change // of never
}

// ask has every filter say what of it applies to the pod.
func ask(pod *corev1.Pod, c *Cluster) *request {
	r := &request{Pod: NewPod(pod), object: pod, cluster: c, required: nodeaffinity.GetRequiredNodeAffinity(pod)}
	for i := range filters {
		j := filters[i].applies(r)
		if j == nil {
			continue
		}
		if j.never != "" {
			r.never, r.heals = j.never, filters[i].heals
			return r
		}
		j.heals = filters[i].heals
		r.judgements = append(r.judgements, *j)
	}
	return r
}

// judge says whether the pod may go to the node, now and also when those have come that are to come first.
func (r *request) judge(n *Node) refusal {
	if guests := n.expected(r.Pod); len(guests) > 0 {
		full := n.clone()
		for _, p := range guests {
			full.Put(p)
			r.moved(p, n, 1)
		}
		no := r.check(full)
		for _, p := range guests {
			r.moved(p, n, -1)
		}
		if len(no.reasons) > 0 {
			return no
		}
	}
	return r.check(n)
}

// check is the first refusal by order of the filters.
func (r *request) check(n *Node) refusal {
	for i := range r.judgements {
		if no := r.judgements[i].check(n); len(no.reasons) > 0 {
			if no.by == 0 {
				no.by = r.judgements[i].heals
			}
			return no
		}
	}
	return refusal{}
}

// moved tells the filters that a pod has come to the node (1) or left it (-1).
func (r *request) moved(p *Pod, n *Node, by int) {
	for i := range r.judgements {
		if count := r.judgements[i].count; count != nil {
			count(p, n, by)
		}
	}
}

// best is the one of the nodes with the most points.
func (r *request) best(nodes []*Node) *Node {
	if len(nodes) == 1 {
		return nodes[0]
	}
	total := r.score(nodes)
	best := 0
	for i := range nodes[1:] {
		if cmp.Or(cmp.Compare(total[best], total[i+1]), cmp.Compare(len(nodes[i+1].pods), len(nodes[best].pods))) < 0 {
			best = i + 1
		}
	}
	return nodes[best]
}

// score is the sum of what the scorers give each node, by their weights.
func (r *request) score(nodes []*Node) []int64 {
	total, points := make([]int64, len(nodes)), make([]int64, len(nodes))
	for _, s := range scorers {
		if !s.score(r, nodes, points) {
			continue
		}
		for i := range total {
			total[i] += s.weight * points[i]
		}
	}
	return total
}

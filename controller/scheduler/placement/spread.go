package placement

import (
	"math"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// constraint is how evenly the pods of a selector are to be spread over the values of a node label.
type constraint struct {
	key      string
	maxSkew  int64
	domains  int             // fewer than so many values count as if there was one without pods
	selector labels.Selector // nil: the pods of the same group
	affinity bool            // only nodes count that the pod's node affinity allows
	taints   bool            // only nodes count whose taints the pod tolerates
	self     int64           // 1: the pod is one of the selector's
	pods     map[string]int64
	fewest   int64 // of pods; below zero: to be found out
}

// defaults are upstream's constraints of pods that have none of their own: a preference.
var defaults = []constraint{
	{key: corev1.LabelHostname, maxSkew: 3, affinity: true},
	{key: corev1.LabelTopologyZone, maxSkew: 5, affinity: true},
}

// constraints are the pod's own that are to be met as said.
func (r *request) constraints(met corev1.UnsatisfiableConstraintAction) (out []constraint) {
	for i := range r.object.Spec.TopologySpreadConstraints {
		c := &r.object.Spec.TopologySpreadConstraints[i]
		if c.WhenUnsatisfiable != met {
			continue
		}
		selector := selectorOf(c.LabelSelector)
		for _, key := range c.MatchLabelKeys {
			if value, ok := r.Labels[key]; ok {
				also, _ := labels.SelectorFromSet(labels.Set{key: value}).Requirements()
				selector = selector.Add(also...)
			}
		}
		one := constraint{key: c.TopologyKey, maxSkew: int64(c.MaxSkew), selector: selector, domains: 1,
			affinity: c.NodeAffinityPolicy == nil || *c.NodeAffinityPolicy == corev1.NodeInclusionPolicyHonor,
			taints:   c.NodeTaintsPolicy != nil && *c.NodeTaintsPolicy == corev1.NodeInclusionPolicyHonor,
			pods:     map[string]int64{}, fewest: -1}
		if c.MinDomains != nil {
			one.domains = int(*c.MinDomains)
		}
		if selector.Matches(r.Labels) {
			one.self = 1
		}
		out = append(out, one)
	}
	return out
}

// counts reports whether the node is one of those over which pods are spread.
func (c *constraint) counts(r *request, n *Node) bool {
	if c.affinity {
		if ok, _ := r.required.Match(n.Object); !ok {
			return false
		}
	}
	if c.taints {
		for i := range n.Object.Spec.Taints {
			if t := &n.Object.Spec.Taints[i]; t.Effect != corev1.TaintEffectPreferNoSchedule && !r.tolerates(t) {
				return false
			}
		}
	}
	return true
}

// means reports whether p is one of the pods that are spread. Those that leave are not.
func (c *constraint) means(r *request, p *Pod) bool {
	return !p.Leaving && p.Namespace == r.Namespace && !c.selector.Empty() && c.selector.Matches(p.Labels)
}

// on is how many of the pods that are spread are on the node.
func (c *constraint) on(r *request, n *Node) (pods int64) {
	if c.selector == nil {
		return int64(n.groups[r.group])
	}
	for _, p := range n.pods {
		if c.means(r, p) {
			pods++
		}
	}
	return pods
}

// spread is the constraints of one pod.
type spread struct {
	*request
	all []constraint
}

// labelled reports whether the node has the labels of all constraints.
func (s *spread) labelled(n *Node) bool {
	for i := range s.all {
		if _, ok := n.Object.Labels[s.all[i].key]; !ok {
			return false
		}
	}
	return true
}

// hardSpread is about topology spread constraints that have to be met.
func hardSpread(r *request) *judgement {
	s := &spread{r, r.constraints(corev1.DoNotSchedule)}
	if len(s.all) == 0 {
		return nil
	}
	for _, n := range r.cluster.Nodes {
		if !s.labelled(n) {
			continue
		}
		for i := range s.all {
			if c := &s.all[i]; c.counts(r, n) {
				c.pods[n.Object.Labels[c.key]] += c.on(r, n)
			}
		}
	}
	return &judgement{check: s.check, count: s.count}
}

func (s *spread) count(p *Pod, n *Node, by int) {
	if !s.labelled(n) {
		return
	}
	for i := range s.all {
		if c := &s.all[i]; c.means(s.request, p) && c.counts(s.request, n) {
			c.pods[n.Object.Labels[c.key]] += int64(by)
			c.fewest = -1
		}
	}
}

func (s *spread) check(n *Node) refusal {
	for i := range s.all {
		c := &s.all[i]
		value, ok := n.Object.Labels[c.key]
		if !ok {
			return forever("node(s) didn't match pod topology spread constraints (missing required label)")
		}
		if c.pods[value]+c.self-c.minimum() > c.maxSkew {
			return refuse("node(s) didn't match pod topology spread constraints")
		}
	}
	return refusal{}
}

// minimum is how many pods there are where there are fewest.
func (c *constraint) minimum() int64 {
	if c.fewest >= 0 {
		return c.fewest
	}
	c.fewest = math.MaxInt32
	for _, pods := range c.pods {
		c.fewest = min(c.fewest, pods)
	}
	if len(c.pods) < c.domains {
		c.fewest = 0
	}
	return c.fewest
}

// softSpread prefers the nodes that constraints which need not be met prefer: the pod's own, or else the defaults for the pods of its
// group.
func softSpread(r *request, nodes []*Node, points []int64) bool {
	s := &spread{r, r.constraints(corev1.ScheduleAnyway)}
	own := len(r.object.Spec.TopologySpreadConstraints) > 0
	if !own && r.group != "" {
		s.all = append(s.all, defaults...)
	}
	if len(s.all) == 0 {
		return false
	}
	ignored := make([]bool, len(nodes)) // those without a label of the pod's own constraints
	sizes := make([]int, len(s.all))
	for i := range s.all {
		s.all[i].pods = map[string]int64{}
	}
	for k, n := range nodes {
		if ignored[k] = own && !s.labelled(n); ignored[k] {
			continue
		}
		for i := range s.all {
			c := &s.all[i]
			if c.key == corev1.LabelHostname {
				sizes[i]++
				continue
			}
			c.pods[n.Object.Labels[c.key]] = 0
			sizes[i] = len(c.pods)
		}
	}
	s.survey(own)
	s.points(nodes, ignored, sizes, points)
	return true
}

// survey counts the pods of every place that has a candidate; those of single nodes are counted when it is their turn.
func (s *spread) survey(own bool) {
	for i := range s.all {
		c := &s.all[i]
		if c.key == corev1.LabelHostname {
			continue
		}
		for _, n := range s.cluster.Nodes {
			value := n.Object.Labels[c.key]
			if _, wanted := c.pods[value]; wanted && (!own || s.labelled(n)) && c.counts(s.request, n) {
				c.pods[value] += c.on(s.request, n)
			}
		}
	}
}

// points are the higher the fewer pods there are; what small topologies count is not watered down by large ones.
func (s *spread) points(nodes []*Node, ignored []bool, sizes []int, points []int64) {
	lowest, highest := int64(math.MaxInt64), int64(0)
	for k, n := range nodes {
		if ignored[k] {
			continue
		}
		sum := 0.0
		for i := range s.all {
			c := &s.all[i]
			value, ok := n.Object.Labels[c.key]
			if !ok {
				continue
			}
			pods := c.pods[value]
			if c.key == corev1.LabelHostname {
				pods = c.on(s.request, n)
			}
			sum += float64(pods)*math.Log(float64(sizes[i]+2)) + float64(c.maxSkew-1)
		}
		points[k] = int64(math.Round(sum))
		lowest, highest = min(lowest, points[k]), max(highest, points[k])
	}
	for k := range points {
		switch {
		case ignored[k]:
			points[k] = 0
		case highest == 0:
			points[k] = most
		default:
			points[k] = most * (highest + lowest - points[k]) / highest
		}
	}
}

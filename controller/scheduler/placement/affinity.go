package placement

import (
	"math"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// terms are what a pod says of other pods: which to be with or away from, and which it would rather be with (or, by a negative
// weight, away from).
type terms struct{ with, away, rather []term }

// term is pods, and how near to them is meant: on nodes that have the same value of the label key.
type term struct {
	namespaces []string
	others     labels.Selector // namespaces by their labels as well; nil: none
	selector   labels.Selector
	key        string
	weight     int64
}

// termsOf is what p says of other pods; nil if that is nothing. The API has put what matchLabelKeys and mismatchLabelKeys come to
// into the selectors.
func termsOf(p *corev1.Pod) *terms {
	a := p.Spec.Affinity
	if a == nil || a.PodAffinity == nil && a.PodAntiAffinity == nil {
		return nil
	}
	var out terms
	all := func(list []corev1.PodAffinityTerm) (out []term) {
		for i := range list {
			out = append(out, termOf(p, &list[i], 0))
		}
		return out
	}
	rather := func(list []corev1.WeightedPodAffinityTerm, sign int64) {
		for i := range list {
			out.rather = append(out.rather, termOf(p, &list[i].PodAffinityTerm, sign*int64(list[i].Weight)))
		}
	}
	if a.PodAffinity != nil {
		out.with = all(a.PodAffinity.RequiredDuringSchedulingIgnoredDuringExecution)
		rather(a.PodAffinity.PreferredDuringSchedulingIgnoredDuringExecution, 1)
	}
	if a.PodAntiAffinity != nil {
		out.away = all(a.PodAntiAffinity.RequiredDuringSchedulingIgnoredDuringExecution)
		rather(a.PodAntiAffinity.PreferredDuringSchedulingIgnoredDuringExecution, -1)
	}
	return &out
}

func termOf(p *corev1.Pod, t *corev1.PodAffinityTerm, weight int64) term {
	out := term{namespaces: t.Namespaces, selector: selectorOf(t.LabelSelector), key: t.TopologyKey, weight: weight}
	if t.NamespaceSelector != nil {
		out.others = selectorOf(t.NamespaceSelector)
	} else if len(t.Namespaces) == 0 {
		out.namespaces = []string{p.Namespace}
	}
	return out
}

// selectorOf is the selector, of nothing if it is not there or does not parse: validation refuses those.
func selectorOf(s *metav1.LabelSelector) labels.Selector {
	out, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return labels.Nothing()
	}
	return out
}

// means reports whether the term is about p.
func (t *term) means(p *Pod, c *Cluster) bool {
	return (slices.Contains(t.namespaces, p.Namespace) || t.others != nil && t.others.Matches(c.Namespaces(p.Namespace))) &&
		t.selector.Matches(p.Labels)
}

// meanAll reports whether there are terms, and each is about p.
func meanAll(terms []term, p *Pod, c *Cluster) bool {
	for i := range terms {
		if !terms[i].means(p, c) {
			return false
		}
	}
	return len(terms) > 0
}

// place is the nodes that have the value of the label key.
type place struct{ key, value string }

// census is how often something is the case in each place; none has zero.
type census map[place]int64

func (c census) add(n *Node, key string, by int64) {
	value, ok := n.Object.Labels[key]
	if !ok {
		return
	}
	at := place{key, value}
	if c[at] += by; c[at] == 0 {
		delete(c, at)
	}
}

// company is podAffinity for one pod: in which places there are pods that it has to be with, that it has to be away from, and that
// have to be away from it.
type company struct {
	*request
	own               terms
	with, away, shuns census
}

// podAffinity is about required affinity and anti-affinity between pods, those of the pods that are there already included.
func podAffinity(r *request) *judgement {
	s := &company{request: r, with: census{}, away: census{}, shuns: census{}}
	if r.terms != nil {
		s.own = *r.terms
	}
	speaks := len(s.own.with)+len(s.own.away) > 0
	for _, n := range r.cluster.Nodes {
		pods := n.social
		if speaks {
			pods = n.pods
		}
		for _, p := range pods {
			s.count(p, n, 1)
		}
	}
	if !speaks && len(s.shuns) == 0 {
		return nil
	}
	return &judgement{check: s.check, count: s.count}
}

func (s *company) count(p *Pod, n *Node, by int) {
	if p.terms != nil {
		for i := range p.terms.away {
			if t := &p.terms.away[i]; t.means(s.Pod, s.cluster) {
				s.shuns.add(n, t.key, int64(by))
			}
		}
	}
	if meanAll(s.own.with, p, s.cluster) {
		for i := range s.own.with {
			s.with.add(n, s.own.with[i].key, int64(by))
		}
	}
	for i := range s.own.away {
		if t := &s.own.away[i]; t.means(p, s.cluster) {
			s.away.add(n, t.key, int64(by))
		}
	}
}

func (s *company) check(n *Node) refusal {
	if !s.accompanied(n) {
		return forever("node(s) didn't match pod affinity rules")
	}
	for i := range s.own.away {
		key := s.own.away[i].key
		if value, ok := n.Object.Labels[key]; ok && s.away[place{key, value}] > 0 {
			return refuse("node(s) didn't match pod anti-affinity rules")
		}
	}
	if len(s.shuns) > 0 {
		for key, value := range n.Object.Labels {
			if s.shuns[place{key, value}] > 0 {
				return refuse("node(s) didn't satisfy existing pods anti-affinity rules")
			}
		}
	}
	return refusal{}
}

// accompanied reports whether the pods that the pod has to be with are where the node is. The first of pods that have to be with
// each other may go to any node that has the labels.
func (s *company) accompanied(n *Node) bool {
	all := true
	for i := range s.own.with {
		key := s.own.with[i].key
		value, ok := n.Object.Labels[key]
		if !ok {
			return false
		}
		all = all && s.with[place{key, value}] > 0
	}
	return all || len(s.with) == 0 && meanAll(s.own.with, s.Pod, s.cluster)
}

// preferredPods prefers the nodes near to the pods that the pod would rather be with, and to those that would rather, or have to, be
// with it; and not those near to the others.
func preferredPods(r *request, nodes []*Node, points []int64) bool {
	var own []term
	if r.terms != nil {
		own = r.terms.rather
	}
	weights := census{}
	said := false // there are terms about pods, whatever they add up to
	for _, n := range r.cluster.Nodes {
		pods := n.social
		if len(own) > 0 {
			pods = n.pods
		}
		for _, p := range pods {
			add := func(t *term, other *Pod, weight int64) {
				if t.means(other, r.cluster) {
					said = true
					weights.add(n, t.key, weight)
				}
			}
			for i := range own {
				add(&own[i], p, own[i].weight)
			}
			if p.terms == nil {
				continue
			}
			for i := range p.terms.with {
				add(&p.terms.with[i], r.Pod, 1) // upstream's hardPodAffinityWeight
			}
			for i := range p.terms.rather {
				add(&p.terms.rather[i], r.Pod, p.terms.rather[i].weight)
			}
		}
	}
	if !said {
		return false
	}
	lowest, highest := int64(math.MaxInt64), int64(math.MinInt64)
	for i, n := range nodes {
		points[i] = weights.of(n)
		lowest, highest = min(lowest, points[i]), max(highest, points[i])
	}
	for i := range points {
		if highest == lowest {
			points[i] = 0
			continue
		}
		points[i] = int64(most * (float64(points[i]-lowest) / float64(highest-lowest)))
	}
	return true
}

// of is the sum of what is the case where the node is.
func (c census) of(n *Node) (sum int64) {
	for key, value := range n.Object.Labels {
		sum += c[place{key, value}]
	}
	return sum
}

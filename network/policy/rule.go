package policy

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"fairlead.dev/fairlead/api"
)

// peer is something that a rule may name as the other side: pods by their labels and their namespace's, or a block of addresses.
type peer struct {
	key string // two that say the same have the same

	namespace  string          // where the pods are; empty: where namespaces says
	namespaces labels.Selector // nil for a block
	pods       labels.Selector

	block  netip.Prefix
	except []netip.Prefix
}

// includes reports whether a block has an address.
func (p *peer) includes(a netip.Addr) bool {
	return p.block.Contains(a) && !slices.ContainsFunc(p.except, func(x netip.Prefix) bool { return x.Contains(a) })
}

// isBlock reports whether it is addresses, not pods.
func (p *peer) isBlock() bool { return p.pods == nil }

// in reports whether a namespace, by its labels, has pods that are meant. Of one that is not known yet nothing is.
func (p *peer) in(namespace string, its labels.Set) bool {
	if p.namespaces == nil {
		return p.namespace == namespace
	}
	return its != nil && p.namespaces.Matches(its)
}

// rule is one ingress or egress rule.
type rule struct {
	any   bool // everybody, peers or not
	peers []*peer
	ports ports
}

// compiled is a policy, read.
type compiled struct {
	object  *networkingv1.NetworkPolicy
	selects labels.Selector
	rules   [2]*[]rule // by direction; nil: the policy does not isolate its pods in this direction
}

// Direction is which of a pod's connections are meant.
type Direction uint8

// The directions.
const (
	Ingress Direction = iota
	Egress
)

// String is the direction as the API spells it.
func (d Direction) String() string { return [...]string{"Ingress", "Egress"}[d] }

// compile reads a policy. What the API would have refused is an error, and then nothing of the policy counts but that it selects: rules
// that cannot be read let nothing pass.
func compile(p *networkingv1.NetworkPolicy) (*compiled, error) {
	c := &compiled{object: p}
	var err error
	if c.selects, err = metav1.LabelSelectorAsSelector(&p.Spec.PodSelector); err != nil {
		return nil, fmt.Errorf("podSelector: %w", err)
	}
	var failed error
	for _, d := range directionsOf(p) {
		c.rules[d] = &[]rule{}
	}
	if to := c.rules[Ingress]; to != nil {
		for i := range p.Spec.Ingress {
			r, err := compileRule(p.Namespace, p.Spec.Ingress[i].From, p.Spec.Ingress[i].Ports)
			if err != nil {
				failed = fmt.Errorf("ingress[%d]: %w", i, err)
				continue
			}
			*to = append(*to, r)
		}
	}
	if to := c.rules[Egress]; to != nil {
		for i := range p.Spec.Egress {
			r, err := compileRule(p.Namespace, p.Spec.Egress[i].To, p.Spec.Egress[i].Ports)
			if err != nil {
				failed = fmt.Errorf("egress[%d]: %w", i, err)
				continue
			}
			*to = append(*to, r)
		}
	}
	return c, failed
}

// directionsOf are those in which a policy isolates its pods: the API gives every policy its types, by default ingress always and
// egress if there are rules for it.
func directionsOf(p *networkingv1.NetworkPolicy) []Direction {
	if len(p.Spec.PolicyTypes) == 0 {
		if len(p.Spec.Egress) > 0 {
			return []Direction{Ingress, Egress}
		}
		return []Direction{Ingress}
	}
	var all []Direction
	for _, t := range p.Spec.PolicyTypes {
		switch t {
		case networkingv1.PolicyTypeIngress:
			all = append(all, Ingress)
		case networkingv1.PolicyTypeEgress:
			all = append(all, Egress)
		}
	}
	return all
}

func compileRule(namespace string, peers []networkingv1.NetworkPolicyPeer, to []networkingv1.NetworkPolicyPort) (rule, error) {
	r := rule{any: len(peers) == 0, ports: portsOf(to)}
	for i := range peers {
		p, err := compilePeer(namespace, &peers[i])
		if err != nil {
			return r, fmt.Errorf("peer %d: %w", i, err)
		}
		r.peers = append(r.peers, p)
	}
	return r, nil
}

func compilePeer(namespace string, p *networkingv1.NetworkPolicyPeer) (*peer, error) {
	if p.IPBlock != nil {
		return compileBlock(p.IPBlock)
	}
	compiled := &peer{namespace: namespace, pods: labels.Everything()}
	var err error
	if p.PodSelector != nil {
		if compiled.pods, err = metav1.LabelSelectorAsSelector(p.PodSelector); err != nil {
			return nil, fmt.Errorf("podSelector: %w", err)
		}
	}
	if p.NamespaceSelector != nil {
		if compiled.namespaces, err = metav1.LabelSelectorAsSelector(p.NamespaceSelector); err != nil {
			return nil, fmt.Errorf("namespaceSelector: %w", err)
		}
		compiled.namespace = ""
		compiled.key = "all " + compiled.namespaces.String() + " | " + compiled.pods.String()
		return compiled, nil
	}
	compiled.key = "in " + namespace + " | " + compiled.pods.String()
	return compiled, nil
}

func compileBlock(b *networkingv1.IPBlock) (*peer, error) {
	block, ok := api.ParsePrefix(b.CIDR)
	if !ok {
		return nil, fmt.Errorf("ipBlock: %q is no range of addresses", b.CIDR)
	}
	compiled := &peer{block: block}
	for _, text := range b.Except {
		x, ok := api.ParsePrefix(text)
		if !ok {
			return nil, fmt.Errorf("ipBlock: except: %q is no range of addresses", text)
		}
		compiled.except = append(compiled.except, x)
	}
	compiled.key = fmt.Sprint("block ", compiled.block, strings.Trim(fmt.Sprint(compiled.except), "[]"))
	return compiled, nil
}

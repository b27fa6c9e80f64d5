package gateway

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"fairlead.dev/fairlead/api/announce"
)

// programmed is the type of the condition of Gateways, listeners and ListenerSets that says that nodes serve them.
const programmed = string(gw.GatewayConditionProgrammed)

// Serving is what a result has to be served. Nodes say so of what they have derived, and the controller compares it with its own.
func (r *Result) Serving() announce.Serving {
	all := announce.Serving{}
	for _, g := range r.Gateways {
		for _, s := range g.sources() {
			all[s.meta.UID] = s.serving(g)
		}
	}
	return all
}

func (g *gateway) sources() []*source { return append([]*source{g.own}, g.sets...) }

func (s *source) serving(g *Gateway) announce.Listeners {
	out := announce.Listeners{Generation: s.meta.Generation}
	for _, l := range s.listeners {
		if l.served() && g.refused == nil {
			out.Names = append(out.Names, string(l.name))
		}
	}
	for _, a := range g.addresses {
		out.Addresses = append(out.Addresses, a.Value)
	}
	slices.Sort(out.Names)
	return out
}

// Await holds back that something is programmed, where the status does not say so yet, for as long as lacking has a reason for what is
// to be served of an object. It reports whether anything is held back.
func (g *Gateway) Await(lacking func(types.UID, announce.Listeners) string) (waits bool) {
	if g.programmed.no {
		return false
	}
	for _, s := range g.sources() {
		if s.lag = ""; s.unsaid(g) {
			s.lag = lacking(s.meta.UID, s.serving(g))
			waits = waits || s.lag != ""
		}
	}
	return waits
}

// unsaid reports whether the status of an object lacks that it, or a listener, is programmed as it is now.
func (s *source) unsaid(g *Gateway) bool {
	said := func(conditions []metav1.Condition) bool {
		c := meta.FindStatusCondition(conditions, programmed)
		return c != nil && c.Status == metav1.ConditionTrue && c.ObservedGeneration == s.meta.Generation
	}
	if s.kind == "Gateway" && (!said(g.Object.Status.Conditions) || !slices.EqualFunc(g.addresses, g.Object.Status.Addresses, func(a, b gw.GatewayStatusAddress) bool { return a.Value == b.Value })) {
		return true
	}
	return slices.ContainsFunc(s.listeners, func(l *listener) bool { return l.served() && !said(l.said) })
}

// program is the condition Programmed of something of an object. While nodes are awaited it stays as it was said, or is pending.
func (s *source) program(have []metav1.Condition, v verdict) metav1.Condition {
	if s.lag == "" || v.no {
		return condition(programmed, s.meta.Generation, v)
	}
	if c := meta.FindStatusCondition(have, programmed); c != nil && c.Status == metav1.ConditionTrue {
		return *c
	}
	return condition(programmed, s.meta.Generation, no(gw.GatewayReasonPending, s.lag))
}

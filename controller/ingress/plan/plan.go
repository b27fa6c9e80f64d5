// Package plan is what is written of Ingresses: their addresses, and what people are told of them. It only computes.
package plan

import (
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/l7/ingress"
)

// Addresses are those at which Ingresses are served, in order: the InternalIPs of every node that serves them, of all families
// (rule I47).
func Addresses(nodes []*corev1.Node) []netip.Addr {
	var all []netip.Addr
	for _, n := range nodes {
		if api.ServesIngresses(n) {
			all = append(all, api.InternalIPs(n)...)
		}
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return slices.Compact(all)
}

// Status is what the status of an Ingress says of addresses.
func Status(addresses []netip.Addr) networkingv1.IngressLoadBalancerStatus {
	var s networkingv1.IngressLoadBalancerStatus
	for _, a := range addresses {
		s.Ingress = append(s.Ingress, networkingv1.IngressLoadBalancerIngress{IP: a.String()})
	}
	return s
}

// Memory is what has been said of one Ingress and is still so. The zero value is that nothing has.
type Memory map[string]bool

// News are those of the findings that have not been said yet. What is no finding any more is forgotten: if it comes back, it is news.
// before reports what was said of it in an earlier life of the program.
func (m *Memory) News(found []ingress.Finding, before func(reason, message string) bool) []ingress.Finding {
	var news []ingress.Finding
	next := make(Memory, len(found))
	for _, f := range found {
		key := f.Code + "\n" + f.Message()
		if !(*m)[key] && !next[key] && !before(f.Code, f.Message()) {
			news = append(news, f)
		}
		next[key] = true
	}
	*m = next
	return news
}

// Kind is the type of the Event that tells of a finding: what is served in another way than it was elsewhere is no warning.
func Kind(f ingress.Finding) string {
	if f.Level == ingress.Differs {
		return corev1.EventTypeNormal
	}
	return corev1.EventTypeWarning
}

// recheck is how often the certificates of an Ingress are looked at without a change: they expire by themselves.
const recheck = 10 * time.Minute

// Again is after what time an Ingress has to be looked at although nothing changes; 0: never.
func Again(ing *networkingv1.Ingress) time.Duration {
	if len(ing.Spec.TLS) == 0 {
		return 0
	}
	return recheck
}

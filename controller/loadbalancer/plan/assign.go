package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/lb"
)

// View is what is known when addresses are assigned.
type View struct {
	Pools      []Pool
	Services   []*corev1.Service // all of the cluster
	Namespaces map[string]labels.Set
	Reserved   lb.Reserved // addresses of the cluster itself, which no Service gets
}

// Decision is what the status of one Service is to say.
type Decision struct {
	Service   *corev1.Service
	Addresses []netip.Addr // of status.loadBalancer.ingress
	Reason    string       // of the condition; Assigned, or why an address is missing; empty: the Service has nothing from us
	Message   string
	Withdrawn []netip.Addr // of the addresses before: those that no pool has any more
}

// The reasons of the condition ConditionAssigned, and of Events.
const (
	Assigned  = "AddressAssigned"
	Refused   = "AddressRefused"
	Exhausted = "AddressesExhausted"
	NoPool    = "NoAddressPool"
	Withdrawn = "AddressWithdrawn"
)

// Taken are all addresses that the Services of the decisions have.
func Taken(all []Decision) []netip.Addr {
	var taken []netip.Addr
	for _, d := range all {
		taken = append(taken, d.Addresses...)
	}
	slices.SortFunc(taken, netip.Addr.Compare)
	return slices.Compact(taken)
}

// Assign decides about every Service that is ours to give addresses to, or was; those before whose addresses are not ours it
// leaves alone. What a Service has it keeps as long as a pool has it, whatever else about pools has changed.
func (v View) Assign() []Decision {
	t := newTable(v)
	services := slices.SortedFunc(slices.Values(v.Services), func(a, b *corev1.Service) int { return api.AgeOf(a).Compare(api.AgeOf(b)) })
	var all []Decision
	for _, svc := range services {
		if svc.DeletionTimestamp == nil && v.ours(svc) {
			all = append(all, t.decide(svc))
		}
	}
	return all
}

// ours reports whether the addresses of a Service are our concern: those that come from a pool, and those of a Service that has none
// yet when there are pools.
func (v View) ours(svc *corev1.Service) bool {
	if given(svc) {
		return true
	}
	has := addresses(svc)
	inPool := func(a netip.Addr) bool { return PoolOf(v.Pools, a) != nil }
	return api.Balanced(svc) && len(v.Pools) > 0 && (len(svc.Status.LoadBalancer.Ingress) == 0 || slices.ContainsFunc(has, inPool))
}

// given reports whether the status of a Service is from us.
func given(svc *corev1.Service) bool {
	return slices.ContainsFunc(svc.Status.Conditions, hasType(api.ConditionAssigned))
}

// addresses are those that a Service has by its status.
func addresses(svc *corev1.Service) []netip.Addr {
	var all []netip.Addr
	for _, in := range svc.Status.LoadBalancer.Ingress {
		if a, err := netip.ParseAddr(in.IP); err == nil {
			all = append(all, a.Unmap())
		}
	}
	return all
}

// requested are the addresses that a Service asks for. The error says what is wrong with them.
func requested(svc *corev1.Service) ([]netip.Addr, error) {
	var all []netip.Addr
	text, said := svc.Annotations[api.AnnotationAddresses]
	if !said && svc.Spec.LoadBalancerIP != "" {
		text, said = svc.Spec.LoadBalancerIP, true
	}
	if !said || strings.TrimSpace(text) == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(text, ",") {
		a, err := netip.ParseAddr(strings.TrimSpace(part))
		if err != nil || a.Zone() != "" {
			return nil, fmt.Errorf("%q is not an address", strings.TrimSpace(part))
		}
		if !slices.Contains(all, a.Unmap()) {
			all = append(all, a.Unmap())
		}
	}
	if ip, err := netip.ParseAddr(svc.Spec.LoadBalancerIP); err == nil && !slices.Contains(all, ip.Unmap()) {
		return nil, fmt.Errorf("spec.loadBalancerIP %s is not among those of annotation %s; make them agree", ip, api.AnnotationAddresses)
	}
	return all, nil
}

// decide decides about one Service, and enters it in the table.
func (t *table) decide(svc *corev1.Service) Decision {
	d := Decision{Service: svc}
	had := addresses(svc)
	if !api.Balanced(svc) { // what somebody else gave it is not ours to take
		d.Addresses = slices.DeleteFunc(had, func(a netip.Addr) bool { return PoolOf(t.Pools, a) != nil })
		return d
	}
	wishes, err := requested(svc)
	var wrong []string
	fail := func(reason, text string) {
		if wrong = append(wrong, text); d.Reason == "" {
			d.Reason = reason
		}
	}
	if err != nil {
		fail(Refused, err.Error())
	}
	families := api.Families(svc)
	for _, w := range wishes {
		if !slices.Contains(families, familyOf(w)) {
			fail(Refused, fmt.Sprintf("%s cannot be given: spec.ipFamilies of the Service is %v", w, families))
		}
	}
	for _, f := range families {
		d.Addresses = append(d.Addresses, t.ofFamily(svc, f, had, wishes, fail)...)
	}
	for _, a := range had {
		if PoolOf(t.Pools, a) == nil {
			d.Withdrawn = append(d.Withdrawn, a)
		}
	}
	t.enter(svc, d.Addresses)
	if d.Reason == "" {
		d.Reason = Assigned
	}
	d.Message = strings.Join(append(t.sources(d.Addresses), wrong...), "; ")
	return d
}

// sources says from which pool each address is.
func (t *table) sources(all []netip.Addr) []string {
	var texts []string
	for _, a := range all {
		texts = append(texts, fmt.Sprintf("%s from pool %s", a, PoolOf(t.Pools, a).Object.Name))
	}
	return texts
}

// ofFamily are a Service's addresses of one family.
func (t *table) ofFamily(svc *corev1.Service, f corev1.IPFamily, had, wishes []netip.Addr, fail func(reason, text string)) []netip.Addr {
	is := func(a netip.Addr) bool { return familyOf(a) == f }
	var kept, granted []netip.Addr
	for _, a := range had {
		if is(a) && PoolOf(t.Pools, a) != nil && !slices.Contains(kept, a) {
			kept = append(kept, a)
		}
	}
	wished := slices.DeleteFunc(slices.Clone(wishes), func(a netip.Addr) bool { return !is(a) })
	for _, a := range wished {
		if slices.Contains(kept, a) {
			granted = append(granted, a)
		} else if why := t.whyNot(svc, a); why != "" {
			fail(Refused, fmt.Sprintf("%s cannot be given: %s", a, why))
		} else {
			granted = append(granted, a)
		}
	}
	switch {
	case len(granted) > 0:
		return granted
	case len(wished) > 0 || len(kept) > 0: // what it has serves until it can have what it asks for
		return kept
	}
	a, reason, why := t.choose(svc, f)
	if why != "" {
		fail(reason, why)
		return nil
	}
	return []netip.Addr{a}
}

func familyOf(a netip.Addr) corev1.IPFamily {
	if a.Is4() {
		return corev1.IPv4Protocol
	}
	return corev1.IPv6Protocol
}

func nameOf(svc *corev1.Service) types.NamespacedName { return api.Name(svc) }

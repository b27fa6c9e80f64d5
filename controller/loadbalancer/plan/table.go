package plan

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"fairlead.dev/fairlead/alloc"
	"fairlead.dev/fairlead/api"
)

// table says which Services have each address.
type table struct {
	View
	holders map[netip.Addr][]*corev1.Service
	from    map[cursor]netip.Addr // where the search for a free one goes on
}

// cursor is a place of search: a pool, by its name, and a family.
type cursor struct {
	pool string
	is4  bool
}

// newTable is the table of what the Services have, by their status and by spec.externalIPs. What a Service is to give up it holds until
// its status says so: the write may fail.
func newTable(v View) *table {
	t := &table{View: v, holders: make(map[netip.Addr][]*corev1.Service, len(v.Services)), from: map[cursor]netip.Addr{}}
	for _, svc := range v.Services {
		if svc.Spec.Type == corev1.ServiceTypeLoadBalancer {
			t.enter(svc, addresses(svc))
		}
		for _, text := range svc.Spec.ExternalIPs {
			if a, err := netip.ParseAddr(text); err == nil {
				t.enter(svc, []netip.Addr{a.Unmap()})
			}
		}
	}
	return t
}

func (t *table) enter(svc *corev1.Service, all []netip.Addr) {
	for _, a := range all {
		if !slices.Contains(t.holders[a], svc) {
			t.holders[a] = append(t.holders[a], svc)
		}
	}
}

// whyNot says why a Service cannot have an address; empty: it can.
func (t *table) whyNot(svc *corev1.Service, a netip.Addr) string {
	p := PoolOf(t.Pools, a)
	switch {
	case p == nil:
		return "it is outside of every pool"
	case !p.Usable():
		return fmt.Sprintf("pool %s is not used: %s", p.Object.Name, p.Message)
	}
	if why := t.whyNotFor(p, svc); why != "" {
		return why
	}
	if what := t.Reserved.Why(a); what != "" {
		return "it is " + what
	}
	return t.whyNotShared(svc, a)
}

// whyNotFor says why a pool is not for a Service.
func (t *table) whyNotFor(p *Pool, svc *corev1.Service) string {
	switch {
	case !p.services.Matches(labels.Set(svc.Labels)):
		return fmt.Sprintf("pool %s is for Services with the labels %s", p.Object.Name, p.services)
	case !p.namespaces.Matches(t.Namespaces[svc.Namespace]):
		return fmt.Sprintf("pool %s is for namespaces with the labels %s", p.Object.Name, p.namespaces)
	}
	return ""
}

// whyNotShared says why a Service cannot have an address together with those that have it. They must all ask for that by the same
// key, have no port in common, and be reached in the same way: connections to one address arrive at one node.
func (t *table) whyNotShared(svc *corev1.Service, a netip.Addr) string {
	key := svc.Annotations[api.AnnotationShare]
	for _, other := range t.holders[a] {
		name := nameOf(other)
		switch {
		case other.UID == svc.UID && name == nameOf(svc):
			continue
		case key == "" || other.Annotations[api.AnnotationShare] != key:
			return fmt.Sprintf("Service %s has it, and only Services with the same annotation %s share an address", name, api.AnnotationShare)
		}
		if port := common(svc, other); port != "" {
			return fmt.Sprintf("Service %s has port %s of it", name, port)
		}
		local := svc.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal || other.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
		if local && (svc.Spec.ExternalTrafficPolicy != other.Spec.ExternalTrafficPolicy || svc.Namespace != other.Namespace || !maps.Equal(svc.Spec.Selector, other.Spec.Selector)) {
			return fmt.Sprintf("Service %s has it, and with externalTrafficPolicy Local only Services of the same pods share an address", name)
		}
	}
	return ""
}

// common is a port that two Services both have, empty if there is none.
func common(a, b *corev1.Service) string {
	for _, p := range a.Spec.Ports {
		for _, q := range b.Spec.Ports {
			if p.Port == q.Port && api.Protocol(p.Protocol) == api.Protocol(q.Protocol) {
				return fmt.Sprintf("%d/%s", p.Port, api.Protocol(p.Protocol))
			}
		}
	}
	return ""
}

// choose finds an address of a family for a Service that asks for none: one that it may share, else a free one.
func (t *table) choose(svc *corev1.Service, f corev1.IPFamily) (a netip.Addr, reason, why string) {
	var full, others []string
	for i := range t.Pools {
		p := &t.Pools[i]
		if !p.Usable() || !p.Object.Auto() || !slices.ContainsFunc(p.Ranges, func(r alloc.Range) bool { return r.Is4() == (f == corev1.IPv4Protocol) }) {
			continue
		}
		if why := t.whyNotFor(p, svc); why != "" {
			others = append(others, why)
			continue
		}
		if a := t.free(p, svc, f == corev1.IPv4Protocol); a.IsValid() {
			return a, "", ""
		}
		full = append(full, p.Object.Name)
	}
	switch {
	case len(full) > 0:
		return a, Exhausted, fmt.Sprintf("no %s address is free in pool %s; it gets one as soon as one is given back, or the pool is made larger", f, strings.Join(full, ", "))
	case len(others) > 0:
		return a, NoPool, fmt.Sprintf("no pool with %s addresses is for this Service: %s", f, strings.Join(others, "; "))
	}
	return a, NoPool, fmt.Sprintf("no pool that gives addresses by itself has %s addresses", f)
}

// free is an address of a pool that a Service can have.
func (t *table) free(p *Pool, svc *corev1.Service, is4 bool) netip.Addr {
	if svc.Annotations[api.AnnotationShare] != "" {
		shared := slices.DeleteFunc(slices.Collect(maps.Keys(t.holders)), func(a netip.Addr) bool {
			return a.Is4() != is4 || !p.Ranges.Contains(a) || t.whyNotShared(svc, a) != ""
		})
		if len(shared) > 0 {
			return slices.MinFunc(shared, netip.Addr.Compare)
		}
	}
	at := cursor{p.Object.Name, is4}
	a := p.Ranges.Next(is4, t.from[at], func(a netip.Addr) bool { return len(t.holders[a]) > 0 || t.Reserved.Why(a) != "" })
	t.from[at] = a
	return a
}

// hasType finds a condition.
func hasType(kind string) func(metav1.Condition) bool {
	return func(c metav1.Condition) bool { return c.Type == kind }
}

package zone

import (
	"iter"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Builder writes Zones: it turns changes of the world into the next Zone. It remembers which names each
// Service contributed, so that they can be taken back. It belongs to one goroutine.
type Builder struct {
	svc, pod Name // the branches of the zone
	self     []netip.Addr
	Synced   bool // the world holds everything
	services map[types.NamespacedName]written
	Now      *Zone
}

// written is what a Service has in the Zone.
type written struct {
	names []Name
	addrs []netip.Addr
	owner Name
}

// NewBuilder returns a Builder of a domain without Services. self are the addresses that its name server answers on.
func NewBuilder(domain Name, self []netip.Addr) *Builder {
	b := &Builder{self: self, services: map[types.NamespacedName]written{}, Now: newZone(domain, self)}
	b.svc, _ = domain.Child("svc")
	b.pod, _ = domain.Child("pod")
	return b
}

// draft is a Zone being written.
type draft struct {
	names *edit[Name, *Node]
	addrs *edit[netip.Addr, []belongs]
}

// Service is a Service of the API and what belongs to it; without an object it does not exist.
type Service struct {
	Object *corev1.Service
	Slices []*discoveryv1.EndpointSlice
}

// Build returns the Zone after changes, with the given SOA serial. It is told the state of each changed namespace and Service
// rather than the kind of its change, so changes may be repeated or merged.
func (b *Builder) Build(namespaces iter.Seq2[string, bool], services iter.Seq2[types.NamespacedName, Service], serial uint32) *Zone {
	r := draft{names: b.Now.names.edit(), addrs: b.Now.addrs.edit()}
	for name, exists := range namespaces {
		b.namespace(r, name, exists)
	}
	for name, svc := range services {
		b.service(r, name, svc)
	}
	next := &Zone{Domain: b.Now.Domain, synced: b.Synced, soa: soaData(b.Now.Domain, serial)}
	r.names.set(hashName(next.Domain), next.Domain, apex(next.Domain, next.soa, b.self))
	next.names, next.addrs = r.names.publish(), r.addrs.publish()
	b.Now = next
	return next
}

// namespace is rule N32: a namespace's own names exist and have no records.
func (b *Builder) namespace(r draft, ns string, exists bool) {
	for _, at := range []struct {
		branch Name
		node   *Node
	}{{b.svc, emptyNode}, {b.pod, podsNode}} {
		n, ok := at.branch.Child(ns)
		switch {
		case !ok:
		case exists:
			r.names.set(hashName(n), n, at.node)
		default:
			r.names.delete(hashName(n), n)
		}
	}
}

// podsNode is <namespace>.pod.<zone>.
var podsNode = &Node{pods: true}

func (b *Builder) service(r draft, name types.NamespacedName, svc Service) {
	old := b.services[name]
	for _, n := range old.names {
		r.names.delete(hashName(n), n)
	}
	for _, ip := range old.addrs {
		r.unpoint(ip, old.owner)
	}
	delete(b.services, name)
	if svc.Object == nil {
		return
	}
	next := derive(b.svc, svc.Object, svc.Slices)
	if len(next.names) == 0 {
		return
	}
	now := written{owner: next.service}
	for _, n := range next.names {
		r.names.set(hashName(n.name), n.name, n.node)
		now.names = append(now.names, n.name)
	}
	for _, p := range next.reverse {
		r.point(p)
		now.addrs = append(now.addrs, p.addr)
	}
	b.services[name] = now
}

// point adds p to what is said of its address. An address can belong to several Services, and the
// order is fixed so that equal worlds give equal Zones.
func (r draft) point(p pointer) {
	h := hashAddr(p.addr)
	old, _ := r.addrs.get(h, p.addr)
	next := append(slices.Clone(old), p.belongs)
	slices.SortFunc(next, func(a, b belongs) int {
		if c := strings.Compare(string(a.service), string(b.service)); c != 0 {
			return c
		}
		return strings.Compare(a.label, b.label)
	})
	r.addrs.set(h, p.addr, slices.Compact(next))
}

// unpoint takes back everything a Service says of an address.
func (r draft) unpoint(ip netip.Addr, service Name) {
	h := hashAddr(ip)
	old, ok := r.addrs.get(h, ip)
	if !ok {
		return
	}
	next := slices.DeleteFunc(slices.Clone(old), func(b belongs) bool { return b.service == service })
	if len(next) == 0 {
		r.addrs.delete(h, ip)
		return
	}
	r.addrs.set(h, ip, next)
}

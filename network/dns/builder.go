package dns

import (
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/network/world"
)

// builder writes Zones: it turns changes of the world into the next Zone. It remembers which names each
// Service contributed, so that they can be taken back. It belongs to one goroutine.
type builder struct {
	svc, pod name // the branches of the zone
	self     []netip.Addr
	synced   bool // the world holds everything
	services map[types.NamespacedName]written
	now      *Zone
}

// written is what a Service has in the Zone.
type written struct {
	names []name
	addrs []netip.Addr
	owner name
}

func newBuilder(domain name, self []netip.Addr) *builder {
	b := &builder{self: self, services: map[types.NamespacedName]written{}, now: newZone(domain, self)}
	b.svc, _ = domain.child("svc")
	b.pod, _ = domain.child("pod")
	return b
}

// draft is a Zone being written.
type draft struct {
	names *edit[name, *node]
	addrs *edit[netip.Addr, []belongs]
}

// build returns the Zone after changes, with the given SOA serial. It reads the state of each changed
// thing rather than the kind of its change, so changes may be repeated or merged.
func (b *builder) build(w *world.World, changes world.Changes, serial uint32) *Zone {
	r := draft{names: b.now.names.edit(), addrs: b.now.addrs.edit()}
	for ns := range changes.Of(world.Namespaces) {
		b.namespace(r, ns.Name, w.HasNamespace(ns.Name))
	}
	for svc := range changes.Of(world.Services) {
		b.service(r, svc, w)
	}
	next := &Zone{domain: b.now.domain, upTo: changes.UpTo, synced: b.synced, soa: soaData(b.now.domain, serial)}
	r.names.set(hashName(next.domain), next.domain, apex(next.domain, next.soa, b.self))
	next.names, next.addrs = r.names.publish(), r.addrs.publish()
	b.now = next
	return next
}

// namespace is rule N32: a namespace's own names exist and have no records.
func (b *builder) namespace(r draft, ns string, exists bool) {
	for _, at := range []struct {
		branch name
		node   *node
	}{{b.svc, emptyNode}, {b.pod, podsNode}} {
		n, ok := at.branch.child(ns)
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
var podsNode = &node{pods: true}

func (b *builder) service(r draft, svc types.NamespacedName, w *world.World) {
	old := b.services[svc]
	for _, n := range old.names {
		r.names.delete(hashName(n), n)
	}
	for _, ip := range old.addrs {
		r.unpoint(ip, old.owner)
	}
	delete(b.services, svc)
	obj, slices := w.Service(svc)
	if obj == nil {
		return
	}
	next := derive(b.svc, obj, slices)
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
	b.services[svc] = now
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
func (r draft) unpoint(ip netip.Addr, service name) {
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

package dns

import (
	"net/netip"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/network/world"
)

// author writes Zones: it turns changes of the world into the next Zone. It remembers which names each
// Service contributed, so that they can be taken back. It belongs to one goroutine.
type author struct {
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

func newAuthor(domain name, self []netip.Addr) *author {
	a := &author{self: self, services: map[types.NamespacedName]written{}, now: newZone(domain, self)}
	a.svc, _ = domain.child("svc")
	a.pod, _ = domain.child("pod")
	return a
}

// revision is a Zone being written.
type revision struct {
	names *edit[name, *node]
	addrs *edit[netip.Addr, []belongs]
}

// revise returns the Zone after changes, with the given SOA serial. It reads the state of each changed
// thing rather than the kind of its change, so changes may be repeated or merged.
func (a *author) revise(w *world.World, changes world.Changes, serial uint32) *Zone {
	r := revision{names: a.now.names.edit(), addrs: a.now.addrs.edit()}
	for ns := range changes.Of(world.Namespaces) {
		a.namespace(r, ns.Name, w.HasNamespace(ns.Name))
	}
	for svc := range changes.Of(world.Services) {
		a.service(r, svc, w)
	}
	next := &Zone{domain: a.now.domain, upTo: changes.UpTo, synced: a.synced, soa: soaData(a.now.domain, serial)}
	r.names.set(hashName(next.domain), next.domain, apex(next.domain, next.soa, a.self))
	next.names, next.addrs = r.names.publish(), r.addrs.publish()
	a.now = next
	return next
}

// namespace is rule N32: a namespace's own names exist and have no records.
func (a *author) namespace(r revision, ns string, exists bool) {
	for _, at := range []struct {
		branch name
		node   *node
	}{{a.svc, emptyNode}, {a.pod, podsNode}} {
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

func (a *author) service(r revision, svc types.NamespacedName, w *world.World) {
	old := a.services[svc]
	for _, n := range old.names {
		r.names.delete(hashName(n), n)
	}
	for _, ip := range old.addrs {
		r.unpoint(ip, old.owner)
	}
	delete(a.services, svc)
	obj, slices := w.Service(svc)
	if obj == nil {
		return
	}
	next := derive(a.svc, obj, slices)
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
	a.services[svc] = now
}

// point adds p to what is said of its address. An address can belong to several Services, and the
// order is fixed so that equal worlds give equal Zones.
func (r revision) point(p pointer) {
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
func (r revision) unpoint(ip netip.Addr, service name) {
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

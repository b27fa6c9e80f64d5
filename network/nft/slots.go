package nft

import (
	"fmt"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/network/lb"
)

// set is a lb.Set that has been given an id and an order of slots.
type set struct {
	port  string
	scope lb.Scope
	id    uint32
	slots []slot
}

// slot is a backend in its place. Only sets with affinity give it an id.
type slot struct {
	addr netip.AddrPort
	id   uint32
}

// newSet gives a set its id and slots: those it had, as far as possible.
func (b *book) newSet(name types.NamespacedName, from *lb.Set, old *service) (set, error) {
	s := set{port: from.Port, scope: from.Scope}
	var had []slot
	if i := slices.IndexFunc(old.sets, func(o set) bool { return o.port == s.port && o.scope == s.scope }); i >= 0 {
		s.id, had = old.sets[i].id, old.sets[i].slots
	} else if id, slots, ok := b.inheritSet(name, from); ok {
		s.id, had = id, slots
	} else {
		id, err := b.setIDs.take()
		if err != nil {
			return set{}, fmt.Errorf("set ids: %w", err)
		}
		s.id = id
	}
	if !from.ByClient {
		s.slots = reslot(had, from.Backends)
	} else {
		s.slots = respread(had, from.Backends)
	}
	if from.Affinity > 0 {
		b.identify(s.slots)
	} else {
		for i := range s.slots { // it may have had affinity before
			s.slots[i].id = 0
		}
	}
	return s, nil
}

// identify gives an id to endpoints that have none.
func (b *book) identify(slots []slot) {
	known := map[netip.AddrPort]uint32{}
	for i := range slots {
		p := &slots[i]
		if p.id == 0 {
			p.id = known[p.addr] // it may be in several places
		}
		if p.id == 0 {
			b.endpoints++
			p.id = b.endpoints
			known[p.addr] = p.id
		}
	}
}

// respread places backends where the clients' addresses want them.
func respread(had []slot, want []lb.Backend) []slot {
	ids := make(map[netip.AddrPort]uint32, len(want))
	for _, p := range had {
		ids[p.addr] = p.id
	}
	table := lb.Spread(want)
	slots := make([]slot, len(table))
	for i, k := range table {
		slots[i] = slot{addr: want[k].Addr, id: ids[want[k].Addr]}
	}
	return slots
}

// reslot places backends in slots so that as few slots as possible change:
// survivors stay, the last move into the holes, newcomers go to the end.
func reslot(had []slot, want []lb.Backend) []slot {
	slots := make([]slot, 0, len(want))
	if len(had) == 0 {
		for _, w := range want {
			slots = append(slots, slot{addr: w.Addr})
		}
		return slots
	}
	missing := make(map[netip.AddrPort]struct{}, len(want))
	for _, w := range want {
		missing[w.Addr] = struct{}{}
	}
	kept := slices.Clone(had)
	for i := 0; i < len(kept); i++ {
		for i < len(kept) {
			if _, wanted := missing[kept[i].addr]; wanted {
				break
			}
			kept[i] = kept[len(kept)-1]
			kept = kept[:len(kept)-1]
		}
		if i < len(kept) {
			delete(missing, kept[i].addr)
			slots = append(slots, kept[i])
		}
	}
	for _, w := range want {
		if _, ok := missing[w.Addr]; ok {
			slots = append(slots, slot{addr: w.Addr})
		}
	}
	return slots
}

// enterBackends adds a set's endpoints.
func (b *book) enterBackends(service types.NamespacedName, s *set) {
	name := ""
	if s.home() == stickyTargets {
		name = setName(service, s.port, s.scope)
	}
	for i, p := range s.slots {
		if p.id == 0 {
			b.enter(slotOf(endpoints, s.id, i), backendValueOf(p.addr), "")
			continue
		}
		b.enter(slotOf(stickySlots, s.id, i), numberValue(p.id), name)
		b.enter(numberKey(stickyTargets, p.id), backendValueOf(p.addr), "")
		b.enter(numberKey(sticky, p.id), value{}, "")
	}
}

// enterHairpins adds the pods of this node among the backends, which may be
// their own clients. The address tells, not the endpoint's node name: endpoints
// that people write by hand often have none.
func (b *book) enterHairpins(s *set) {
	for _, p := range s.slots {
		if a := p.addr.Addr(); b.localPods.Contains(a) {
			b.enter(addrKey(hairpins, a), value{}, "")
		}
	}
}

// enterTwins joins the two sets of a port with affinity, and the endpoints that
// are in both: a client that sticks to one under one policy comes to the same
// under the other (rule P70).
func (b *book) enterTwins(sets []set) {
	for i := range sets {
		for j := i + 1; j < len(sets); j++ {
			one, other := &sets[i], &sets[j]
			if one.port != other.port || one.home() != stickyTargets {
				continue
			}
			there := make(map[netip.AddrPort]uint32, len(other.slots))
			for _, p := range other.slots {
				there[p.addr] = p.id
			}
			for _, p := range one.slots {
				if id, both := there[p.addr]; both {
					b.enterTwin(one.id, other.id) // again and again; it becomes one
					b.enterTwin(p.id, id)
				}
			}
		}
	}
}

func (b *book) enterTwin(one, other uint32) {
	b.enter(numberKey(stickyTwins, one), numberValue(other), "")
	b.enter(numberKey(stickyTwins, other), numberValue(one), "")
}

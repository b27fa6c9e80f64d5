package plan

import (
	"fmt"
	"net/netip"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/network/lb"
)

// Set is a lb.Set that has been given an id and an order of slots.
type Set struct {
	Port string // the Service port's name

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
func (b *Desired) newSet(name types.NamespacedName, from *lb.Set, old *Service) (Set, error) {
	s := Set{Port: from.Port, scope: from.Scope}
	var had []slot
	if i := slices.IndexFunc(old.sets, func(o Set) bool { return o.Port == s.Port && o.scope == s.scope }); i >= 0 {
		s.id, had = old.sets[i].id, old.sets[i].slots
	} else if id, slots, ok := b.restoreSet(name, from); ok {
		s.id, had = id, slots
	} else {
		id, err := b.setIDs.take()
		if err != nil {
			return Set{}, fmt.Errorf("set ids: %w", err)
		}
		s.id = id
	}
	if !from.ByClient {
		s.slots = reslot(had, from.Places())
	} else {
		s.slots = respread(had, from.Backends, from.Shares)
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
func (b *Desired) identify(slots []slot) {
	known := map[netip.AddrPort]uint32{}
	for _, p := range slots {
		if p.id != 0 {
			known[p.addr] = p.id
		}
	}
	for i := range slots {
		p := &slots[i]
		if p.id == 0 {
			p.id = known[p.addr] // it may be in several places
		}
		if p.id == 0 {
			b.lastEndpoint++
			p.id = b.lastEndpoint
			known[p.addr] = p.id
		}
	}
}

// respread places backends where the clients' addresses want them.
func respread(had []slot, want []lb.Backend, shares []int) []slot {
	ids := make(map[netip.AddrPort]uint32, len(want))
	for _, p := range had {
		ids[p.addr] = p.id
	}
	table := lb.Spread(want, shares)
	slots := make([]slot, len(table))
	for i, k := range table {
		slots[i] = slot{addr: want[k].Addr, id: ids[want[k].Addr]}
	}
	return slots
}

// reslot places backends in slots so that as few slots as possible change:
// survivors stay, the last move into the holes, newcomers go to the end. One
// that is there several times has as many slots.
func reslot(had []slot, want []lb.Backend) []slot {
	slots := make([]slot, 0, len(want))
	if len(had) == 0 {
		for _, w := range want {
			slots = append(slots, slot{addr: w.Addr})
		}
		return slots
	}
	missing := make(map[netip.AddrPort]int, len(want))
	for _, w := range want {
		missing[w.Addr]++
	}
	kept := slices.Clone(had)
	for i := 0; i < len(kept); i++ {
		for i < len(kept) {
			if missing[kept[i].addr] > 0 {
				break
			}
			kept[i] = kept[len(kept)-1]
			kept = kept[:len(kept)-1]
		}
		if i < len(kept) {
			missing[kept[i].addr]--
			slots = append(slots, kept[i])
		}
	}
	for _, w := range want {
		if missing[w.Addr] > 0 {
			missing[w.Addr]--
			slots = append(slots, slot{addr: w.Addr})
		}
	}
	return slots
}

// enterBackends adds a set's endpoints.
func (b *Desired) enterBackends(service types.NamespacedName, s *Set) {
	name := ""
	if s.Home() == MapStickyTargets {
		name = setName(service, s.Port, s.scope)
	}
	for i, p := range s.slots {
		if p.id == 0 {
			b.enter(slotOf(MapEndpoints, s.id, i), backendValueOf(p.addr), "")
			continue
		}
		b.enter(slotOf(MapStickySlots, s.id, i), numberValue(p.id), name)
		b.enter(numberKey(MapStickyTargets, p.id), backendValueOf(p.addr), "")
		b.enter(numberKey(MapSticky, p.id), value{}, "")
	}
}

// enterHairpins adds the pods of this node among the backends, which may be
// their own clients. The address tells, not the endpoint's node name: endpoints
// that people write by hand often have none.
func (b *Desired) enterHairpins(s *Set) {
	for _, p := range s.slots {
		if a := p.addr.Addr(); b.LocalPods.Contains(a) {
			b.enter(AddrKey(MapHairpins, a), value{}, "")
		}
	}
}

// enterTwins joins the two sets of a port with affinity, and the endpoints that
// are in both: a client that sticks to one under one policy comes to the same
// under the other (rule P70).
func (b *Desired) enterTwins(sets []Set) {
	for i := range sets {
		for j := i + 1; j < len(sets); j++ {
			one, other := &sets[i], &sets[j]
			if one.Port != other.Port || one.Home() != MapStickyTargets {
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

func (b *Desired) enterTwin(one, other uint32) {
	b.enter(numberKey(MapStickyTwins, one), numberValue(other), "")
	b.enter(numberKey(MapStickyTwins, other), numberValue(one), "")
}

// Home is the map with the addresses of a set's endpoints.
func (s *Set) Home() Map {
	if len(s.slots) > 0 && s.slots[0].id != 0 {
		return MapStickyTargets
	}
	return MapEndpoints
}

// Places are the keys of a set's endpoints at home.
func (s *Set) Places() []Key {
	keys := make([]Key, 0, len(s.slots))
	known := map[uint32]bool{}
	for i, p := range s.slots {
		switch {
		case p.id == 0:
			keys = append(keys, slotOf(MapEndpoints, s.id, i))
		case !known[p.id]:
			known[p.id] = true // it may be in several places
			keys = append(keys, numberKey(MapStickyTargets, p.id))
		}
	}
	return keys
}

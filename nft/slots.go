package nft

import (
	"fmt"
	"net/netip"
	"slices"

	"fairlead.dev/fairlead/lb"
	"fairlead.dev/fairlead/world"
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
func (b *book) newSet(name world.ServiceName, from *lb.Set, old *service) (*set, error) {
	s := &set{port: from.Port, scope: from.Scope}
	var had []slot
	if i := slices.IndexFunc(old.sets, func(o *set) bool { return o.port == s.port && o.scope == s.scope }); i >= 0 {
		s.id, had = old.sets[i].id, old.sets[i].slots
	} else if id, slots, ok := b.inheritSet(name, from); ok {
		s.id, had = id, slots
	} else {
		id, err := b.setIDs.take()
		if err != nil {
			return nil, fmt.Errorf("set ids: %w", err)
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

// slotsOf returns how many slots one of the service's sets has.
func (s *service) slotsOf(id uint32) int {
	i := slices.IndexFunc(s.sets, func(o *set) bool { return o.id == id })
	return len(s.sets[i].slots)
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

func (s *service) addBackends(to *set, affinity bool) {
	name := ""
	if affinity {
		name = setName(s.name, to.port, to.scope)
	}
	for i, p := range to.slots {
		if !affinity {
			s.add(slotOf(endpoints, to.id, i), backendValueOf(p.addr), "")
			continue
		}
		s.add(slotOf(stickySlots, to.id, i), numberValue(p.id), name)
		s.add(numberKey(stickyTargets, p.id), backendValueOf(p.addr), "")
		s.add(numberKey(sticky, p.id), value{}, "")
	}
}

// addTwins joins the two sets of a port with affinity, and the endpoints that
// are in both: a client that sticks to one under one policy comes to the same
// under the other (rule P70).
func (s *service) addTwins(rows *lb.Rows) {
	for i, a := range s.sets {
		for _, b := range s.sets[i+1:] {
			if a.port != b.port || rows.Set(a.port, a.scope).Affinity == 0 {
				continue
			}
			there := make(map[netip.AddrPort]uint32, len(b.slots))
			for _, p := range b.slots {
				there[p.addr] = p.id
			}
			for _, p := range a.slots {
				if id, both := there[p.addr]; both {
					s.addTwin(a.id, b.id) // again and again; it becomes one
					s.addTwin(p.id, id)
				}
			}
		}
	}
}

func (s *service) addTwin(a, b uint32) {
	s.add(numberKey(stickyTwins, a), numberValue(b), "")
	s.add(numberKey(stickyTwins, b), numberValue(a), "")
}

// addHairpins adds the pods of this node among the backends, which may be their
// own clients. The address tells, not the endpoint's node name: endpoints that
// people write by hand often have none.
func (b *book) addHairpins(to *service, s *set) {
	for _, p := range s.slots {
		if a := p.addr.Addr(); b.localPods.Contains(a) {
			to.add(addrKey(hairpins, a), value{}, "")
		}
	}
}

package plan

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/network/lb"
)

// What a client sticks to is known to the kernel alone, by set id and endpoint
// id. Those of a predecessor's table are therefore given to the same sets and
// endpoints again.

// Restored is the ids that a table was written with, by the name of their set,
// which is the comment of the set's slots.
type Restored map[string]RestoredSet

// RestoredSet is the id of a set and those of its endpoints.
type RestoredSet struct {
	ID        uint32
	Endpoints map[netip.AddrPort]uint32
}

// setName names a set across processes. It is the comment of the set's slots.
func setName(service types.NamespacedName, port string, scope lb.Scope) string {
	return fmt.Sprintf("%s:%s %v", service, port, scope)
}

// ParseBackend reads an address and port as the kernel has them.
func (f *Family) ParseBackend(p []byte) (netip.AddrPort, bool) {
	if len(p) < int(f.AddrLen)+2 {
		return netip.AddrPort{}, false
	}
	a, ok := netip.AddrFromSlice(p[:f.AddrLen])
	return netip.AddrPortFrom(a, binary.BigEndian.Uint16(p[f.AddrLen:])), ok
}

// Restore prepares what is empty for the ids of a table.
func (b *Desired) Restore(from Restored) {
	b.restored = from
	used := map[uint32]bool{}
	for _, in := range from {
		used[in.ID] = true
		b.setIDs.last = max(b.setIDs.last, in.ID)
		for _, id := range in.Endpoints {
			b.lastEndpoint = max(b.lastEndpoint, id)
		}
	}
	for id := uint32(1); id < b.setIDs.last; id++ {
		if !used[id] {
			b.setIDs.free = append(b.setIDs.free, id)
		}
	}
}

// restoreSet takes over the ids that a set had in a previous life, once.
func (b *Desired) restoreSet(service types.NamespacedName, from *lb.Set) (uint32, []slot, bool) {
	if len(b.restored) == 0 {
		return 0, nil, false
	}
	name := setName(service, from.Port, from.Scope)
	in, ok := b.restored[name]
	if !ok {
		return 0, nil, false
	}
	delete(b.restored, name)
	var had []slot
	for _, backend := range from.Backends {
		if id, ok := in.Endpoints[backend.Addr]; ok {
			had = append(had, slot{addr: backend.Addr, id: id})
		}
	}
	return in.ID, had, true
}

// EndRestore ends it: ids that nobody took are free. It is called
// once everything has been derived, so that no newcomer gets an id before its
// owner, and all entries of it in the affinity map, turn up.
func (b *Desired) EndRestore() {
	for _, in := range b.restored {
		b.setIDs.free = append(b.setIDs.free, in.ID)
	}
	b.restored = nil
}

package plan

import (
	"net/netip"
	"slices"

	"fairlead.dev/fairlead/network/lb"
)

// stage records the entries in which old and next differ. It runs while the
// claims are still those of old.
func (b *Desired) stage(old, next *Service) bool {
	changed := false
	i, j := 0, 0
	for i < len(old.entries) || j < len(next.entries) {
		var was, will *entry
		switch c := order(old.entries, next.entries, i, j); {
		case c < 0:
			was, i = &old.entries[i], i+1
		case c > 0:
			will, j = &next.entries[j], j+1
		default:
			was, will, i, j = &old.entries[i], &next.entries[j], i+1, j+1
			if was.equal(will) {
				continue
			}
		}
		changed = true
		b.stageOne(was, will)
	}
	return changed
}

// stageTransfers records that the elements of frontends are from now on what
// another Service wants them to be. It runs when the claims have moved, and while
// the Services are still as they were.
func (b *Desired) stageTransfers(moved []lb.Transfer) {
	if b.Unstaged {
		return
	}
	for _, m := range moved {
		for _, in := range FrontendMaps {
			k := FrontendKey(in, m.Address.Addr, m.Address.Proto)
			if _, again := b.staged[k]; !again {
				b.staged[k] = delta{before: b.services[m.From].find(k)}
			}
		}
	}
}

// order says which of the next entries of two sorted lists comes first.
func order(a, b []entry, i, j int) int {
	switch {
	case i == len(a):
		return 1
	case j == len(b):
		return -1
	}
	return compareKeys(a[i].Key, b[j].Key)
}

func (b *Desired) stageOne(was, will *entry) {
	k := either(was, will).Key
	if !k.in.isShared() { // frontends that others have are counted, too, which is never too few
		b.counts[k.in] += count(will) - count(was)
		b.counts[MapAllowed] += len(will.sources()) - len(was.sources())
	}
	if b.Unstaged {
		return
	}
	d, again := b.staged[k]
	if k.in.isShared() || k.in.isFrontends() {
		if !again { // what the kernel has is what is due until now
			b.staged[k] = delta{before: b.due(k)}
		}
		return // what it should have is looked up when everybody has claimed
	}
	if !again {
		d.before = was
	}
	d.after = will
	b.staged[k] = d
}

func either(a, b *entry) *entry {
	if a != nil {
		return a
	}
	return b
}

func count(e *entry) int {
	if e != nil {
		return 1
	}
	return 0
}

func (b *Desired) want(k Key) {
	n := b.wanted[k]
	if b.wanted[k] = n + 1; n == 0 {
		b.counts[k.in]++
	}
}

func (b *Desired) unwant(k Key) {
	if n := b.wanted[k]; n > 1 {
		b.wanted[k] = n - 1
		return
	}
	delete(b.wanted, k)
	b.counts[k.in]--
}

func (s *Service) find(k Key) *entry {
	at, found := slices.BinarySearchFunc(s.entries, k, func(e entry, k Key) int { return compareKeys(e.Key, k) })
	if !found {
		return nil
	}
	return &s.entries[at]
}

// owner returns the Service that has the address of a frontend's element, nil if
// nobody claims it.
func (b *Desired) owner(k Key) *Service {
	return b.ownerOf(lb.Address{Addr: netip.AddrPortFrom(netip.AddrFrom16(k.addr).Unmap(), k.port), Proto: k.proto})
}

func (b *Desired) ownerOf(a lb.Address) *Service {
	name, _ := b.claims.Owner(a)
	return b.services[name]
}

// due returns what an element that several Services may want is to be, nil if
// it is not to be.
func (b *Desired) due(k Key) *entry {
	if k.in.isShared() {
		if b.wanted[k] == 0 {
			return nil
		}
		return &entry{Key: k}
	}
	s := b.owner(k)
	if s == nil {
		return nil
	}
	return s.find(k)
}

// has reports whether a Service has its way with one of its entries.
func (b *Desired) has(s *Service, k Key) bool {
	return !k.in.isFrontends() || !b.claims.Contested() || b.owner(k) == s
}

// SetNodes makes the set of node addresses the one given.
func (b *Desired) SetNodes(addrs map[netip.Addr]struct{}) {
	for a := range b.nodeAddrs {
		if _, ok := addrs[a]; !ok {
			b.stageOne(&entry{Key: AddrKey(MapNodes, a)}, nil)
		}
	}
	for a := range addrs {
		if _, ok := b.nodeAddrs[a]; !ok {
			b.stageOne(nil, &entry{Key: AddrKey(MapNodes, a)})
		}
	}
	b.nodeAddrs = addrs
}

// Difference is what a transaction has to do to the elements: first delete,
// then add. An element whose value changes is in both.
type Difference struct {
	removed, added []*entry
	classes        []class // whose chains are new
}

// IsEmpty reports whether there is nothing to do.
func (d Difference) IsEmpty() bool {
	return len(d.removed) == 0 && len(d.added) == 0 && len(d.classes) == 0
}

// Take returns the Difference and forgets it: the caller either brings it into
// the kernel or writes everything.
func (b *Desired) Take() Difference {
	d := Difference{classes: b.classes.takeNew()}
	if len(b.delayed) > maxDelayed {
		for _, e := range b.delayed {
			d.removed = append(d.removed, e)
		}
		clear(b.delayed)
	}
	for k, change := range b.staged {
		if k.in.isShared() || k.in.isFrontends() {
			change.after = b.due(k)
		}
		if change.before != nil && change.after != nil && change.before.equal(change.after) {
			continue
		}
		if k.in == MapHairpins && b.delay(k, change) {
			continue
		}
		if change.before != nil {
			d.removed = append(d.removed, change.before)
		}
		if change.after != nil {
			d.added = append(d.added, change.after)
		}
	}
	b.staged = map[Key]delta{} // a large one, emptied, would stay as slow to walk
	return d
}

// maxDelayed is how many hairpins may stay beyond their time.
const maxDelayed = 256

// delay keeps a hairpin that is no longer wanted for a later transaction, and
// reports whether the change needs nothing now. A packet may have been sent to
// an endpoint before the transaction that removes it and leave after; without
// its hairpin it would be lost, and so would all its retransmissions.
func (b *Desired) delay(k Key, change delta) bool {
	if change.after == nil {
		if change.before != nil {
			b.delayed[k] = change.before
		}
		return true
	}
	if _, there := b.delayed[k]; there {
		delete(b.delayed, k)
		return true
	}
	return false
}

// Committed releases what only the previous state of the kernel still used.
func (b *Desired) Committed() {
	b.setIDs.free = append(b.setIDs.free, b.retired...)
	b.retired = b.retired[:0]
}

// all calls each for every element the kernel should have.
func (b *Desired) all(each func(*entry)) {
	for _, s := range b.services {
		for i := range s.entries {
			if e := &s.entries[i]; !e.in.isShared() && b.has(s, e.Key) {
				each(e)
			}
		}
	}
	for k := range b.wanted {
		each(&entry{Key: k})
	}
	for a := range b.nodeAddrs {
		each(&entry{Key: AddrKey(MapNodes, a)})
	}
}

package nft

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
)

// stage records the entries in which old and next differ. It runs before the
// claims move from old to next.
func (b *book) stage(old, next *service) bool {
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
			// Another age can mean another winner of a shared element.
			sameAge := !was.in.isShared() || old.created.Equal(next.created)
			if was.equal(will) && sameAge {
				continue
			}
		}
		changed = true
		b.stageOne(was, will)
		if k := either(was, will).key; k.in == services && !b.unstaged && b.contested(k, old) {
			// Another owner of the address brings what goes with it.
			for _, k.in = range []mapID{shortcuts, restricted} {
				b.stageOne(nil, &entry{key: k})
			}
		}
	}
	return changed
}

// order says which of the next entries of two sorted lists comes first.
func order(a, b []entry, i, j int) int {
	switch {
	case i == len(a):
		return 1
	case j == len(b):
		return -1
	}
	return compareKeys(a[i].key, b[j].key)
}

func (b *book) stageOne(was, will *entry) {
	k := either(was, will).key
	d, again := b.staged[k]
	if k.in.isShared() {
		if !again && !b.unstaged { // what the kernel has is what the winner wanted until now
			b.staged[k] = delta{before: b.winning(k)}
		}
		return // what it should have is looked up when everybody has claimed
	}
	if !again {
		d.before = was
	}
	d.after = will
	if !b.unstaged {
		b.staged[k] = d
	}
	b.counts[k.in] += count(will) - count(was)
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

func (b *book) claim(k key, s *service) {
	b.counts[allowed] += s.sourcesOf(k)
	first, taken := b.claims[k]
	if !taken {
		b.claims[k] = s
		b.counts[k.in]++
		return
	}
	all := append([]*service{first}, b.rivals[k]...)
	at, _ := slices.BinarySearchFunc(all, s, compareClaims)
	all = slices.Insert(all, at, s)
	b.claims[k], b.rivals[k] = all[0], all[1:]
}

func (b *book) unclaim(k key, s *service) {
	b.counts[allowed] -= s.sourcesOf(k)
	others := b.rivals[k]
	if len(others) == 0 {
		delete(b.claims, k)
		b.counts[k.in]--
		return
	}
	all := append([]*service{b.claims[k]}, others...)
	all = slices.DeleteFunc(all, func(o *service) bool { return o == s })
	b.claims[k], b.rivals[k] = all[0], all[1:]
	if len(all) == 1 {
		delete(b.rivals, k)
	}
}

// sourcesOf returns how many elements of the allowed set a claim stands for.
// Those of all claims are counted, which is never too few.
func (s *service) sourcesOf(k key) int {
	if k.in != restricted {
		return 0
	}
	return len(s.find(k).sources())
}

func (s *service) find(k key) *entry {
	at, found := slices.BinarySearchFunc(s.entries, k, func(e entry, k key) int { return compareKeys(e.key, k) })
	if !found {
		return nil
	}
	return &s.entries[at]
}

// compareClaims puts the elder Service first, as users expect of an address
// that worked before somebody else claimed it too.
func compareClaims(a, b *service) int {
	return cmp.Or(a.created.Compare(b.created),
		strings.Compare(a.name.Namespace, b.name.Namespace), strings.Compare(a.name.Name, b.name.Name))
}

// contested reports whether a Service other than this one claims the element.
func (b *book) contested(k key, by *service) bool {
	first, claimed := b.claims[k]
	return claimed && (first != by || len(b.rivals[k]) > 0)
}

// owner returns the Service whose claim on a shared element counts, nil if
// nobody claims it. What goes with an address is up to the owner of the address.
func (b *book) owner(k key) *service {
	if k.in == shortcuts || k.in == restricted {
		k.in = services
	}
	return b.claims[k]
}

// winning returns what the owner of a shared element wants it to be, nil if
// there is no owner or it does not want it.
func (b *book) winning(k key) *entry {
	s := b.owner(k)
	if s == nil {
		return nil
	}
	return s.find(k)
}

// setNodes makes the set of node addresses the one given.
func (b *book) setNodes(addrs map[netip.Addr]struct{}) {
	for a := range b.nodes {
		if _, ok := addrs[a]; !ok {
			b.stageOne(&entry{key: addrKey(nodes, a)}, nil)
		}
	}
	for a := range addrs {
		if _, ok := b.nodes[a]; !ok {
			b.stageOne(nil, &entry{key: addrKey(nodes, a)})
		}
	}
	b.nodes = addrs
}

// difference is what a transaction has to do to the elements: first delete,
// then add. An element whose value changes is in both.
type difference struct {
	removed, added []*entry
	classes        []class // whose chains are new
}

func (d difference) isEmpty() bool {
	return len(d.removed) == 0 && len(d.added) == 0 && len(d.classes) == 0
}

// take returns the difference and forgets it: the caller either brings it into
// the kernel or writes everything.
func (b *book) take() difference {
	d := difference{classes: b.classes.takeNew()}
	if len(b.lingering) > maxLingering {
		for _, e := range b.lingering {
			d.removed = append(d.removed, e)
		}
		clear(b.lingering)
	}
	for k, change := range b.staged {
		if k.in.isShared() {
			change.after = b.winning(k)
		}
		if change.before != nil && change.after != nil && change.before.equal(change.after) {
			continue
		}
		if k.in == hairpins && b.linger(k, change) {
			continue
		}
		if change.before != nil {
			d.removed = append(d.removed, change.before)
		}
		if change.after != nil {
			d.added = append(d.added, change.after)
		}
	}
	b.staged = map[key]delta{} // a large one, emptied, would stay as slow to walk
	return d
}

// maxLingering is how many hairpins may stay beyond their time.
const maxLingering = 256

// linger keeps a hairpin that is no longer wanted for a later transaction, and
// reports whether the change needs nothing now. A packet may have been sent to
// an endpoint before the transaction that removes it and leave after; without
// its hairpin it would be lost, and so would all its retransmissions.
func (b *book) linger(k key, change delta) bool {
	if change.after == nil {
		if change.before != nil {
			b.lingering[k] = change.before
		}
		return true
	}
	if _, there := b.lingering[k]; there {
		delete(b.lingering, k)
		return true
	}
	return false
}

// size returns how many elements of each map the kernel will have.
func (b *book) size() [mapCount]int {
	n := b.counts
	n[hairpins] += len(b.lingering)
	return n
}

// committed releases what only the previous state of the kernel still used.
func (b *book) committed() {
	b.setIDs.free = append(b.setIDs.free, b.retired...)
	b.retired = b.retired[:0]
}

// all calls each for every element the kernel should have.
func (b *book) all(each func(*entry)) {
	for _, s := range b.services {
		for i := range s.entries {
			e := &s.entries[i]
			if len(b.rivals) > 0 && e.in.isShared() && b.owner(e.key) != s {
				continue
			}
			each(e)
		}
	}
	for a := range b.nodes {
		each(&entry{key: addrKey(nodes, a)})
	}
}

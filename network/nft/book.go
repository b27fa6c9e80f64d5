package nft

import (
	"bytes"
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/network/lb"
)

// book is the desired content of the maps, kept per Service, and what of it
// differs from the kernel. It is plain data: update changes it, take hands out
// the difference, and neither touches the kernel.
type book struct {
	services  map[types.NamespacedName]*service
	claims    *lb.Claims     // who has its way with the elements of a frontend
	wanted    map[key]uint32 // by how many Services, elements that are the same for all
	nodes     map[netip.Addr]struct{}
	localPods netip.Prefix
	counts    [mapCount]int // elements desired

	classes   classes
	setIDs    numbers
	endpoints uint32 // last endpoint id given out; never given out twice, and larger than any set id

	room      []entry // where fill gathers entries
	staged    map[key]delta
	unstaged  bool           // everything will be written anyhow: do not keep the difference
	lingering map[key]*entry // hairpins in the kernel that nobody wants any more
	retired   []uint32       // set ids to be reused only after the next commit
	heritage  heritage       // ids of a previous process, to be taken over
	excluded  [2]int         // over all services
}

// service is what one Service contributes.
type service struct {
	name    types.NamespacedName
	entries []entry     // by key
	sets    []set       // as in the rows it was derived from
	words   []*numbered // the classes its frontends use, for their reference counts
	flows   []flows     // UDP frontends, for conntrack

	object    *corev1.Service // that this was derived from
	triggered time.Time       // the last change of a pod that this includes
	excluded  [2]int          // ports without a local endpoint; see the function
}

// entry is an element with its value. A restricted frontend lists in its comment
// the sources it is open to, and stands for their elements as well: they go
// together, also when two Services claim the frontend.
type entry struct {
	key
	value   value
	comment string
}

func (e *entry) equal(o *entry) bool { return e.value == o.value && e.comment == o.comment }

func joinPrefixes(all []netip.Prefix) string {
	words := make([]string, len(all))
	for i, p := range all {
		words[i] = p.String()
	}
	return strings.Join(words, " ")
}

// sources returns the prefixes in the allowed set that a restricted frontend
// brings along; none of nothing.
func (e *entry) sources() []netip.Prefix {
	if e == nil || e.in != restricted {
		return nil
	}
	var all []netip.Prefix
	for _, word := range strings.Fields(e.comment) {
		all = append(all, netip.MustParsePrefix(word)) // joinPrefixes wrote it
	}
	return all
}

func compareKeys(a, b key) int {
	if a.in != b.in {
		return cmp.Compare(a.in, b.in)
	}
	if c := bytes.Compare(a.addr[:], b.addr[:]); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(a.port, b.port), cmp.Compare(a.proto, b.proto))
}

// delta is an element's difference: what the kernel has and what it should have.
type delta struct{ before, after *entry }

func newBook() *book {
	return &book{
		services:  map[types.NamespacedName]*service{},
		claims:    lb.NewClaims(0),
		wanted:    map[key]uint32{},
		nodes:     map[netip.Addr]struct{}{},
		classes:   newClasses(),
		setIDs:    numbers{limit: setMask},
		endpoints: setMask,
		staged:    map[key]delta{},
		lingering: map[key]*entry{},
	}
}

// expect makes room for n Services, which is worth it for an empty book.
func (b *book) expect(n int) {
	if len(b.services) == 0 && n > 1000 {
		b.services = make(map[types.NamespacedName]*service, n)
		b.claims = lb.NewClaims(n)
		b.wanted = make(map[key]uint32, n)
	}
}

// isFrontends reports whether an element of the map belongs to the Service that
// has its address: several may claim one, with different values.
func (m mapID) isFrontends() bool { return m == services || m == shortcuts || m == restricted }

// isShared reports whether an element of the map is the same whoever wants it,
// and stays as long as somebody does: pods can be behind many Services.
func (m mapID) isShared() bool { return m == clusterIPs || m == hairpins }

// update makes the Service's entries those of its rows and stages what changed.
// It returns whether anything did, and which addresses changed hands by it.
// After an error the Service is as before.
func (b *book) update(rows lb.Rows) (changed bool, moved []lb.Transfer, err error) {
	old := b.services[rows.Service]
	if old == nil && rows.IsEmpty() {
		return false, nil, nil
	}
	next := &service{name: rows.Service, flows: flowsOf(&rows)}
	next.excluded[0], next.excluded[1] = excluded(&rows)
	if old == nil {
		old = &service{}
	}
	if err := b.fill(next, old, &rows); err != nil {
		b.forget(next, old)
		return false, nil, fmt.Errorf("service %s: %w", rows.Service, err)
	}
	changed = b.stage(old, next)
	moved = b.claims.Put(&rows)
	b.stageTransfers(moved)
	for _, c := range old.words {
		b.classes.release(c)
	}
	b.retired = append(b.retired, idsOnlyIn(old, next)...)
	b.replace(old, next, rows.IsEmpty())
	return changed || len(moved) > 0, moved, nil
}

// forget takes back what a failed fill handed out.
func (b *book) forget(next, old *service) {
	for _, c := range next.words {
		b.classes.release(c)
	}
	b.setIDs.free = append(b.setIDs.free, idsOnlyIn(next, old)...)
}

// idsOnlyIn returns the set ids that a has and b has not.
func idsOnlyIn(a, b *service) []uint32 {
	var ids []uint32
	for i := range a.sets {
		id := a.sets[i].id
		if !slices.ContainsFunc(b.sets, func(o set) bool { return o.id == id }) {
			ids = append(ids, id)
		}
	}
	return ids
}

// replace puts next in the place of old, in the index and in every count.
func (b *book) replace(old, next *service, gone bool) {
	for i := range b.excluded {
		b.excluded[i] += next.excluded[i] - old.excluded[i]
	}
	for i := range old.entries {
		if e := &old.entries[i]; e.in.isShared() {
			b.unwant(e.key)
		}
	}
	for i := range next.entries {
		if e := &next.entries[i]; e.in.isShared() {
			b.want(e.key)
		}
	}
	if gone {
		delete(b.services, next.name)
		return
	}
	b.services[next.name] = next
}

// fill derives next's sets and entries from rows, keeping the ids and the
// order of slots that old had.
func (b *book) fill(next, old *service, rows *lb.Rows) error {
	next.sets = make([]set, 0, len(rows.Sets))
	next.words = make([]*numbered, 0, len(rows.Frontends))
	b.room = b.room[:0]
	for i := range rows.Sets {
		s, err := b.newSet(rows.Service, &rows.Sets[i], old)
		if err != nil {
			return err
		}
		next.sets = append(next.sets, s)
	}
	for i := range rows.Frontends {
		f := &rows.Frontends[i]
		comment := rows.Service.Namespace + "/" + rows.Service.Name
		if f.Port != "" {
			comment += ":" + f.Port
		}
		v, err := b.word(next, rows, f, f.Scope)
		if err != nil {
			return err
		}
		b.enter(frontendKey(services, f.Addr, f.Proto), v, comment)
		if f.Shortcut {
			if v, err = b.word(next, rows, f, lb.Cluster); err != nil {
				return err
			}
			b.enter(frontendKey(shortcuts, f.Addr, f.Proto), v, comment)
		}
	}
	for i := range next.sets {
		b.enterBackends(rows.Service, &next.sets[i])
	}
	b.enterTwins(next.sets)
	for i := range rows.Frontends {
		b.enterGuards(&rows.Frontends[i])
	}
	for i := range next.sets {
		b.enterHairpins(&next.sets[i])
	}
	inOrder := func(x, y entry) int { return compareKeys(x.key, y.key) }
	if !slices.IsSortedFunc(b.room, inOrder) {
		slices.SortFunc(b.room, inOrder)
	}
	// An address that several ports or sets of the Service need is one entry.
	next.entries = slices.Clone(slices.CompactFunc(b.room, func(x, y entry) bool { return x.key == y.key }))
	return nil
}

// word returns what the services map says about a frontend and the set of one
// scope, and counts the class as used by the Service.
func (b *book) word(next *service, rows *lb.Rows, f *lb.Frontend, scope lb.Scope) (value, error) {
	at := slices.IndexFunc(next.sets, func(s set) bool { return s.port == f.Port && s.scope == scope })
	s, to := &rows.Sets[at], &next.sets[at]
	c := class{verdict: s.Verdict}
	if s.Verdict == lb.Forward {
		// Behind a shortcut are clients of this node; those that are no pods
		// are masqueraded like everybody.
		c.size, c.affinity, c.keep = len(to.slots), s.Affinity, f.KeepSource && scope == f.Scope
		c.byClient = s.ByClient && c.size > 1
	}
	if s.Verdict == lb.Forward && s.InTurn {
		c.turns = to.id
	}
	n, err := b.classes.acquire(c)
	if err != nil {
		return value{}, err
	}
	next.words = append(next.words, n)
	return numberValue(n.index<<setBits | to.id), nil
}

// enter adds an entry to those of the Service that fill works on.
func (b *book) enter(k key, v value, comment string) {
	b.room = append(b.room, entry{k, v, comment})
}

// enterGuards adds what protects a frontend's address.
func (b *book) enterGuards(f *lb.Frontend) {
	if f.Kind == lb.ClusterIP {
		b.enter(addrKey(clusterIPs, f.Addr.Addr()), value{}, "")
	}
	if len(f.Sources) > 0 {
		b.enter(frontendKey(restricted, f.Addr, f.Proto), value{}, joinPrefixes(f.Sources))
	}
}

// numbers hands out the smallest free numbers from 1 to limit.
type numbers struct {
	limit, last uint32
	free        []uint32
}

func (n *numbers) take() (uint32, error) {
	if k := len(n.free); k > 0 {
		v := n.free[k-1]
		n.free = n.free[:k-1]
		return v, nil
	}
	if n.last == n.limit {
		return 0, fmt.Errorf("all %d in use", n.limit)
	}
	n.last++
	return n.last, nil
}

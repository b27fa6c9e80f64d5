package plan

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

// Desired is the content that the maps of a table are to have, kept per Service,
// and what of it differs from the kernel. It is plain data: Update changes it, Take
// hands out the difference, and neither touches the kernel. It is not safe for
// concurrent use.
type Desired struct {
	services  map[types.NamespacedName]*Service
	claims    *lb.Claims     // who has its way with the elements of a frontend
	wanted    map[Key]uint32 // by how many Services, elements that are the same for all
	nodeAddrs map[netip.Addr]struct{}
	LocalPods netip.Prefix  // the pods of this node
	counts    [MapCount]int // elements desired

	classes      classes
	setIDs       numbers
	lastEndpoint uint32 // last endpoint id given out; never given out twice, and larger than any set id

	scratch  []entry // where fill gathers entries
	staged   map[Key]delta
	Unstaged bool           // everything will be written anyhow: the difference is not kept
	delayed  map[Key]*entry // hairpins in the kernel that nobody wants any more
	retired  []uint32       // set ids to be reused only after the next commit
	restored Restored       // ids of a previous process, to be taken over
	excluded [2]int         // over all services
}

// Service is what one Service contributes.
type Service struct {
	Object    *corev1.Service // that this was derived from, for the caller to remember
	Triggered time.Time       // and the last change of a pod that this includes

	name     types.NamespacedName
	entries  []entry     // by key
	sets     []Set       // as in the rows it was derived from
	verdicts []*numbered // the classes its frontends use, for their reference counts
	flows    []Flows     // UDP frontends, for conntrack
	excluded [2]int      // ports without a local endpoint; see the function
}

// entry is an element with its value. A restricted frontend lists in its comment
// the sources it is open to, and stands for their elements as well: they go
// together, also when two Services claim the frontend.
type entry struct {
	Key
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
	if e == nil || e.in != MapRestricted {
		return nil
	}
	var all []netip.Prefix
	for _, word := range strings.Fields(e.comment) {
		all = append(all, netip.MustParsePrefix(word)) // joinPrefixes wrote it
	}
	return all
}

func compareKeys(a, b Key) int {
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

// NewDesired returns what is desired of an empty table.
func NewDesired() *Desired {
	return &Desired{
		services:     map[types.NamespacedName]*Service{},
		claims:       lb.NewClaims(0),
		wanted:       map[Key]uint32{},
		nodeAddrs:    map[netip.Addr]struct{}{},
		classes:      newClasses(),
		setIDs:       numbers{limit: setMask},
		lastEndpoint: setMask,
		staged:       map[Key]delta{},
		delayed:      map[Key]*entry{},
	}
}

// Reserve makes room for n Services, which is worth it as long as there are none.
func (b *Desired) Reserve(n int) {
	if len(b.services) == 0 && n > 1000 {
		b.services = make(map[types.NamespacedName]*Service, n)
		b.claims = lb.NewClaims(n)
		b.wanted = make(map[Key]uint32, n)
	}
}

// isFrontends reports whether an element of the map belongs to the Service that
// has its address: several may claim one, with different values.
func (m Map) isFrontends() bool { return m == MapServices || m == MapShortcuts || m == MapRestricted }

// isShared reports whether an element of the map is the same whoever wants it,
// and stays as long as somebody does: pods can be behind many Services.
func (m Map) isShared() bool { return m == MapClusterIPs || m == MapHairpins }

// Update makes the Service's entries those of its rows and stages what changed.
// It returns whether anything did, and which addresses changed hands by it.
// After an error the Service is as before.
func (b *Desired) Update(rows lb.Rows) (changed bool, moved []lb.Transfer, err error) {
	old := b.services[rows.Service]
	if old == nil && rows.IsEmpty() {
		return false, nil, nil
	}
	next := &Service{name: rows.Service, flows: flowsOf(&rows)}
	next.excluded[0], next.excluded[1] = excluded(&rows)
	if old == nil {
		old = &Service{}
	}
	if err := b.fill(next, old, &rows); err != nil {
		b.forget(next, old)
		return false, nil, fmt.Errorf("service %s: %w", rows.Service, err)
	}
	changed = b.stage(old, next)
	moved = b.claims.Put(&rows)
	b.stageTransfers(moved)
	for _, c := range old.verdicts {
		b.classes.release(c)
	}
	b.retired = append(b.retired, idsOnlyIn(old, next)...)
	b.replace(old, next, rows.IsEmpty())
	return changed || len(moved) > 0, moved, nil
}

// forget takes back what a failed fill handed out.
func (b *Desired) forget(next, old *Service) {
	for _, c := range next.verdicts {
		b.classes.release(c)
	}
	b.setIDs.free = append(b.setIDs.free, idsOnlyIn(next, old)...)
}

// idsOnlyIn returns the set ids that a has and b has not.
func idsOnlyIn(a, b *Service) []uint32 {
	var ids []uint32
	for i := range a.sets {
		id := a.sets[i].id
		if !slices.ContainsFunc(b.sets, func(o Set) bool { return o.id == id }) {
			ids = append(ids, id)
		}
	}
	return ids
}

// replace puts next in the place of old, in the index and in every count.
func (b *Desired) replace(old, next *Service, gone bool) {
	for i := range b.excluded {
		b.excluded[i] += next.excluded[i] - old.excluded[i]
	}
	for i := range old.entries {
		if e := &old.entries[i]; e.in.isShared() {
			b.unwant(e.Key)
		}
	}
	for i := range next.entries {
		if e := &next.entries[i]; e.in.isShared() {
			b.want(e.Key)
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
func (b *Desired) fill(next, old *Service, rows *lb.Rows) error {
	next.sets = make([]Set, 0, len(rows.Sets))
	next.verdicts = make([]*numbered, 0, len(rows.Frontends))
	b.scratch = b.scratch[:0]
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
		v, err := b.verdict(next, rows, f, f.Scope)
		if err != nil {
			return err
		}
		b.enter(FrontendKey(MapServices, f.Addr, f.Proto), v, comment)
		if f.Shortcut {
			if v, err = b.verdict(next, rows, f, lb.Cluster); err != nil {
				return err
			}
			b.enter(FrontendKey(MapShortcuts, f.Addr, f.Proto), v, comment)
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
	inOrder := func(x, y entry) int { return compareKeys(x.Key, y.Key) }
	if !slices.IsSortedFunc(b.scratch, inOrder) {
		slices.SortFunc(b.scratch, inOrder)
	}
	// An address that several ports or sets of the Service need is one entry.
	next.entries = slices.Clone(slices.CompactFunc(b.scratch, func(x, y entry) bool { return x.Key == y.Key }))
	return nil
}

// verdict returns the packed verdict of a frontend and the set of one scope, and counts the class as used by the Service.
func (b *Desired) verdict(next *Service, rows *lb.Rows, f *lb.Frontend, scope lb.Scope) (value, error) {
	at := slices.IndexFunc(next.sets, func(s Set) bool { return s.Port == f.Port && s.scope == scope })
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
	next.verdicts = append(next.verdicts, n)
	return numberValue(n.index<<setBits | to.id), nil
}

// enter adds an entry to those of the Service that fill works on.
func (b *Desired) enter(k Key, v value, comment string) {
	b.scratch = append(b.scratch, entry{k, v, comment})
}

// enterGuards adds what protects a frontend's address.
func (b *Desired) enterGuards(f *lb.Frontend) {
	if f.Kind == lb.ClusterIP {
		b.enter(AddrKey(MapClusterIPs, f.Addr.Addr()), value{}, "")
	}
	if len(f.Sources) > 0 {
		b.enter(FrontendKey(MapRestricted, f.Addr, f.Proto), value{}, joinPrefixes(f.Sources))
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

// excluded counts a Service's ports that a Local policy leaves without an
// endpoint here although there are some elsewhere: behind the cluster address,
// and behind addresses for the outside.
func excluded(rows *lb.Rows) (internal, external int) {
	for i := range rows.Sets {
		s := &rows.Sets[i]
		if s.Scope != lb.Local || s.Verdict != lb.Drop {
			continue
		}
		inside, outside := false, false
		for _, f := range rows.Frontends {
			if f.Port == s.Port && f.Scope == lb.Local {
				inside = inside || f.Kind == lb.ClusterIP
				outside = outside || f.Kind != lb.ClusterIP
			}
		}
		if inside {
			internal++
		}
		if outside {
			external++
		}
	}
	return internal, external
}

// Service returns what a Service contributes, nil for nothing. It is not changed
// any more: a change makes another.
func (b *Desired) Service(name types.NamespacedName) *Service { return b.services[name] }

// Len is how many Services contribute something.
func (b *Desired) Len() int { return len(b.services) }

// Sets are the sets of the Service's ports.
func (s *Service) Sets() []Set { return s.sets }

// Classes is how many ways to treat connections there are.
func (b *Desired) Classes() int { return len(b.classes.known) }

// Excluded is how many ports of Services a Local policy leaves without an
// endpoint here although there are some elsewhere: behind cluster addresses, and
// behind addresses for the outside.
func (b *Desired) Excluded() (internal, external int) { return b.excluded[0], b.excluded[1] }

// Sample returns up to so many keys of each map that a table in the kernel has,
// others each time.
func (b *Desired) Sample(each int) (keys [MapCount][]Key) {
	looked := 0
	for _, s := range b.services { // in no order
		for i := range s.entries {
			if k := s.entries[i].Key; len(keys[k.in]) < each && b.has(s, k) {
				keys[k.in] = append(keys[k.in], k)
			}
		}
		if looked++; looked == 10*each {
			break
		}
	}
	return keys
}

package plan

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"fairlead.dev/fairlead/api/announce"
)

const (
	// settleAfter is how long a node has to answer before it is given what others have.
	settleAfter = 5 * time.Second
	// tryAgain is how long a node that could not announce an address is not asked to.
	tryAgain = 30 * time.Second
)

// Board is who announces what: what is wanted, what each node has said, and what each is to do. Times are of one clock, that of the
// control plane, so it does not matter what the clocks of nodes say. It is plain data and not safe for concurrent use.
type Board struct {
	epoch    string // tells the revisions of this run of the program from those of another
	began    time.Time
	learning bool // nobody is given anything before it is known who has what
	wanted   map[netip.Addr]Announce
	nodes    map[string]*member
	places   map[netip.Addr]*place
	revision uint64
	moves    uint64
}

// member is a node.
type member struct {
	may         bool      // it is one of those that announce
	first, last time.Time // when it began to answer, and when it answered last; zero: it never did
	leaving     bool
	list        []announce.Address
	revision    string // of list
	has         string // the revision that it works on
}

// place is who announces an address.
type place struct {
	holder string    // empty: nobody
	before string    // the node that goes on until the holder has begun; empty: none
	fresh  bool      // nobody is known to have announced it before
	begun  bool      // the holder has said so
	last   string    // the node that began last
	lost   time.Time // since when there is no holder
	nobody bool      // for so long that nodes would have answered
	cannot map[string]refusal
	rival  string // who else claims it
	why    string // what was said when no node was left to try; until one has begun
}

// refusal is what a node has said when it could not announce an address.
type refusal struct {
	why   string
	until time.Time
}

// NewBoard returns an empty board. The epoch must be another for each run of the program.
func NewBoard(epoch string, now time.Time) *Board {
	return &Board{epoch: epoch, began: now, learning: true, wanted: map[netip.Addr]Announce{}, nodes: map[string]*member{}, places: map[netip.Addr]*place{}}
}

// Want sets what is to be announced.
func (b *Board) Want(all []Announce) {
	clear(b.wanted)
	for _, a := range all {
		b.wanted[a.Addr] = a
	}
}

// SetNodes sets which nodes there are, and whether each may announce addresses.
func (b *Board) SetNodes(all map[string]bool) {
	maps.DeleteFunc(b.nodes, func(name string, _ *member) bool { _, is := all[name]; return !is })
	for name, may := range all {
		if b.nodes[name] == nil {
			b.nodes[name] = &member{revision: b.next()}
		}
		b.nodes[name].may = may
	}
}

func (b *Board) next() string {
	b.revision++
	return b.epoch + "-" + strconv.FormatUint(b.revision, 10)
}

// Ask is what a node is to be asked now; ok: it is known.
func (b *Board) Ask(node string) (r announce.Request, ok bool) {
	m := b.nodes[node]
	if m == nil {
		return r, false
	}
	if b.learning {
		return announce.Request{Revision: m.revision}, true
	}
	r = announce.Request{Revision: m.revision, Full: m.has != m.revision}
	if r.Full {
		r.Addresses = m.list
	}
	return r, true
}

// Heard notes what a node has answered.
func (b *Board) Heard(now time.Time, node string, asked announce.Request, r announce.Reply) {
	m := b.nodes[node]
	if m == nil {
		return
	}
	if m.first.IsZero() || now.Sub(m.last) > announce.Silence {
		m.first = now
	}
	m.last, m.leaving, m.has = now, r.Leaving, r.Revision
	if b.learning {
		for _, a := range r.Addresses {
			if b.places[a] == nil {
				b.places[a] = &place{holder: node, last: node}
			}
		}
	}
	if r.Revision != asked.Revision || r.Revision != m.revision {
		return // it speaks of what it had to do before
	}
	for _, a := range m.list {
		p := b.places[a.Addr]
		if p == nil || p.holder != node {
			continue
		}
		why := r.Problems[a.Addr]
		switch {
		case why != "":
			if p.cannot == nil {
				p.cannot = map[string]refusal{}
			}
			p.cannot[node], p.begun = refusal{why, now.Add(tryAgain)}, false
		case !slices.Contains(r.Pending, a.Addr):
			p.begun, p.before, p.why, p.rival = true, "", "", r.Rivals[a.Addr]
			if p.last != "" && p.last != node {
				b.moves++
			}
			p.last = node
		}
	}
}

// lives reports whether a node answers.
func (m *member) lives(now time.Time) bool {
	return m != nil && !m.last.IsZero() && now.Sub(m.last) <= announce.Silence
}

// Step decides who announces what from now on.
func (b *Board) Step(now time.Time) {
	if b.learning {
		silent := func(m *member) bool { return m.last.IsZero() }
		if now.Sub(b.began) < announce.Silence && (len(b.nodes) == 0 || slices.ContainsFunc(slices.Collect(maps.Values(b.nodes)), silent)) {
			return
		}
		b.learning = false
	}
	alive := b.alive(now)
	held := map[netip.Addr]string{}
	var wanted []Announce
	for _, addr := range slices.SortedFunc(maps.Keys(b.wanted), netip.Addr.Compare) {
		a := b.wanted[addr]
		if p := b.places[addr]; p != nil {
			held[addr] = p.holder
			maps.DeleteFunc(p.cannot, func(n string, r refusal) bool { return now.After(r.until) || !b.nodes[n].lives(now) })
			a.Cannot = slices.Sorted(maps.Keys(p.cannot))
		}
		wanted = append(wanted, a)
	}
	elected := Elect(wanted, alive, held)
	maps.DeleteFunc(b.places, func(a netip.Addr, _ *place) bool { _, is := b.wanted[a]; return !is })
	for _, a := range wanted {
		b.move(now, a.Addr, elected[a.Addr])
	}
	b.assign()
}

// alive are the nodes that can be given addresses.
func (b *Board) alive(now time.Time) []Node {
	var alive []Node
	for _, name := range slices.Sorted(maps.Keys(b.nodes)) {
		if m := b.nodes[name]; m.may && !m.leaving && m.lives(now) {
			alive = append(alive, Node{Name: name, Settled: now.Sub(m.first) >= settleAfter})
		}
	}
	return alive
}

// move gives an address to a node. Who has had it goes on until that one has begun, unless it is silent.
func (b *Board) move(now time.Time, addr netip.Addr, to string) {
	p := b.places[addr]
	if p == nil {
		p = &place{fresh: true, lost: now}
		b.places[addr] = p
	}
	if refused := slices.Sorted(maps.Keys(p.cannot)); to == "" && len(refused) > 0 {
		p.why = "on node " + refused[0] + ": " + p.cannot[refused[0]].why
	}
	p.nobody = to == "" && p.holder == "" && now.Sub(p.lost) > announce.Silence
	if p.before != "" && !b.nodes[p.before].lives(now) {
		p.before = ""
	}
	if last := b.nodes[p.holder]; p.holder == to || to == "" && last.lives(now) && last.leaving && p.begun {
		return // a node that is about to stop goes on when nobody can take its place
	}
	if p.holder != "" && p.begun {
		p.fresh = false
		if p.before = ""; b.nodes[p.holder].lives(now) && to != "" {
			p.before = p.holder
		}
	}
	if p.before == to {
		p.before = ""
	}
	p.holder, p.begun, p.lost = to, false, now
}

// assign makes of who has what a list for each node.
func (b *Board) assign() {
	lists := map[string][]announce.Address{}
	for addr, p := range b.places {
		if p.holder != "" {
			lists[p.holder] = append(lists[p.holder], announce.Address{Addr: addr, Probe: p.fresh})
		}
		if p.before != "" {
			lists[p.before] = append(lists[p.before], announce.Address{Addr: addr, Ending: true})
		}
	}
	for name, m := range b.nodes {
		list := lists[name]
		slices.SortFunc(list, func(x, y announce.Address) int { return x.Addr.Compare(y.Addr) })
		if !slices.Equal(list, m.list) {
			m.list, m.revision = list, b.next()
		}
	}
}

// Idle reports whether there is nothing that a node has to be told or watched for.
func (b *Board) Idle(node string) bool {
	m := b.nodes[node]
	return m == nil || len(b.wanted) == 0 && !b.learning && len(m.list) == 0 && m.has == m.revision
}

// Where says which node announces an address, or why nobody does.
func (b *Board) Where(addr netip.Addr) (node, why string) {
	p, a := b.places[addr], b.wanted[addr]
	switch {
	case p != nil && p.begun:
		return p.holder, ""
	case p != nil && p.before != "":
		return p.before, ""
	case a.Limited && len(a.Only) == 0:
		return "", "no node has a ready endpoint, and externalTrafficPolicy is Local"
	case p != nil && p.nobody && len(p.cannot) == 0:
		return "", "no node that may announce it answers"
	case p != nil:
		return "", p.why // empty: a node is about to begin
	}
	return "", ""
}

// Count is how many addresses each node announces, how many nobody does, and how often one has begun to be announced by another node
// than before.
func (b *Board) Count() (announced map[string]int, nobody int, moves uint64) {
	announced = map[string]int{}
	for name := range b.nodes {
		announced[name] = 0
	}
	for addr := range b.wanted {
		if node, _ := b.Where(addr); node != "" {
			announced[node]++
		} else {
			nobody++
		}
	}
	return announced, nobody, b.moves
}

// Rival says who else claims an address that a node announces; empty: nobody.
func (b *Board) Rival(addr netip.Addr) string {
	if p := b.places[addr]; p != nil && p.begun {
		return p.rival
	}
	return ""
}

// Summary is where everything is that is wanted, as a text that changes when that does.
func (b *Board) Summary() string {
	var text strings.Builder
	for _, addr := range slices.SortedFunc(maps.Keys(b.wanted), netip.Addr.Compare) {
		node, why := b.Where(addr)
		fmt.Fprintln(&text, addr, node, why, b.Rival(addr))
	}
	return text.String()
}

package plan

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/nft/rule"
)

// State is what conntrack says of a packet, by the bit that rules ask for.
type State uint32

// The states of a packet.
const (
	Invalid     State = 1 << iota // of no connection that conntrack could place it in
	Established                   // of a connection that had an answer
	Related                       // an error about one
	New                           // the first of a connection
)

// Packet is a packet as it comes to a node.
type Packet struct {
	lb.Packet
	SourcePort uint16
	State      State  // zero is New
	In, Out    string // the links it comes and goes by; empty for one without a name that matters
	Socket     bool   // a socket of the node waits for it, whatever the rules say
	ICMP       uint8  // the type, if it is an ICMP message
}

// Step is a rule that matched a packet, all of it.
type Step struct {
	Chain string
	Rule  string // as nft writes it
	Then  string // where it sent the packet, if a map says so and not the rule
}

// Trace is what became of a packet.
type Trace struct {
	Verdict lb.Verdict     // Forward, wherever to, unless a rule refused or dropped it
	Served  bool           // a rule decided: it has another destination, or was refused or dropped
	Dest    netip.AddrPort // where it went in the end
	// Masquerade reports whether it went there from an address of the node.
	Masquerade   bool
	Untracked    bool   // conntrack knows nothing of it
	Mark, CtMark uint32 // that are left
	Steps        []Step
}

// String is the trace for people: a rule a line, and the outcome.
func (t Trace) String() string {
	var b strings.Builder
	for _, s := range t.Steps {
		fmt.Fprintf(&b, "%s: %s", s.Chain, s.Rule)
		if s.Then != "" {
			fmt.Fprintf(&b, " -> %s", s.Then)
		}
		b.WriteByte('\n')
	}
	switch {
	case t.Verdict != lb.Forward:
		fmt.Fprintf(&b, "%s\n", t.Verdict)
	case t.Masquerade:
		fmt.Fprintf(&b, "to %s, from an address of the node\n", t.Dest)
	default:
		fmt.Fprintf(&b, "to %s\n", t.Dest)
	}
	return b.String()
}

// Tracer is a node whose rules are a table's: packets can be sent through it
// without a kernel. It carries out the expressions that the kernel is given, and
// remembers what the kernel would remember. It is not safe for concurrent use.
type Tracer struct {
	// Choose picks one of n endpoints where the kernel draws a number.
	Choose func(n int) int

	table  *Table
	local  map[netip.Addr]bool
	chains map[string]*rule.Chain
	maps   map[string]map[string][]byte // by name, and by key as the kernel has it
	spans  map[string][]span            // of the set allowed, by the key without its last part
	turns  map[*rule.Expr]uint32        // of rules that go round
	all    bool                         // whose turn it is does not matter
	texts  map[*rule.Expr]string        // of rules that were asked for, by their first expression
}

// span is the clients from one address to another.
type span struct{ first, last string }

// NewTracer returns a node that has the given addresses itself. It remembers what
// the one before remembers, which is nil for none: a table that is written anew
// keeps what clients stick to.
func NewTracer(t *Table, local []netip.Addr, before *Tracer) *Tracer {
	tr := &Tracer{table: t, local: map[netip.Addr]bool{}, chains: map[string]*rule.Chain{}, maps: map[string]map[string][]byte{}, spans: map[string][]span{}, turns: map[*rule.Expr]uint32{}, texts: map[*rule.Expr]string{},
		Choose: func(int) int { return 0 }}
	for _, a := range local {
		tr.local[a] = true
	}
	for i := range t.chains {
		tr.chains[t.chains[i].Name] = &t.chains[i]
	}
	for m := range MapCount {
		in := map[string][]byte{}
		for i := range t.entries[m] {
			tr.enter(in, &t.entries[m][i])
		}
		tr.maps[m.String()] = in
	}
	tr.maps[dispatchMap] = map[string][]byte{}
	for _, w := range t.dispatch {
		tr.maps[dispatchMap][string(rule.Native(w.class))] = []byte(w.chain)
	}
	tr.maps[AffinityMap], tr.maps[AnsweringSet] = map[string][]byte{}, map[string][]byte{}
	if before != nil {
		tr.maps[AffinityMap], tr.maps[AnsweringSet] = before.maps[AffinityMap], before.maps[AnsweringSet]
	}
	return tr
}

// Local reports whether the node has an address itself.
func (tr *Tracer) Local(a netip.Addr) bool { return tr.local[a] }

func (tr *Tracer) enter(in map[string][]byte, e *entry) {
	f := tr.table.Family
	key := string(f.appendKey(nil, &e.Key))
	in[key] = nil
	if f.shapes[e.in].value != formNone {
		in[key] = f.appendValue(nil, e.in, &e.value)
	}
	for _, p := range e.sources() {
		tr.spans[key] = append(tr.spans[key], span{string(p.Addr().AsSlice()), string(api.LastAddr(p).AsSlice())})
	}
}

// Trace sends a packet through the node and says what becomes of it.
func (tr *Tracer) Trace(p Packet) Trace {
	if p.State == 0 {
		p.State = New
	}
	m := &machine{tracer: tr, packet: p}
	m.trace.Dest = p.Dest
	into, out := []uint32{unix.NF_INET_PRE_ROUTING}, []uint32{unix.NF_INET_FORWARD, unix.NF_INET_POST_ROUTING}
	if p.Origin == lb.FromNode {
		into, out = []uint32{unix.NF_INET_LOCAL_OUT}, out[1:]
	}
	for _, hook := range into {
		m.pass(hook)
	}
	if p.Origin != lb.FromNode && tr.local[m.trace.Dest.Addr()] {
		out = []uint32{unix.NF_INET_LOCAL_IN}
	}
	for _, hook := range out {
		m.pass(hook)
	}
	m.trace.Mark, m.trace.CtMark = m.mark, m.ctMark
	return m.trace
}

// All returns what may become of a packet, one outcome for each way to choose,
// and for each whose turn it may be.
// Nothing is remembered of it.
func (tr *Tracer) All(p Packet) []Trace {
	choose, affinity := tr.Choose, tr.maps[AffinityMap]
	defer func() { tr.Choose, tr.maps[AffinityMap], tr.all = choose, affinity, false }()
	tr.all = true
	var all []Trace
	var script, limits []int
	for {
		drawn := 0
		tr.Choose = func(n int) int {
			if drawn == len(script) {
				script, limits = append(script, 0), append(limits, n)
			}
			drawn++
			return script[drawn-1]
		}
		tr.maps[AffinityMap] = maps.Clone(affinity)
		all = append(all, tr.Trace(p))
		last := drawn - 1
		for ; last >= 0 && script[last]+1 == limits[last]; last-- {
		}
		if last < 0 {
			return all
		}
		script, limits = script[:last+1], limits[:last+1]
		script[last]++
	}
}

// text is a rule's text, made once.
func (tr *Tracer) text(r rule.Rule) string {
	text, known := tr.texts[&r[0]]
	if !known {
		text = r.Text(&tr.table.Family.Family)
		tr.texts[&r[0]] = text
	}
	return text
}

// pass sends the packet through the chains of a hook. Translation is for the first
// packet of what conntrack knows; later ones go the same way without.
func (m *machine) pass(hook uint32) {
	m.hook = hook
	var here []*rule.Chain
	for i := range m.tracer.table.chains {
		if c := &m.tracer.table.chains[i]; c.Kind != "" && c.Hook == hook {
			here = append(here, c)
		}
	}
	slices.SortStableFunc(here, func(a, b *rule.Chain) int { return cmp.Compare(a.Priority, b.Priority) })
	for _, c := range here {
		if m.ended() || c.Kind == "nat" && (m.trace.Untracked || m.packet.State != New) {
			continue
		}
		m.walk(c)
	}
}

// ended reports whether there is no packet any more.
func (m *machine) ended() bool { return m.trace.Verdict != lb.Forward }

// walk carries out a chain. It reports whether a rule decided about the packet,
// so that no other chain of the hook's base chain is gone on with.
func (m *machine) walk(c *rule.Chain) (decided bool) {
	for _, r := range c.Rules {
		m.verdict, m.then = verdictContinue, ""
		if !m.run(r) {
			continue
		}
		m.trace.Steps = append(m.trace.Steps, Step{Chain: c.Name, Rule: m.tracer.text(r), Then: m.then})
		switch to := m.tracer.chains[m.target]; m.verdict {
		case verdictDecided:
			return true
		case unix.NFT_RETURN:
			return false
		case unix.NFT_GOTO:
			return m.walk(to)
		case unix.NFT_JUMP:
			if m.walk(to) {
				return true
			}
		}
	}
	return false
}

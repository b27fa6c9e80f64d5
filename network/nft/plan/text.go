package plan

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"fairlead.dev/fairlead/network/nft/rule"
	"fairlead.dev/fairlead/network/nft/wire"
)

// String is the table in the nft command's own language: what it lists once the
// kernel has the table, one element a line and by key, and what it can read.
func (t *Table) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "table %s %s {\n", t.Family, TableName)
	addr := t.Family.AddrTypeName()
	rule.Block(&b, "map", AffinityMap, "type mark . "+addr+" : mark", fmt.Sprint("size ", affinitySize), "flags dynamic,timeout", "timeout "+rule.Spelled(affinityDefault))
	rule.Block(&b, "set", AnsweringSet, "type "+addr, fmt.Sprint("size ", answeringSize), "flags dynamic,timeout", "timeout "+rule.Spelled(answeringLast))
	for m := range MapCount {
		t.writeMap(&b, m)
	}
	var ways []string
	for _, w := range t.dispatch {
		ways = append(ways, fmt.Sprintf("0x%08x : goto %s", w.class, w.chain))
	}
	rule.Block(&b, "map", dispatchMap, append([]string{"type mark : verdict"}, rule.Elements(ways)...)...)
	for _, c := range t.chains {
		rule.Block(&b, "chain", c.Name, c.Lines(&t.Family.Family)...)
	}
	return strings.TrimSuffix(b.String(), "\n") + "}\n"
}

func (t *Table) writeMap(b *strings.Builder, m Map) {
	shape, kind := &t.Family.shapes[m], "set"
	if shape.value != formNone {
		kind = "map"
	}
	lines := []string{t.typeOf(m), fmt.Sprint("size ", t.sizes[m])}
	if m == MapAllowed {
		lines = append(lines, "flags interval")
	}
	if t.counts(m) {
		lines = append(lines, "counter")
	}
	var all []string
	if m == MapAllowed {
		for i := range t.entries[MapRestricted] {
			e := &t.entries[MapRestricted][i]
			for _, p := range e.sources() {
				all = append(all, t.keyText(e.Key)+" . "+strings.TrimSuffix(p.String(), fmt.Sprint("/", p.Addr().BitLen())))
			}
		}
	}
	for i := range t.entries[m] {
		all = append(all, t.entryText(&t.entries[m][i]))
	}
	rule.Block(b, kind, m.String(), append(lines, rule.Elements(all)...)...)
}

// counts reports whether the elements of a map count connections.
func (t *Table) counts(m Map) bool { return t.counters && (m == MapEndpoints || m == MapStickyTargets) }

func (t *Table) typeOf(m Map) string {
	addr := t.Family.AddrTypeName()
	key := map[form]string{formNumber: "type mark", formSlot: "typeof ct mark . numgen random mod 65536", formAddr: "type " + addr, formPair: "type " + addr + " . " + addr,
		formFrontend: "type " + addr + " . inet_proto . inet_service", formSource: "type " + addr + " . inet_proto . inet_service . " + addr}[t.Family.shapes[m].key]
	switch m {
	case MapEndpoints:
		return fmt.Sprintf("%s : %s daddr . th dport", key, t.Family)
	case MapStickySlots:
		return key + " : meta mark"
	}
	return key + map[form]string{formNone: "", formNumber: " : mark", formBackend: " : " + addr + " . inet_service"}[t.Family.shapes[m].value]
}

func (t *Table) keyText(k Key) string {
	addr := netip.AddrFrom16(k.addr).Unmap()
	switch t.Family.shapes[k.in].key {
	case formNumber:
		return fmt.Sprintf("0x%08x", wire.Number(k.addr[:4]))
	case formSlot:
		return fmt.Sprintf("0x%08x . %d", wire.Number(k.addr[:4]), wire.Number(k.addr[4:8]))
	case formAddr:
		return addr.String()
	case formPair:
		return fmt.Sprintf("%s . %s", addr, addr)
	}
	return fmt.Sprintf("%s . %s . %d", addr, k.proto, k.port)
}

func (t *Table) entryText(e *entry) string {
	text := t.keyText(e.Key)
	if e.comment != "" {
		text += fmt.Sprintf(" comment \"%s\"", e.comment[:min(len(e.comment), rule.MaxComment)])
	}
	switch t.Family.shapes[e.in].value {
	case formNumber:
		text += fmt.Sprintf(" : 0x%08x", e.value.number)
	case formBackend:
		text += fmt.Sprintf(" : %s . %d", netip.AddrFrom16(e.value.addr).Unmap(), e.value.number)
	}
	return text
}

// affinityDefault is the affinity map's timeout for entries that are given none.
const affinityDefault = 3 * time.Hour

// answeringSize is how many DNS addresses can be answered at.
const answeringSize = 16

package plan

import (
	"slices"

	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/nft/rule"
)

// Table is a whole table as the kernel is to have it: what Whole would write, to be
// read by people and to be tried with packets. It is of one moment and does not
// follow what is desired later.
type Table struct {
	Family   *Family
	chains   []rule.Chain // those that are only jumped to first
	dispatch []way
	entries  [MapCount][]entry // by key
	sizes    [MapCount]uint32
	counters bool
}

// way leads from a class to its chain.
type way struct {
	class uint32 // as in a packed verdict
	chain string
}

// NewTable returns the table of a layout with what is desired.
func NewTable(l Layout, d *Desired) *Table {
	t := &Table{Family: l.Family, counters: d.counted(l)}
	for _, c := range d.classes.sorted() {
		t.dispatch = append(t.dispatch, way{d.classes.known[c].index << setBits, c.chainName()})
		if c.verdict == lb.Forward {
			t.chains = append(t.chains, rule.Chain{Name: c.chainName(), Rules: c.rules(l.Family)})
		}
	}
	fixed := fixedChains(l)
	t.chains = slices.Concat(fixed, t.chains)
	slices.SortStableFunc(t.chains, func(a, b rule.Chain) int { return min(len(a.Kind), 1) - min(len(b.Kind), 1) })
	enter := func(e *entry) { t.entries[e.in] = append(t.entries[e.in], *e) }
	d.all(enter)
	for _, e := range d.delayed {
		enter(e)
	}
	for m := range t.entries {
		slices.SortFunc(t.entries[m], func(a, b entry) int { return compareKeys(a.Key, b.Key) })
	}
	for m, n := range d.counts {
		t.sizes[m] = sizeFor(n)
	}
	return t
}

// counted reports whether elements of endpoints count the connections they get.
func (b *Desired) counted(l Layout) bool {
	return b.counts[MapEndpoints]+b.counts[MapStickyTargets] <= l.CountUpTo
}

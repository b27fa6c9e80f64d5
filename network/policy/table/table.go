package table

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/nft/rule"
	"fairlead.dev/fairlead/network/nft/wire"
	"fairlead.dev/fairlead/network/policy"
)

// Name is the name of the tables.
const Name = "fairlead-policy"

// Change is what went and what came of the rows since it was asked for last, of both families.
type Change struct {
	gone, come []element
	all        bool // of all rows
}

// Take returns what changed of the rows.
func Take(r *policy.Rows) Change { return collect(r, false) }

// All returns the rows as if all had just come.
func All(r *policy.Rows) Change {
	Take(r)
	return collect(r, true)
}

func collect(r *policy.Rows, all bool) Change {
	c := Change{all: all}
	for d := range 2 {
		both(&c, &r.Selected[d], func(a netip.Addr, _ policy.None) []element {
			return []element{{in: selected[d], key: []any{a}}, {in: refused[d], key: []any{a}}}
		})
		both(&c, &r.Some[d], func(p policy.Pair, s policy.PortSet) []element {
			return []element{{in: some[d], key: []any{uint32(p.Group), p.Pod}, value: uint32(s)}}
		})
		both(&c, &r.Any[d], func(a netip.Addr, s policy.PortSet) []element {
			return []element{{in: anybody[d], key: []any{a}, value: uint32(s)}}
		})
	}
	both(&c, &r.Self, func(a netip.Addr, _ policy.None) []element { return []element{{in: self, key: []any{a, a}}} })
	both(&c, &r.Peers, func(a netip.Addr, g policy.Group) []element {
		return []element{{in: peers, key: []any{a}, value: uint32(g)}}
	})
	both(&c, &r.Blocks, func(s policy.Span, g policy.Group) []element {
		all := netip.PrefixFrom(s.First, 0).Masked()
		return []element{{in: blocks, key: []any{s.First, all.Addr()}, last: []any{s.Last, api.LastAddr(all)}, value: uint32(g)}}
	})
	both(&c, &r.Ports, func(p policy.PortRow, _ policy.None) []element {
		if p.IsEverything() {
			return []element{{in: open, key: []any{uint32(p.Set)}}}
		}
		return []element{{in: ports, key: []any{uint32(p.Set), p.Protocol, p.First}, last: []any{uint32(p.Set), p.Protocol, p.Last}}}
	})
	return c
}

// both adds a table's rows to a change, as elements.
func both[K comparable, V comparable](c *Change, t *policy.Table[K, V], as func(K, V) []element) {
	gone, come := t.Take()
	if c.all {
		gone, come = nil, t.All()
	}
	for _, row := range gone {
		c.gone = append(c.gone, as(row.Key, row.Value)...)
	}
	for _, row := range come {
		c.come = append(c.come, as(row.Key, row.Value)...)
	}
}

// IsEmpty reports whether nothing changed.
func (c Change) IsEmpty() bool { return len(c.gone) == 0 && len(c.come) == 0 }

// of are the elements that a family's table has: ports are everybody's.
func of(f *rule.Family, all []element) []element {
	return slices.DeleteFunc(slices.Clone(all), func(e element) bool {
		return slices.ContainsFunc(e.key, func(p any) bool { a, ok := p.(netip.Addr); return ok && !f.Has(a) })
	})
}

// Update returns the transaction that brings a change into the family's table. It is empty if nothing changed there.
func (c Change) Update(f *rule.Family) *rule.Transaction {
	gone, come := of(f, c.gone), of(f, c.come)
	tx := rule.NewTransaction(f, Name, len(gone)+len(come))
	write(&tx, unix.NFT_MSG_DELSETELEM, gone)
	write(&tx, unix.NFT_MSG_NEWSETELEM, come)
	return &tx
}

// Whole returns the transaction that makes the family's table of All. A table that is there is replaced.
func (c Change) Whole(f *rule.Family, flags uint32, there bool) *rule.Transaction {
	come := of(f, c.come)
	tx := rule.NewTransaction(f, Name, len(come))
	if there {
		tx.DeleteTable()
	}
	tx.Message(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, "table "+Name, wire.Text(unix.NFTA_TABLE_NAME, Name), wire.U32(unix.NFTA_TABLE_FLAGS, flags))
	for _, s := range sets {
		s.message(&tx, f)
	}
	write(&tx, unix.NFT_MSG_NEWSETELEM, come)
	all := chains(f)
	for _, c := range all {
		tx.ChainMessage(c)
	}
	for _, c := range all {
		for _, r := range c.Rules {
			tx.RuleMessage(c.Name, r)
		}
	}
	return &tx
}

// Remove returns the transaction that deletes the family's table.
func Remove(f *rule.Family) *rule.Transaction {
	tx := rule.NewTransaction(f, Name, 0)
	tx.DeleteTable()
	return &tx
}

func write(tx *rule.Transaction, kind uint16, all []element) {
	for _, s := range sets {
		w := tx.Writer(kind, s.name)
		for i := range all {
			if all[i].in == s {
				all[i].write(w, kind == unix.NFT_MSG_NEWSETELEM)
			}
		}
		w.Flush()
	}
}

// Text is the table that Whole makes of All, in nft's own language, its elements in order of their text. Counters are left out.
func (c Change) Text(f *rule.Family) string {
	come := of(f, c.come)
	var b strings.Builder
	fmt.Fprintf(&b, "table %s %s {\n", f, Name)
	for _, s := range sets {
		var elements []string
		for i := range come {
			if come[i].in == s {
				elements = append(elements, come[i].text())
			}
		}
		slices.Sort(elements)
		kind := "set"
		if s.valued {
			kind = "map"
		}
		rule.Block(&b, kind, s.name, append(s.lines(f), rule.Elements(elements)...)...)
	}
	for _, c := range chains(f) {
		rule.Block(&b, "chain", c.Name, c.Lines(f)...)
	}
	return strings.TrimSuffix(b.String(), "\n") + "}\n"
}

func (s *set) lines(f *rule.Family) []string {
	var names []string
	for _, p := range s.key {
		names = append(names, p.name(f))
	}
	lines := []string{"type " + strings.Join(names, " . ")}
	if s.valued {
		lines[0] += " : mark"
	}
	if s.ranges {
		lines = append(lines, "flags interval")
	}
	if s.counted {
		lines = append(lines, "counter")
	}
	return lines
}

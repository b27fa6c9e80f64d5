package plan

import (
	"slices"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/nft/rule"
	"fairlead.dev/fairlead/network/nft/wire"
)

// Contents is what a table in the kernel consists of.
type Contents struct {
	Exists bool
	Chains []string // those that are only jumped to
	Maps   []string // without anonymous ones
}

// Transaction is the messages that change a family's table.
type Transaction struct {
	rule.Transaction
	family   *Family
	counters bool // elements of endpoints count the connections they get
}

// newTransaction returns a transaction with room for about n elements.
func newTransaction(f *Family, n int) *Transaction {
	return &Transaction{Transaction: rule.NewTransaction(&f.Family, TableName, n), family: f}
}

// writer writes elements of one of the maps.
type writer struct {
	rule.ElementWriter
	family *Family
}

func (tx *Transaction) writer(kind uint16, m Map) *writer {
	return &writer{*tx.Writer(kind, m.String()), tx.family}
}

// Whole returns the transaction that makes the table, there as described, what is
// desired, with maps of the given sizes. With keep, the affinity map stays.
func Whole(l Layout, d *Desired, sizes [MapCount]uint32, flags uint32, there Contents, keep bool) *Transaction {
	tx := newTransaction(l.Family, 0)
	tx.counters = d.counted(l)
	fixed := fixedChains(l)
	if there.Exists && !keep {
		tx.DeleteTable()
	}
	tx.Message(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, "table "+TableName,
		wire.Text(unix.NFTA_TABLE_NAME, TableName), wire.U32(unix.NFTA_TABLE_FLAGS, flags))
	if keep {
		tx.empty(there)
	} else {
		tx.affinityMessage()
	}
	tx.answeringMessage()
	for m := range MapCount {
		tx.mapMessage(m, sizes[m])
	}
	tx.dispatchMessage()
	// A base chain acts from the moment it is there, so all others come first.
	for _, c := range fixed {
		if c.Kind == "" {
			tx.ChainMessage(c)
		}
	}
	tx.classMessages(&d.classes, d.classes.sorted())
	for _, c := range fixed {
		if c.Kind != "" {
			tx.ChainMessage(c)
		}
	}
	for _, c := range fixed {
		for _, r := range c.Rules {
			tx.RuleMessage(c.Name, r)
		}
	}
	tx.elements(d)
	return tx
}

// empty removes everything from the table but the affinity map and the base
// chains.
func (tx *Transaction) empty(there Contents) {
	tx.Message(unix.NFT_MSG_DELRULE, 0, "all rules", wire.Text(unix.NFTA_RULE_TABLE, TableName))
	for _, name := range there.Maps {
		if name != AffinityMap {
			tx.Message(unix.NFT_MSG_DELSET, 0, "delete map "+name, wire.Text(unix.NFTA_SET_TABLE, TableName), wire.Text(unix.NFTA_SET_NAME, name))
		}
	}
	for _, name := range there.Chains {
		tx.Message(unix.NFT_MSG_DELCHAIN, 0, "delete chain "+name, wire.Text(unix.NFTA_CHAIN_TABLE, TableName), wire.Text(unix.NFTA_CHAIN_NAME, name))
	}
}

// elements writes all elements. Writers of several maps cannot have a message
// open in one batch, so each map has a batch of its own at first.
func (tx *Transaction) elements(b *Desired) {
	var parts [MapCount]rule.Transaction
	var writers [MapCount]*writer
	for m, n := range b.counts {
		s := &tx.family.shapes[m]
		each := 24 + int(s.keyLen+s.dataLen) // and comments
		if s.key == formFrontend {
			each += 40
		}
		parts[m] = rule.NewPart(&tx.family.Family, TableName, n*each)
		writers[m] = &writer{*parts[m].Writer(unix.NFT_MSG_NEWSETELEM, Map(m).String()), tx.family}
	}
	b.all(func(e *entry) {
		writers[e.in].put(e, true)
		if e.in == MapRestricted {
			writers[MapAllowed].sources(e)
		}
	})
	total := 0
	for m, w := range writers {
		w.Flush()
		total += parts[m].Len()
	}
	tx.Grow(total + 64) // and the end of the batch
	for m := range parts {
		tx.Join(&parts[m].Batch)
	}
}

// Change returns the transaction that brings a difference into the family's table.
func Change(f *Family, in *Desired, d Difference) *Transaction {
	tx := newTransaction(f, len(d.removed)+len(d.added))
	tx.classMessages(&in.classes, d.classes)
	for _, part := range []struct {
		kind    uint16
		entries []*entry
	}{{unix.NFT_MSG_DELSETELEM, d.removed}, {unix.NFT_MSG_NEWSETELEM, d.added}} {
		slices.SortFunc(part.entries, func(x, y *entry) int { return compareKeys(x.Key, y.Key) })
		writers := tx.writers(part.kind)
		for i, e := range part.entries {
			if i > 0 && part.entries[i-1].in != e.in {
				writers[part.entries[i-1].in].Flush()
			}
			writers[e.in].put(e, part.kind == unix.NFT_MSG_NEWSETELEM)
		}
		for _, w := range writers {
			w.Flush()
		}
		for _, e := range part.entries {
			writers[MapAllowed].sources(e)
		}
		writers[MapAllowed].Flush()
	}
	return tx
}

func (tx *Transaction) writers(kind uint16) (all [MapCount]*writer) {
	for m := range MapCount {
		all[m] = tx.writer(kind, m)
	}
	return all
}

// put writes an entry, with its value and comment if it is being added.
func (w *writer) put(e *entry, adding bool) {
	var scratch [64]byte
	f := w.family
	k := f.appendKey(scratch[:0], &e.Key)
	if !adding {
		w.Add(k, nil, nil, "", "")
		return
	}
	var data []byte
	if f.shapes[e.in].value != formNone {
		data = f.appendValue(k[len(k):], e.in, &e.value)
	}
	w.Add(k, nil, data, "", e.comment)
}

// sources writes the elements of the allowed set that an entry brings along.
func (w *writer) sources(e *entry) {
	f := w.family
	for _, p := range e.sources() {
		k := f.appendKey(nil, &e.Key)
		last := append(slices.Clone(k), api.LastAddr(p).AsSlice()...)
		w.Add(append(k, p.Addr().AsSlice()...), last, nil, "", "")
	}
}

// Remove returns the transaction that deletes the family's table.
func Remove(f *Family) *Transaction {
	tx := newTransaction(f, 0)
	tx.DeleteTable()
	return tx
}

// RemoveElements returns the transaction that deletes elements of the family's table.
func RemoveElements(f *Family, keys []Key) *Transaction {
	tx := newTransaction(f, len(keys))
	for i := range keys {
		w := tx.writer(unix.NFT_MSG_DELSETELEM, keys[i].in)
		w.put(&entry{Key: keys[i]}, false)
		w.Flush()
	}
	return tx
}

// classMessages adds the chains of classes and the way to them.
func (tx *Transaction) classMessages(all *classes, add []class) {
	for _, c := range add {
		if c.verdict != lb.Forward {
			continue
		}
		name := c.chainName()
		tx.ChainMessage(rule.Chain{Name: name})
		for _, r := range c.rules(tx.family) {
			tx.RuleMessage(name, r)
		}
	}
	w := tx.Writer(unix.NFT_MSG_NEWSETELEM, dispatchMap)
	for _, c := range add {
		w.Add(rule.Native(all.known[c].index<<setBits), nil, nil, c.chainName(), "")
	}
	w.Flush()
}

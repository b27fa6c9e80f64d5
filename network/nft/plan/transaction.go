package plan

import (
	"slices"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/nft/wire"
)

// Table flags. The owner of a table is the only one who can change it; a
// persistent table stays when its owner's socket closes and can then be taken
// over. Kernels before 6.9 know no persistence, and there the table has
// neither flag.
const (
	TableOwner   = 2 // NFT_TABLE_F_OWNER
	TablePersist = 4 // NFT_TABLE_F_PERSIST
)

// Contents is what a table in the kernel consists of.
type Contents struct {
	Exists bool
	Chains []string // those that are only jumped to
	Maps   []string // without anonymous ones
}

// Whole returns the transaction that makes the table, there as described, what is
// desired, with maps of the given sizes. With keep, the affinity map stays.
func Whole(l Layout, d *Desired, sizes [MapCount]uint32, flags uint32, there Contents, keep bool) *Transaction {
	tx := newTransaction(l.Family, 0)
	tx.counters = d.counted(l)
	fixed := fixedChains(l)
	if there.Exists && !keep {
		tx.deleteTable()
	}
	tx.message(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, "table "+TableName,
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
		if c.kind == "" {
			tx.chainMessage(c)
		}
	}
	tx.classMessages(&d.classes, d.classes.sorted())
	for _, c := range fixed {
		if c.kind != "" {
			tx.chainMessage(c)
		}
	}
	for _, c := range fixed {
		for _, r := range c.rules {
			tx.ruleMessage(c.name, r)
		}
	}
	tx.elements(d)
	return tx
}

// empty removes everything from the table but the affinity map and the base
// chains.
func (tx *Transaction) empty(there Contents) {
	tx.message(unix.NFT_MSG_DELRULE, 0, "all rules", wire.Text(unix.NFTA_RULE_TABLE, TableName))
	for _, name := range there.Maps {
		if name != AffinityMap {
			tx.message(unix.NFT_MSG_DELSET, 0, "delete map "+name, wire.Text(unix.NFTA_SET_TABLE, TableName), wire.Text(unix.NFTA_SET_NAME, name))
		}
	}
	for _, name := range there.Chains {
		tx.message(unix.NFT_MSG_DELCHAIN, 0, "delete chain "+name, wire.Text(unix.NFTA_CHAIN_TABLE, TableName), wire.Text(unix.NFTA_CHAIN_NAME, name))
	}
}

// elements writes all elements. Writers of several maps cannot have a message
// open in one batch, so each map has a batch of its own at first.
func (tx *Transaction) elements(b *Desired) {
	var writers [MapCount]*elementWriter
	for m, n := range b.counts {
		s := &tx.family.shapes[m]
		each := 24 + int(s.keyLen+s.dataLen) // and comments
		if s.key == formFrontend {
			each += 40
		}
		part := &Transaction{family: tx.family, Batch: wire.NewPart(n * each)}
		writers[m] = &elementWriter{tx: part, kind: unix.NFT_MSG_NEWSETELEM, set: Map(m).String()}
	}
	b.all(func(e *entry) {
		writers[e.in].put(e, true)
		if e.in == MapRestricted {
			writers[MapAllowed].sources(e)
		}
	})
	total := 0
	for _, w := range writers {
		w.flush()
		total += w.tx.Len()
	}
	tx.Grow(total + 64) // and the end of the batch
	for _, w := range writers {
		tx.Join(&w.tx.Batch)
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
				writers[part.entries[i-1].in].flush()
			}
			writers[e.in].put(e, part.kind == unix.NFT_MSG_NEWSETELEM)
		}
		for _, w := range writers {
			w.flush()
		}
		for _, e := range part.entries {
			writers[MapAllowed].sources(e)
		}
		writers[MapAllowed].flush()
	}
	return tx
}

func (tx *Transaction) writers(kind uint16) (all [MapCount]*elementWriter) {
	for m := range MapCount {
		all[m] = &elementWriter{tx: tx, kind: kind, set: m.String()}
	}
	return all
}

// put writes an entry, with its value and comment if it is being added.
func (w *elementWriter) put(e *entry, adding bool) {
	var scratch [64]byte
	f := w.tx.family
	k := f.appendKey(scratch[:0], &e.Key)
	if !adding {
		w.add(k, nil, nil, "", "")
		return
	}
	var data []byte
	if f.shapes[e.in].value != formNone {
		data = f.appendValue(k[len(k):], e.in, &e.value)
	}
	w.add(k, nil, data, "", e.comment)
}

// sources writes the elements of the allowed set that an entry brings along.
func (w *elementWriter) sources(e *entry) {
	f := w.tx.family
	for _, p := range e.sources() {
		k := f.appendKey(nil, &e.Key)
		last := f.appendLast(slices.Clone(k), p)
		w.add(append(k, p.Addr().AsSlice()...), last, nil, "", "")
	}
}

// Remove returns the transaction that deletes the family's table.
func Remove(f *Family) *Transaction {
	tx := newTransaction(f, 0)
	tx.deleteTable()
	return tx
}

// RemoveElements returns the transaction that deletes elements of the family's table.
func RemoveElements(f *Family, keys []Key) *Transaction {
	tx := newTransaction(f, len(keys))
	for i := range keys {
		w := &elementWriter{tx: tx, kind: unix.NFT_MSG_DELSETELEM, set: keys[i].in.String()}
		w.put(&entry{Key: keys[i]}, false)
		w.flush()
	}
	return tx
}

func (tx *Transaction) deleteTable() {
	tx.message(unix.NFT_MSG_DELTABLE, 0, "delete table "+TableName, wire.Text(unix.NFTA_TABLE_NAME, TableName))
}

// classMessages adds the chains of classes and the way to them.
func (tx *Transaction) classMessages(all *classes, add []class) {
	for _, c := range add {
		if c.verdict != lb.Forward {
			continue
		}
		name := c.chainName()
		tx.chainMessage(chain{name: name})
		for _, r := range c.rules(tx.family) {
			tx.ruleMessage(name, r)
		}
	}
	w := &elementWriter{tx: tx, kind: unix.NFT_MSG_NEWSETELEM, set: dispatchMap}
	for _, c := range add {
		w.add(native(all.known[c].index<<setBits), nil, nil, c.chainName(), "")
	}
	w.flush()
}

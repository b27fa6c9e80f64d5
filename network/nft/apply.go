package nft

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/network/lb"
)

// Table flags. The owner of a table is the only one who can change it; a
// persistent table stays when its owner's socket closes and can then be taken
// over. Kernels before 6.9 know no persistence, and there the table has
// neither flag.
const (
	tableOwner   = 2 // NFT_TABLE_F_OWNER
	tablePersist = 4 // NFT_TABLE_F_PERSIST
)

// kernel is a table in the kernel: what was written last, and how large its
// maps are.
type kernel struct {
	socket *socket
	layout layout
	sizes  [mapCount]uint32
	flags  uint32
	rules  int // of all chains together
}

// sizeFor returns a map's capacity: a map with a size is a plain hash table in
// the kernel, three times faster to fill than one that grows. The kernel takes
// the power of two from four thirds of the size on as the number of buckets, so
// a size of three times a power of two is the largest that this many serve.
// It is one and a half times to three times the count.
func sizeFor(count int) uint32 {
	size := uint32(3 << 10)
	for uint64(size)*2 < uint64(count)*3 {
		size *= 2
	}
	return size
}

// fits reports whether the counts leave a fifth of every map free.
func (k *kernel) fits(counts [mapCount]int) bool {
	for m, n := range counts {
		if uint64(n)*5 > uint64(k.sizes[m])*4 {
			return false
		}
	}
	return true
}

// rewrite makes the whole table what the book says, in one transaction: a
// packet sees either the old table or the new one. Connections that are
// established live in conntrack and notice nothing. With keep, the affinity map
// and what its entries refer to survive; that takes a table of ours that nobody
// has touched, and if it does not work the table is replaced.
func (k *kernel) rewrite(b *book, keep bool) error {
	b.take()
	clear(b.lingering)
	b.classes.forgetIdle()
	for m, n := range b.counts {
		k.sizes[m] = sizeFor(n)
	}
	there, err := k.socket.contents(k.layout.family)
	if err != nil {
		return err
	}
	keep = keep && slices.Contains(there.maps, affinityMap)
	commit := func() error {
		tx := k.wholeTable(b, there, keep)
		k.rules = tx.rules
		return k.socket.commit(tx)
	}
	err = commit()
	if err != nil && keep {
		keep = false
		err = commit()
	}
	if errors.Is(err, unix.EOPNOTSUPP) && k.flags != 0 {
		k.flags = 0
		err = commit()
	}
	if err != nil {
		return fmt.Errorf("write table %s %s: %w", k.layout.family, tableName, err)
	}
	b.committed()
	return nil
}

// wholeTable returns the transaction that makes the table, there as described,
// what the book says.
func (k *kernel) wholeTable(b *book, there contents, keep bool) *batch {
	tx := newTransaction(k.layout.family, 0)
	tx.counters = b.counts[endpoints]+b.counts[stickyTargets] <= k.layout.countUpTo
	fixed := fixedChains(k.layout)
	if there.exists && !keep {
		tx.deleteTable()
	}
	tx.message(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE, "table "+tableName,
		text(unix.NFTA_TABLE_NAME, tableName), be32(unix.NFTA_TABLE_FLAGS, k.flags))
	if keep {
		tx.empty(there)
	} else {
		tx.affinityMessage()
	}
	tx.answeringMessage()
	for m := range mapCount {
		tx.mapMessage(m, k.sizes[m])
	}
	tx.dispatchMessage()
	// A base chain acts from the moment it is there, so all others come first.
	for _, c := range fixed {
		if c.kind == "" {
			tx.chainMessage(c)
		}
	}
	tx.classMessages(&b.classes, b.classes.sorted())
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
	tx.elements(b)
	return tx
}

// empty removes everything from the table but the affinity map and the base
// chains.
func (tx *batch) empty(there contents) {
	tx.message(unix.NFT_MSG_DELRULE, 0, "all rules", text(unix.NFTA_RULE_TABLE, tableName))
	for _, name := range there.maps {
		if name != affinityMap {
			tx.message(unix.NFT_MSG_DELSET, 0, "delete map "+name, text(unix.NFTA_SET_TABLE, tableName), text(unix.NFTA_SET_NAME, name))
		}
	}
	for _, name := range there.chains {
		tx.message(unix.NFT_MSG_DELCHAIN, 0, "delete chain "+name, text(unix.NFTA_CHAIN_TABLE, tableName), text(unix.NFTA_CHAIN_NAME, name))
	}
}

// elements writes all elements. Writers of several maps cannot have a message
// open in one batch, so each map has a batch of its own at first.
func (tx *batch) elements(b *book) {
	var writers [mapCount]*elementWriter
	for m, n := range b.counts {
		s := &tx.family.shapes[m]
		each := 24 + int(s.keyLen+s.dataLen) // and comments
		if s.key == formFrontend {
			each += 40
		}
		part := &batch{family: tx.family, buf: make([]byte, 0, n*each)}
		writers[m] = &elementWriter{b: part, kind: unix.NFT_MSG_NEWSETELEM, set: mapID(m).String()}
	}
	b.all(func(e *entry) {
		writers[e.in].put(e, true)
		if e.in == restricted {
			writers[allowed].sources(e)
		}
	})
	total := 0
	for _, w := range writers {
		w.flush()
		total += len(w.b.buf)
	}
	tx.buf = slices.Grow(tx.buf, total+64) // and the end of the batch
	for _, w := range writers {
		tx.join(w.b)
	}
}

// join appends the messages of another batch.
func (tx *batch) join(part *batch) {
	for _, at := range part.starts {
		tx.starts = append(tx.starts, len(tx.buf)+at)
	}
	tx.names = append(tx.names, part.names...)
	tx.buf = append(tx.buf, part.buf...)
}

// update brings a difference into the kernel, in one transaction.
func (k *kernel) update(b *book, d difference) error {
	tx := k.layout.family.change(b, d)
	if tx.isEmpty() {
		return nil
	}
	if err := k.socket.commit(tx); err != nil {
		return fmt.Errorf("update table %s %s: %w", k.layout.family, tableName, err)
	}
	k.rules += tx.rules
	b.committed()
	return nil
}

// change returns the transaction that brings a difference into a table.
func (f *family) change(b *book, d difference) *batch {
	tx := newTransaction(f, len(d.removed)+len(d.added))
	tx.classMessages(&b.classes, d.classes)
	for _, part := range []struct {
		kind    uint16
		entries []*entry
	}{{unix.NFT_MSG_DELSETELEM, d.removed}, {unix.NFT_MSG_NEWSETELEM, d.added}} {
		slices.SortFunc(part.entries, func(x, y *entry) int { return compareKeys(x.key, y.key) })
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
			writers[allowed].sources(e)
		}
		writers[allowed].flush()
	}
	return tx
}

func (tx *batch) writers(kind uint16) (all [mapCount]*elementWriter) {
	for m := range mapCount {
		all[m] = &elementWriter{b: tx, kind: kind, set: m.String()}
	}
	return all
}

// put writes an entry, with its value and comment if it is being added.
func (w *elementWriter) put(e *entry, adding bool) {
	var room [64]byte
	f := w.b.family
	k := f.appendKey(room[:0], &e.key)
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
	f := w.b.family
	for _, p := range e.sources() {
		k := f.appendKey(nil, &e.key)
		last := f.appendLast(slices.Clone(k), p)
		w.add(append(k, p.Addr().AsSlice()...), last, nil, "", "")
	}
}

func (tx *batch) deleteTable() {
	tx.message(unix.NFT_MSG_DELTABLE, 0, "delete table "+tableName, text(unix.NFTA_TABLE_NAME, tableName))
}

// classMessages adds the chains of classes and the way to them.
func (tx *batch) classMessages(all *classes, add []class) {
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
	w := &elementWriter{b: tx, kind: unix.NFT_MSG_NEWSETELEM, set: dispatchMap}
	for _, c := range add {
		w.add(native(all.known[c].index<<setBits), nil, nil, c.chainName(), "")
	}
	w.flush()
}

// Clean removes the tables, and with them all that a Proxy ever wrote, from the
// current network namespace. It is not an error if there are none.
func Clean() error {
	s, err := dial()
	if err != nil {
		return err
	}
	defer s.close()
	for _, v6 := range []bool{false, true} {
		tx := newTransaction(newFamily(v6), 0)
		tx.deleteTable()
		if err := s.commit(tx); err != nil && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("remove table %s %s: %w", tx.family, tableName, err)
		}
	}
	return nil
}

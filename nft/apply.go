package nft

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/lb"
)

// Table flags. The owner of a table is the only one who can change it; a
// persistent table stays when its owner's socket closes and can then be taken
// over. Kernels before 6.9 know no persistence, and there the table has
// neither flag.
const (
	tableOwner   = 2 // NFT_TABLE_F_OWNER
	tablePersist = 4 // NFT_TABLE_F_PERSIST
)

// kernel is the table in the kernel: what was written last, and how large its
// maps are.
type kernel struct {
	socket *socket
	layout layout
	sizes  [mapCount]uint32
	flags  uint32
	// generation is the ruleset's generation after our last transaction.
	// nf_tables counts one for each transaction of anybody.
	generation uint32
}

// sizeFor returns a map's capacity: a map with a size is a plain hash table in
// the kernel, three times faster to fill than one that grows.
func sizeFor(count int) uint32 { return uint32(max(4096, 2*count)) }

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
	there, err := k.socket.contents()
	if err != nil {
		return err
	}
	keep = keep && slices.Contains(there.maps, affinityMap)
	err = k.socket.commit(k.wholeTable(b, there, keep))
	if err != nil && keep {
		keep = false
		err = k.socket.commit(k.wholeTable(b, there, false))
	}
	if errors.Is(err, unix.EOPNOTSUPP) && k.flags != 0 {
		k.flags = 0
		err = k.socket.commit(k.wholeTable(b, there, false))
	}
	if err != nil {
		return fmt.Errorf("write table %s: %w", tableName, err)
	}
	b.committed()
	return k.remember()
}

// wholeTable returns the transaction that makes the table, there as described,
// what the book says.
func (k *kernel) wholeTable(b *book, there contents, keep bool) *batch {
	total := 0
	for _, n := range b.counts {
		total += n
	}
	tx := newTransaction(total)
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
	for m, s := range shapes {
		tx.mapMessage(s, k.sizes[m])
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
	tx.elements(b, tx.writers(unix.NFT_MSG_NEWSETELEM))
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

// elements writes all elements, map by map: writers of several maps cannot
// have a message open at the same time.
func (tx *batch) elements(b *book, writers [mapCount]*elementWriter) {
	var byMap [mapCount][]*entry
	for m, n := range b.counts {
		byMap[m] = make([]*entry, 0, n)
	}
	b.all(func(e *entry) { byMap[e.in] = append(byMap[e.in], e) })
	for m, entries := range byMap {
		for _, e := range entries {
			writers[m].put(e, true)
		}
		writers[m].flush()
	}
}

// update brings a difference into the kernel, in one transaction.
func (k *kernel) update(b *book, d difference) error {
	tx := newTransaction(len(d.removed) + len(d.added))
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
	}
	if tx.isEmpty() {
		return nil
	}
	if err := k.socket.commit(tx); err != nil {
		return fmt.Errorf("update table %s: %w", tableName, err)
	}
	b.committed()
	return k.remember()
}

// remember notes the generation that our own transaction made.
func (k *kernel) remember() error {
	if k.flags&tableOwner != 0 { // nobody else can change the table
		return nil
	}
	var err error
	k.generation, err = k.socket.generation()
	return err
}

func (tx *batch) writers(kind uint16) (all [mapCount]*elementWriter) {
	for m, s := range shapes {
		all[m] = &elementWriter{b: tx, kind: kind, set: s.name}
	}
	return all
}

// put writes an entry, with its value and comment if it is being added.
func (w *elementWriter) put(e *entry, adding bool) {
	shape := &shapes[e.in]
	var end, data []byte
	comment := ""
	if e.in == allowed {
		end = lastInPrefix(e)
	}
	if adding {
		comment = e.comment
		if shape.dataLen > 0 {
			data = e.value[:shape.dataLen]
		}
	}
	w.add(e.data(), end, data, "", comment)
}

// lastInPrefix is the upper end of an entry of the allowed set, whose last part
// is the prefix that the entry's value gives the length of.
func lastInPrefix(e *entry) []byte {
	end := e.key
	for bit := int(e.value[0]); bit < 32; bit++ {
		end.bytes[12+bit/8] |= 0x80 >> (bit % 8)
	}
	return end.bytes[:]
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
		for _, r := range c.rules() {
			tx.ruleMessage(name, r)
		}
	}
	w := &elementWriter{b: tx, kind: unix.NFT_MSG_NEWSETELEM, set: dispatchMap}
	for _, c := range add {
		w.add(native(all.known[c].index<<setBits), nil, nil, c.chainName(), "")
	}
	w.flush()
}

// generation asks for the number of transactions so far.
func (s *socket) generation() (uint32, error) {
	const genID = 1 // NFTA_GEN_ID
	var id uint32
	err := s.request(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETGEN, 0, unix.AF_UNSPEC, func(m message) error {
		for a := range attributes(m.body) {
			if a.kind == genID && len(a.data) == 4 {
				id = be(a.data)
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("nf_tables generation: %w", err)
	}
	return id, nil
}

// Clean removes the table, and with it all that a Proxy ever wrote, from the
// current network namespace. It is not an error if there is none.
func Clean() error {
	s, err := dial()
	if err != nil {
		return err
	}
	defer s.close()
	tx := newTransaction(0)
	tx.deleteTable()
	if err := s.commit(tx); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove table %s: %w", tableName, err)
	}
	return nil
}

package dns

import (
	"hash/maphash"
	"net/netip"
)

// table is an immutable hash table. Changing it copies the buckets that change, one branch of 256
// buckets and the root, about eight kilobytes at any size, so that readers need no lock and a change
// costs the same with fifty Services as with fifty thousand.
type table[K comparable, V any] struct {
	root *[256]*branch[K, V]
	len  int
}

type branch[K comparable, V any] [256][]entry[K, V]

type entry[K comparable, V any] struct {
	hash  uint64
	key   K
	value V
}

// seed differs in every process, so that no one can choose names that collide.
var seed = maphash.MakeSeed()

func hashName(n name) uint64 { return maphash.String(seed, string(n)) }

func hashAddr(a netip.Addr) uint64 {
	b := a.As16()
	return maphash.Bytes(seed, b[:])
}

// get returns the value of key, whose hash is h.
func (t table[K, V]) get(h uint64, key K) (v V, ok bool) {
	if t.root == nil {
		return v, false
	}
	b := t.root[h&255]
	if b == nil {
		return v, false
	}
	bucket := b[h>>8&255]
	for i := range bucket {
		if e := &bucket[i]; e.hash == h && e.key == key {
			return e.value, true
		}
	}
	return v, false
}

// each calls f for every entry, in no particular order.
func (t table[K, V]) each(f func(K, V)) {
	if t.root == nil {
		return
	}
	for _, b := range t.root {
		if b == nil {
			continue
		}
		for _, bucket := range b {
			for _, e := range bucket {
				f(e.key, e.value)
			}
		}
	}
}

// edit is a table being changed by one goroutine. It copies each part of the table it started from at
// most once; publish ends it.
type edit[K comparable, V any] struct {
	table[K, V]
	owned [256]bool
}

func (t table[K, V]) edit() *edit[K, V] {
	root := new([256]*branch[K, V])
	if t.root != nil {
		*root = *t.root
	}
	return &edit[K, V]{table: table[K, V]{root: root, len: t.len}}
}

// bucket returns the place of h's bucket in a branch that belongs to e.
func (e *edit[K, V]) bucket(h uint64) *[]entry[K, V] {
	i := h & 255
	if !e.owned[i] {
		b := new(branch[K, V])
		if e.root[i] != nil {
			*b = *e.root[i]
		}
		e.root[i], e.owned[i] = b, true
	}
	return &e.root[i][h>>8&255]
}

func (e *edit[K, V]) set(h uint64, key K, v V) {
	b := e.bucket(h)
	next := make([]entry[K, V], 0, len(*b)+1)
	for _, old := range *b {
		if old.key != key {
			next = append(next, old)
		}
	}
	if len(next) == len(*b) {
		e.len++
	}
	*b = append(next, entry[K, V]{h, key, v})
}

func (e *edit[K, V]) delete(h uint64, key K) {
	if _, ok := e.get(h, key); !ok {
		return
	}
	b := e.bucket(h)
	next := make([]entry[K, V], 0, len(*b)-1)
	for _, old := range *b {
		if old.key != key {
			next = append(next, old)
		}
	}
	e.len--
	*b = next
}

// publish returns the table as it stands. The edit must not be used afterwards.
func (e *edit[K, V]) publish() table[K, V] { return e.table }

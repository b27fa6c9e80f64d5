package zone

import (
	"hash/maphash"
	"net/netip"
)

// table is an immutable hash table. Changing it copies the buckets that change, the leaf of 16 buckets and
// the branch they are in, and the root, about one and a half kilobytes at any size, so that readers need no
// lock and a change costs the same with fifty Services as with fifty thousand.
type table[K comparable, V any] struct {
	root *[fan]*branch[K, V]
	len  int
}

type branch[K comparable, V any] [fan]*leaf[K, V]

type leaf[K comparable, V any] [16][]entry[K, V]

// fan is how many branches the root has, and leaves a branch.
const fan = 64

// place is where in the table a hash belongs.
func place(h uint64) (branch, leaf, bucket uint64) { return h % fan, h / fan % fan, h / fan / fan % 16 }

type entry[K comparable, V any] struct {
	hash  uint64
	key   K
	value V
}

// seed differs in every process, so that no one can choose names that collide.
var seed = maphash.MakeSeed()

func hashName(n Name) uint64 { return maphash.String(seed, string(n)) }

func hashAddr(a netip.Addr) uint64 {
	b := a.As16()
	return maphash.Bytes(seed, b[:])
}

// get returns the value of key, whose hash is h.
func (t table[K, V]) get(h uint64, key K) (v V, ok bool) {
	if t.root == nil {
		return v, false
	}
	i, j, k := place(h)
	if t.root[i] == nil || t.root[i][j] == nil {
		return v, false
	}
	bucket := t.root[i][j][k]
	for i := range bucket {
		if e := &bucket[i]; e.hash == h && e.key == key {
			return e.value, true
		}
	}
	return v, false
}

// edit is a table being changed by one goroutine. It copies each part of the table it started from at
// most once; publish ends it.
type edit[K comparable, V any] struct {
	table[K, V]
	owned [fan]*[fan]bool // the leaves it has copied, in the branches it has copied
}

func (t table[K, V]) edit() *edit[K, V] {
	return &edit[K, V]{table: table[K, V]{root: copied(t.root), len: t.len}}
}

// copied is a copy of what p points to; of nil it is a new zero value.
func copied[T any](p *T) *T {
	c := new(T)
	if p != nil {
		*c = *p
	}
	return c
}

// bucket returns the place of h's bucket in a leaf that belongs to e.
func (e *edit[K, V]) bucket(h uint64) *[]entry[K, V] {
	i, j, k := place(h)
	if e.owned[i] == nil {
		e.root[i], e.owned[i] = copied(e.root[i]), new([fan]bool)
	}
	b := e.root[i]
	if !e.owned[i][j] {
		b[j], e.owned[i][j] = copied(b[j]), true
	}
	return &b[j][k]
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

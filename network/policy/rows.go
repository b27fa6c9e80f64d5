package policy

import (
	"net/netip"

	"fairlead.dev/fairlead/network/lb"
)

// Group is the addresses to which the same peers apply. Zero is those to which none does.
type Group uint32

// PortSet is the number of a set of ports. Zero is that of none.
type PortSet uint32

// Pair is the other side of a connection and the selected pod's address.
type Pair struct {
	Group Group
	Pod   netip.Addr
}

// Span is the addresses from First to Last, both included, of one family.
type Span struct{ First, Last netip.Addr }

// PortRow is a range of ports that belongs to a set.
type PortRow struct {
	Set PortSet
	PortRange
}

// None is the value of rows that have no value.
type None struct{}

// Rows are the tables that say which connections pass; see the package's documentation. Addresses are of both families.
type Rows struct {
	Selected [2]Table[netip.Addr, None]    // by Direction: this node's pods that a policy isolates
	Peers    Table[netip.Addr, Group]      // pods' addresses, if not in group zero
	Blocks   Table[Span, Group]            // spans that do not overlap
	Some     [2]Table[Pair, PortSet]       // by Direction: From and To
	Any      [2]Table[netip.Addr, PortSet] // by Direction: FromAny and ToAny
	Ports    Table[PortRow, None]          // ranges of one set do not overlap
	Self     Table[netip.Addr, None]       // all that are selected: a pod reaches itself
}

// Table is rows with a key. It remembers what changed since it was asked last.
type Table[K comparable, V comparable] struct {
	rows   map[K]V
	before map[K]was[V] // of the keys that were touched
}

type was[V any] struct {
	value V
	there bool
}

// Row is a row of a table that came or went.
type Row[K comparable, V comparable] struct {
	Key   K
	Value V
}

// Len is how many rows there are.
func (t *Table[K, V]) Len() int { return len(t.rows) }

// Get returns a row's value.
func (t *Table[K, V]) Get(key K) (V, bool) {
	v, ok := t.rows[key]
	return v, ok
}

// All returns the rows, in no order.
func (t *Table[K, V]) All() (all []Row[K, V]) {
	for key, value := range t.rows {
		all = append(all, Row[K, V]{key, value})
	}
	return all
}

func (t *Table[K, V]) touch(key K) {
	if _, touched := t.before[key]; touched {
		return
	}
	if t.before == nil {
		t.before = map[K]was[V]{}
	}
	v, there := t.rows[key]
	t.before[key] = was[V]{v, there}
}

func (t *Table[K, V]) set(key K, value V) {
	if v, there := t.rows[key]; there && v == value {
		return
	}
	t.touch(key)
	if t.rows == nil {
		t.rows = map[K]V{}
	}
	t.rows[key] = value
}

func (t *Table[K, V]) remove(key K) {
	if _, there := t.rows[key]; there {
		t.touch(key)
		delete(t.rows, key)
	}
}

// become makes the rows exactly those given.
func (t *Table[K, V]) become(rows map[K]V) {
	for key := range t.rows {
		if _, stays := rows[key]; !stays {
			t.remove(key)
		}
	}
	for key, value := range rows {
		t.set(key, value)
	}
}

// Take returns what went and what came since the last call. A row whose value changed went and came.
func (t *Table[K, V]) Take() (gone, come []Row[K, V]) {
	for key, was := range t.before {
		now, there := t.rows[key]
		if was.there && there && was.value == now {
			continue
		}
		if was.there {
			gone = append(gone, Row[K, V]{key, was.value})
		}
		if there {
			come = append(come, Row[K, V]{key, now})
		}
	}
	clear(t.before)
	return gone, come
}

// Packet begins a connection, as it is when a Service has been resolved. Port is 0 where the protocol has none.
type Packet struct {
	Source, Dest netip.Addr
	Protocol     lb.Protocol
	Port         uint16
}

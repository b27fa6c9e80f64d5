package feed

import (
	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/l7/upstream"
)

// needed counts who needs a pool: hosts and streams of the present table. Of hosts, of which there may be thousands, only those are
// looked at that are not the table's before.
type needed struct {
	count   map[upstream.Key]int
	hosts   map[*route.Host]*hostNeeds
	tables  map[seat]*route.Hosts // of the listeners of the present table
	streams []upstream.Key
}

// hostNeeds is what a host needs, which several listeners may have.
type hostNeeds struct {
	keys      []upstream.Key
	listeners int
}

// seat is the place of a listener in a table.
type seat struct {
	route.Point
	listener int // counted from the last, which has most hosts
}

func newNeeded() needed {
	return needed{count: map[upstream.Key]int{}, hosts: map[*route.Host]*hostNeeds{}}
}

// update goes over to a table, and returns the pools that nobody needed before, and those that nobody needs any more.
func (n *needed) update(t *route.Table) (more, less []upstream.Key) {
	before := map[upstream.Key]int{} // of those whose count changes
	add := func(keys []upstream.Key, by int) {
		for _, k := range keys {
			if _, noted := before[k]; !noted {
				before[k] = n.count[k]
			}
			n.count[k] += by
		}
	}
	come := func(h *route.Host) {
		at := n.hosts[h]
		if at == nil {
			at = &hostNeeds{keys: keysOf(h)}
			n.hosts[h] = at
			add(at.keys, 1)
		}
		at.listeners++
	}
	gone := func(h *route.Host) {
		at := n.hosts[h]
		if at.listeners--; at.listeners == 0 {
			add(at.keys, -1)
			delete(n.hosts, h)
		}
	}
	tables, streams := look(t)
	for at, hosts := range tables {
		hosts.Since(n.tables[at], come, gone)
	}
	for at, hosts := range n.tables {
		if tables[at] == nil {
			(*route.Hosts)(nil).Since(hosts, come, gone)
		}
	}
	add(streams, 1)
	add(n.streams, -1)
	n.tables, n.streams = tables, streams
	return n.changed(before)
}

// look gives the hosts of each listener that has any, and what all streams need.
func look(t *route.Table) (tables map[seat]*route.Hosts, streams []upstream.Key) {
	tables = map[seat]*route.Hosts{}
	for point, e := range t.Entries {
		for i, l := range e.Listeners {
			for s := range l.Streams {
				for k := range l.Streams[s].Backends {
					streams = appendKey(streams, &l.Streams[s].Backends[k])
				}
			}
			if l.Hosts != nil {
				tables[seat{point, len(e.Listeners) - i}] = l.Hosts
			}
		}
	}
	return tables, streams
}

// changed compares the counts with those before.
func (n *needed) changed(before map[upstream.Key]int) (more, less []upstream.Key) {
	for k, was := range before {
		switch now := n.count[k]; {
		case now == 0:
			delete(n.count, k)
			if was > 0 {
				less = append(less, k)
			}
		case was == 0:
			more = append(more, k)
		}
	}
	return more, less
}

func keysOf(h *route.Host) (keys []upstream.Key) {
	for _, r := range h.Rules {
		eachBackend(&r.Action, func(b *route.Backend) { keys = appendKey(keys, b) })
	}
	return keys
}

func appendKey(keys []upstream.Key, b *route.Backend) []upstream.Key {
	if b.Service.Name == "" {
		return keys
	}
	return append(keys, upstream.Key{Service: b.Service, Port: b.Port, Local: b.Local})
}

// eachBackend calls f with every backend that an action may send something to.
func eachBackend(a *route.Action, f func(*route.Backend)) {
	for i := range a.Mirrors {
		f(&a.Mirrors[i].Backend)
	}
	for i := range a.Backends {
		b := &a.Backends[i]
		f(b)
		for k := range b.Mirrors {
			f(&b.Mirrors[k].Backend)
		}
	}
	if a.Instead != nil {
		f(&a.Instead.Backend)
	}
	if a.External != nil && a.External.Backend != nil {
		f(a.External.Backend)
	}
}

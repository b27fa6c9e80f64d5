package feed

import (
	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/l7/upstream"
)

// needed counts who needs a pool: hosts and streams of the present table. A host is looked at once, as most stay from one table to the
// next, of which there may be thousands.
type needed struct {
	count   map[upstream.Key]int
	hosts   map[*route.Host]*hostNeeds
	streams []upstream.Key
	turn    int
}

type hostNeeds struct {
	keys []upstream.Key
	turn int // when it was seen last
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
	n.turn++
	seen := 0
	look := func(h *route.Host) bool {
		at := n.hosts[h]
		if at == nil {
			at = &hostNeeds{keys: keysOf(h)}
			n.hosts[h] = at
			add(at.keys, 1)
		}
		if at.turn != n.turn {
			at.turn = n.turn
			seen++
		}
		return true
	}
	var streams []upstream.Key
	for _, e := range t.Entries {
		for _, l := range e.Listeners {
			for i := range l.Streams {
				for k := range l.Streams[i].Backends {
					streams = appendKey(streams, &l.Streams[i].Backends[k])
				}
			}
			if l.Hosts != nil {
				l.Hosts.Each(look)
			}
		}
	}
	add(streams, 1)
	add(n.streams, -1)
	n.streams = streams
	if seen < len(n.hosts) {
		for h, at := range n.hosts {
			if at.turn != n.turn {
				add(at.keys, -1)
				delete(n.hosts, h)
			}
		}
	}
	return n.changed(before)
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

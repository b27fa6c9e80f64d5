package l7

import (
	"slices"
	"sync"

	"fairlead.dev/fairlead/network/l7/route"
)

// served is a table with what the engine has made of it so far: of its rules, each when the first request meets it, and of entries with
// many names.
type served struct {
	*route.Table
	plans sync.Map // *route.Rule -> *plan
	names sync.Map // *route.Entry, *route.Listener -> *route.Covering
}

// few names are tried one by one: that costs less than to look for them.
const few = 8

// listener returns the one of an entry's listeners for a host or SNI, in lower case; nil if there is none.
func (s *served) listener(entry *route.Entry, host string) *route.Listener {
	at := s.covering(entry, len(entry.Listeners), func(i int) string { return entry.Listeners[i].Hostname }, host)
	if at < 0 {
		return nil
	}
	return entry.Listeners[at]
}

// stream returns the one of a listener's streams for an SNI, in lower case; nil if there is none.
func (s *served) stream(l *route.Listener, sni string) *route.Stream {
	at := s.covering(l, len(l.Streams), func(i int) string { return l.Streams[i].Hostname }, sni)
	if at < 0 {
		return nil
	}
	return &l.Streams[at]
}

// covering is the place of the first of n host names that covers a host, -1 if none does. The names are those of an entry's listeners or
// of a listener's streams.
func (s *served) covering(of any, n int, hostname func(i int) string, host string) int {
	if n <= few {
		for i := range n {
			if route.Covers(hostname(i), host) {
				return i
			}
		}
		return -1
	}
	index, known := s.names.Load(of)
	if !known {
		index, _ = s.names.LoadOrStore(of, route.NewCovering(n, hostname))
	}
	return index.(*route.Covering).Find(host)
}

// passesThrough reports whether connections to an entry may have to be passed on with their TLS. Those are the first listeners of a table
// of Ingresses.
func passesThrough(entry *route.Entry) bool {
	return slices.ContainsFunc(entry.Listeners, func(l *route.Listener) bool { return l.TLS == nil })
}

package l7

import (
	"sync"

	"fairlead.dev/fairlead/network/l7/route"
)

// served is a table with what the engine has made of its rules so far: each when the first request meets it.
type served struct {
	*route.Table
	plans sync.Map // *route.Rule -> *plan
}

// listener returns the one of an entry's listeners for a host or SNI, in lower case; nil if there is none.
func listenerFor(entry *route.Entry, host string) *route.Listener {
	for _, l := range entry.Listeners {
		if route.Covers(l.Hostname, host) {
			return l
		}
	}
	return nil
}

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
		if covers(l.Hostname, host) {
			return l
		}
	}
	return nil
}

// covers reports whether a Hostname of the table is for a host: empty for each, a wildcard for every name below.
func covers(hostname, host string) bool {
	if len(hostname) > 1 && hostname[0] == '*' {
		return len(host) >= len(hostname) && host[len(host)-len(hostname)+1:] == hostname[1:]
	}
	return hostname == "" || hostname == host
}

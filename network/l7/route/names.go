package route

import (
	"hash/maphash"
	"maps"
)

// names are hosts by a name. Of many there is one map for a share of them, so that a change costs a copy of a small one.
type names struct {
	shares []map[string]*Host // a power of two of them
	count  int
}

// perShare is how many names one map has on average when their number is doubled.
const perShare = 32

var seed = maphash.MakeSeed()

func (n *names) share(name string) int {
	if len(n.shares) < 2 {
		return 0
	}
	return int(maphash.String(seed, name) & uint64(len(n.shares)-1))
}

func (n *names) get(name string) *Host {
	if n.count == 0 {
		return nil
	}
	return n.shares[n.share(name)][name]
}

// all gives every host, in no order.
func (n *names) all(yield func(string, *Host) bool) {
	for _, m := range n.shares {
		for name, host := range m {
			if !yield(name, host) {
				return
			}
		}
	}
}

// with returns names in which those of changes are as there; nil takes a name out.
func (n *names) with(changes map[string]*Host) names {
	if len(changes) == 0 {
		return *n
	}
	next := names{shares: append([]map[string]*Host(nil), n.shares...), count: n.count}
	size := max(1, len(n.shares))
	for n.count+len(changes) > size*perShare {
		size *= 2
	}
	if size != len(n.shares) {
		next = names{shares: make([]map[string]*Host, size)}
		for name, host := range n.all {
			next.put(name, host)
		}
		for name, host := range changes {
			next.put(name, host)
		}
		return next
	}
	mine := map[int]bool{} // shares that nobody else has
	for name, host := range changes {
		if i := next.share(name); !mine[i] {
			mine[i], next.shares[i] = true, maps.Clone(next.shares[i])
		}
		next.put(name, host)
	}
	return next
}

func (n *names) put(name string, host *Host) {
	i := n.share(name)
	_, had := n.shares[i][name]
	switch {
	case host != nil:
		if n.shares[i] == nil {
			n.shares[i] = map[string]*Host{}
		}
		n.shares[i][name] = host
		if !had {
			n.count++
		}
	case had:
		delete(n.shares[i], name)
		n.count--
	}
}

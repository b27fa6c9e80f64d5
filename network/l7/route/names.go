package route

import (
	"hash/maphash"
	"maps"
)

// names are things by a name. Of many there is one map for a share of them, so that a change costs a copy of a small one, and what has
// changed between two names that share is found without a look at what has not.
type names[T any] struct {
	shares []*share[T] // a power of two of them; nil: empty
	count  int
}

type share[T any] struct{ of map[string]*T }

// perShare is how many names one map has on average when their number is doubled.
const perShare = 32

var seed = maphash.MakeSeed()

func (n *names[T]) share(name string) int {
	if len(n.shares) < 2 {
		return 0
	}
	return int(maphash.String(seed, name) & uint64(len(n.shares)-1))
}

func (n *names[T]) get(name string) *T {
	if n.count == 0 {
		return nil
	}
	return n.shares[n.share(name)].get(name)
}

func (s *share[T]) get(name string) *T {
	if s == nil {
		return nil
	}
	return s.of[name]
}

// all gives everything, in no order.
func (n *names[T]) all(yield func(string, *T) bool) {
	for _, s := range n.shares {
		if s == nil {
			continue
		}
		for name, one := range s.of {
			if !yield(name, one) {
				return
			}
		}
	}
}

// with returns names in which those of changes are as there; nil takes a name out.
func (n *names[T]) with(changes map[string]*T) names[T] {
	if len(changes) == 0 {
		return *n
	}
	next := names[T]{shares: append([]*share[T](nil), n.shares...), count: n.count}
	size := max(1, len(n.shares))
	for n.count+len(changes) > size*perShare {
		size *= 2
	}
	if size != len(n.shares) {
		next = names[T]{shares: make([]*share[T], size)}
		for name, one := range n.all {
			next.put(name, one)
		}
		for name, one := range changes {
			next.put(name, one)
		}
		return next
	}
	mine := map[int]bool{} // shares that nobody else has
	for name, one := range changes {
		if i := next.share(name); !mine[i] {
			mine[i] = true
			if s := next.shares[i]; s != nil {
				next.shares[i] = &share[T]{maps.Clone(s.of)}
			}
		}
		next.put(name, one)
	}
	return next
}

func (n *names[T]) put(name string, one *T) {
	i := n.share(name)
	had := n.shares[i].get(name) != nil
	switch {
	case one != nil:
		if n.shares[i] == nil {
			n.shares[i] = &share[T]{map[string]*T{}}
		}
		n.shares[i].of[name] = one
		if !had {
			n.count++
		}
	case had:
		delete(n.shares[i].of, name)
		n.count--
	}
}

// since gives what n has and before has not, which has come, and the reverse, which has gone.
func (n *names[T]) since(before *names[T], come, gone func(*T)) {
	if len(n.shares) != len(before.shares) {
		before.each(gone)
		n.each(come)
		return
	}
	for i, s := range n.shares {
		if was := before.shares[i]; s != was {
			was.without(s, gone)
			s.without(was, come)
		}
	}
}

func (n *names[T]) each(f func(*T)) {
	for _, one := range n.all {
		f(one)
	}
}

// without gives what is not the same in another share.
func (s *share[T]) without(other *share[T], f func(*T)) {
	if s == nil {
		return
	}
	for name, one := range s.of {
		if other.get(name) != one {
			f(one)
		}
	}
}

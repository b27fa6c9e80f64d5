package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"fairlead.dev/fairlead/network/lb"
)

// Class numbers. The common classes are numbered by their size, so that the
// upper three digits of a verdict in a listing read as the number of endpoints.
const (
	classRefuse  = 0xfff
	classDrop    = 0xffe
	classSpecial = 0x800 // from here on in order of appearance
)

// MaxIdle is how many classes nobody uses may stay in the kernel. Removing
// them takes a rewrite of the table.
const MaxIdle = 64

// classes numbers the classes in use.
type classes struct {
	known   map[class]*numbered
	special numbers // counted from 1; added to classSpecial-1
	fresh   []class
	idle    int
}

type numbered struct {
	index uint32
	users int
}

func newClasses() classes {
	return classes{
		known: map[class]*numbered{
			{verdict: lb.Refuse}: {index: classRefuse, users: 1},
			{verdict: lb.Drop}:   {index: classDrop, users: 1},
		},
		special: numbers{limit: classDrop - classSpecial},
	}
}

// acquire counts a user of the class and returns it with its number.
func (cs *classes) acquire(c class) (*numbered, error) {
	n := cs.known[c]
	if n == nil {
		index := uint32(c.size)
		if c.affinity > 0 || c.keep || c.turns > 0 || c.byClient || c.size >= classSpecial {
			k, err := cs.special.take()
			if err != nil {
				return nil, fmt.Errorf("different sizes and affinities: %w", err)
			}
			index = classSpecial - 1 + k
		}
		n = &numbered{index: index}
		cs.known[c] = n
		cs.fresh = append(cs.fresh, c)
		cs.idle++
	}
	if n.users == 0 {
		cs.idle--
	}
	n.users++
	return n, nil
}

// release takes back what acquire returned.
func (cs *classes) release(n *numbered) {
	n.users--
	if n.users == 0 {
		cs.idle++
	}
}

// takeNew returns the classes that have no chain in the kernel yet.
func (cs *classes) takeNew() []class {
	fresh := cs.fresh
	cs.fresh = nil
	return fresh
}

// forgetIdle drops the classes without users; only a rewrite that leaves them
// out of the kernel may follow.
func (cs *classes) forgetIdle() {
	for c, n := range cs.known {
		if n.users == 0 {
			if n.index >= classSpecial {
				cs.special.free = append(cs.special.free, n.index-(classSpecial-1))
			}
			delete(cs.known, c)
		}
	}
	cs.idle = 0
}

// sorted returns all known classes by number.
func (cs *classes) sorted() []class {
	return slices.SortedFunc(maps.Keys(cs.known), func(a, b class) int {
		return cmp.Compare(cs.known[a].index, cs.known[b].index)
	})
}

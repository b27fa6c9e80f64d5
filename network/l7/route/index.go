package route

import (
	"math"
	"slices"
	"strings"
)

// index leads from a path to the rules that may hold for it. Numbers are places in the Host's Rules, ascending.
type index struct {
	exact    map[string][]int32
	elements prefixes // of kind Prefix
	starts   prefixes // of kind Start
	rest     []int32  // has to be tried
}

// prefixes are rules by what a path begins with.
type prefixes struct {
	rules   map[string][]int32
	lengths []int // of the keys, each once, the longest first
}

// few rules are tried one by one: that costs less than to look for them.
const few = 8

func newIndex(rules []*Rule) *index {
	x := &index{exact: map[string][]int32{}}
	for i, r := range rules {
		n, p := int32(i), &r.Match.Path
		switch p.Kind {
		case Exact:
			x.exact[p.Value] = append(x.exact[p.Value], n)
		case Prefix:
			x.elements.add(strings.TrimSuffix(p.Value, "/"), n)
		case Start:
			x.starts.add(p.Value, n)
		default:
			x.rest = append(x.rest, n)
		}
	}
	x.elements.sort()
	x.starts.sort()
	return x
}

func (p *prefixes) add(value string, n int32) {
	if p.rules == nil {
		p.rules = map[string][]int32{}
	}
	if p.rules[value] == nil {
		p.lengths = append(p.lengths, len(value))
	}
	p.rules[value] = append(p.rules[value], n)
}

func (p *prefixes) sort() {
	slices.Sort(p.lengths)
	slices.Reverse(p.lengths)
	p.lengths = slices.Compact(p.lengths)
}

// find returns the first of the rules that a request meets.
func (x *index) find(rules []*Rule, r *Request) *Rule {
	best := int32(math.MaxInt32)
	first := func(places []int32) {
		for _, n := range places {
			if n >= best {
				return
			}
			if rules[n].Match.holds(r) {
				best = n
				return
			}
		}
	}
	first(x.exact[r.Path])
	for _, n := range x.elements.lengths {
		if n == len(r.Path) || n < len(r.Path) && r.Path[n] == '/' {
			first(x.elements.rules[r.Path[:n]])
		}
	}
	for _, n := range x.starts.lengths {
		if n <= len(r.Path) {
			first(x.starts.rules[r.Path[:n]])
		}
	}
	first(x.rest)
	if best == math.MaxInt32 {
		return nil
	}
	return rules[best]
}

package route

import (
	"math"
	"slices"
	"strings"
)

// index leads from a path to the rules that may hold for it. Numbers are places in the Host's Rules.
type index struct {
	exact    map[string]int32 // the first rule for a path
	elements prefixes         // of kind Prefix
	starts   prefixes         // of kind Start
	next     []int32          // by place: the next rule with the same kind and path, none if there is no other
	rest     []int32          // has to be tried, ascending
}

// prefixes are rules by what a path begins with.
type prefixes struct {
	rules   map[string]int32 // the first rule for each
	lengths []int            // of the keys, each once, the longest first
}

const (
	// few rules are tried one by one: that costs less than to look for them.
	few  = 8
	none = math.MaxInt32
)

func newIndex(rules []*Rule) *index {
	var kinds [4]int
	for _, r := range rules {
		kinds[r.Match.Path.Kind]++
	}
	x := &index{exact: make(map[string]int32, kinds[Exact]), elements: newPrefixes(kinds[Prefix]), starts: newPrefixes(kinds[Start]), next: make([]int32, len(rules))}
	for i := len(rules) - 1; i >= 0; i-- {
		n, p := int32(i), &rules[i].Match.Path
		switch p.Kind {
		case Exact:
			x.chain(x.exact, p.Value, n)
		case Prefix:
			x.chain(x.elements.rules, strings.TrimSuffix(p.Value, "/"), n)
		case Start:
			x.chain(x.starts.rules, p.Value, n)
		default:
			x.rest = append(x.rest, n)
		}
	}
	slices.Reverse(x.rest)
	x.elements.measure()
	x.starts.measure()
	return x
}

// chain puts a rule before the others of its path.
func (x *index) chain(rules map[string]int32, path string, n int32) {
	x.next[n] = none
	if first, is := rules[path]; is {
		x.next[n] = first
	}
	rules[path] = n
}

func newPrefixes(n int) prefixes { return prefixes{rules: make(map[string]int32, n)} }

func (p *prefixes) measure() {
	seen := map[int]bool{}
	for key := range p.rules {
		if !seen[len(key)] {
			seen[len(key)] = true
			p.lengths = append(p.lengths, len(key))
		}
	}
	slices.Sort(p.lengths)
	slices.Reverse(p.lengths)
}

// find returns the first of the rules that a request meets.
func (x *index) find(rules []*Rule, r *Request) *Rule {
	best := int32(none)
	chain := func(n int32) {
		for ; n < best; n = x.next[n] {
			if rules[n].Match.holds(r) {
				best = n
			}
		}
	}
	if n, is := x.exact[r.Path]; is {
		chain(n)
	}
	for _, length := range x.elements.lengths {
		if length == len(r.Path) || length < len(r.Path) && r.Path[length] == '/' {
			if n, is := x.elements.rules[r.Path[:length]]; is {
				chain(n)
			}
		}
	}
	for _, length := range x.starts.lengths {
		if length <= len(r.Path) {
			if n, is := x.starts.rules[r.Path[:length]]; is {
				chain(n)
			}
		}
	}
	for _, n := range x.rest {
		if n >= best {
			break
		}
		if rules[n].Match.holds(r) {
			best = n
		}
	}
	if best == none {
		return nil
	}
	return rules[best]
}

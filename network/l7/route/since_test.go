package route

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// What has come and gone between two tables is what a look at all their hosts says, however many changes and doublings lie between.
func TestSince(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	name := func() string {
		switch n := random.IntN(300); {
		case n == 0:
			return ""
		case n%3 == 0:
			return fmt.Sprintf("*.%d.example", n)
		default:
			return fmt.Sprintf("%d.example", n)
		}
	}
	tables := []*Hosts{nil, NewHosts(nil)}
	for range 60 {
		put, gone := map[string]*Host{}, []string(nil)
		for range random.IntN(12) {
			if n := name(); put[n] == nil {
				put[n] = &Host{Name: n}
			}
		}
		for range random.IntN(8) {
			if n := name(); put[n] == nil {
				gone = append(gone, n)
			}
		}
		var changed []*Host
		for _, h := range put {
			changed = append(changed, h)
		}
		tables = append(tables, tables[len(tables)-1].orEmpty().With(changed, gone))
	}
	for range 500 {
		before, after := tables[random.IntN(len(tables))], tables[random.IntN(len(tables))]
		set := map[*Host]int{}
		for h := range before.orEmpty().Each {
			set[h]++
		}
		after.Since(before, func(h *Host) { set[h]++ }, func(h *Host) { set[h]-- })
		for h := range after.orEmpty().Each {
			set[h]--
		}
		for h, n := range set {
			if n != 0 {
				t.Fatalf("host %q is out by %d", h.Name, n)
			}
		}
	}
}

// Two tables that differ by one host are told apart without a look at the others.
func TestSinceOfOneChangeLooksAtFewHosts(t *testing.T) {
	var all []*Host
	for i := range 5000 {
		all = append(all, &Host{Name: fmt.Sprintf("%d.example", i)})
	}
	before := NewHosts(all)
	after := before.With([]*Host{{Name: "7.example"}}, nil)
	same := 0
	for i, s := range after.exact.shares {
		if s == before.exact.shares[i] {
			same++
		}
	}
	if same != len(after.exact.shares)-1 {
		t.Errorf("%d of %d shares are those before", same, len(after.exact.shares))
	}
}

func (h *Hosts) orEmpty() *Hosts {
	if h == nil {
		return &Hosts{}
	}
	return h
}

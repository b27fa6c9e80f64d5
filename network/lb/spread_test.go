package lb_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"fairlead.dev/fairlead/network/lb"
)

func backends(n int) []lb.Backend {
	all := make([]lb.Backend, n)
	for i := range all {
		all[i].Addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 244, byte(i >> 8), byte(i)}), 8080)
	}
	return all
}

func TestSpreadIsEven(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 7, 25, 26, 400, 10000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			table := lb.Spread(backends(n), nil)
			counts := make([]int, n)
			for _, b := range table {
				counts[b]++
			}
			if n > 0 && slices.Max(counts)-slices.Min(counts) > 1 {
				t.Errorf("from %d to %d of %d places for a backend", slices.Min(counts), slices.Max(counts), len(table))
			}
		})
	}
}

// A backend that goes takes few places of others with it.
func TestSpreadChangesLittle(t *testing.T) {
	for _, n := range []int{3, 10, 100} {
		before := lb.Spread(backends(n), nil)
		moved, total := 0, 0
		for gone := range n {
			left := backends(n)
			after := lb.Spread(slices.Delete(left, gone, gone+1), nil)
			if len(after) != len(before) {
				t.Fatalf("the table of %d has %d places, that of %d has %d", n, len(before), n-1, len(after))
			}
			for i := range after {
				b := after[i]
				if b >= gone {
					b++
				}
				if before[i] != gone {
					total++
					if before[i] != b {
						moved++
					}
				}
			}
		}
		if share := float64(moved) / float64(total); share > 0.25 {
			t.Errorf("of %d backends one goes, and %.0f %% of the others' places change", n, 100*share)
		}
	}
}

// FuzzSpread gives any set of backends a full table.
func FuzzSpread(f *testing.F) {
	f.Add(uint64(1), uint16(3))
	f.Add(uint64(7), uint16(400))
	f.Fuzz(func(t *testing.T, seed uint64, n uint16) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		all := make([]lb.Backend, n%2000)
		for i := range all {
			var a [16]byte
			for j := range a {
				a[j] = byte(rnd.Uint32())
			}
			all[i].Addr = netip.AddrPortFrom(netip.AddrFrom16(a), uint16(rnd.Uint32()))
		}
		table := lb.Spread(all, nil)
		seen := make([]bool, len(all))
		for _, b := range table {
			seen[b] = true // panics if out of range
		}
		if i := slices.Index(seen, false); i >= 0 {
			t.Errorf("backend %d of %d has no place in %d", i, len(all), len(table))
		}
	})
}

// A backend with several shares has as many times the places.
func TestSpreadByShares(t *testing.T) {
	for _, shares := range [][]int{{1, 2}, {7, 3}, {1, 1, 98}, {90, 9, 1, 100}} {
		counts, total := make([]int, len(shares)), 0
		table := lb.Spread(backends(len(shares)), shares)
		for _, b := range table {
			counts[b]++
		}
		for _, n := range shares {
			total += n
		}
		for i, n := range shares {
			if exact := len(table) * n / total; counts[i] < exact-n-1 || counts[i] > exact+n+1 {
				t.Errorf("shares %v: %v of %d places", shares, counts, len(table))
			}
		}
	}
}

package policy

import (
	"net/netip"
	"slices"
	"sort"

	"fairlead.dev/fairlead/api"
)

// span is the addresses between two boundaries, and the peers that have them.
type span struct {
	Span
	peers []int // in order
}

// divide cuts the addresses of all blocks into spans in each of which every address is in the same blocks. peers that are no blocks are
// left alone.
func divide(peers []*peer) []span {
	var bounds []netip.Addr // where another span may begin
	for _, p := range peers {
		if !p.isBlock() {
			continue
		}
		for _, x := range append(slices.Clone(p.except), p.block) {
			bounds = append(bounds, x.Addr())
			if after := api.LastAddr(x).Next(); after.IsValid() {
				bounds = append(bounds, after)
			}
		}
	}
	slices.SortFunc(bounds, netip.Addr.Compare)
	bounds = slices.Compact(bounds)
	var all []span
	for i, first := range bounds {
		last := end(first)
		if i+1 < len(bounds) && bounds[i+1].BitLen() == first.BitLen() {
			last = bounds[i+1].Prev()
		}
		in := blocksWith(peers, first)
		switch n := len(all); {
		case len(in) == 0:
		case n > 0 && all[n-1].Last.Next() == first && slices.Equal(all[n-1].peers, in):
			all[n-1].Last = last
		default:
			all = append(all, span{Span{first, last}, in})
		}
	}
	return all
}

// blocksWith are the blocks that have an address, by their places.
func blocksWith(peers []*peer, a netip.Addr) []int {
	var in []int
	for i, p := range peers {
		if p.isBlock() && p.includes(a) {
			in = append(in, i)
		}
	}
	return in
}

// find returns the peers of the span that has an address.
func find(spans []span, a netip.Addr) []int {
	i := sort.Search(len(spans), func(i int) bool { return a.Less(spans[i].First) }) - 1
	if i < 0 || spans[i].Last.Less(a) {
		return nil
	}
	return spans[i].peers
}

// end is the last address of an address' family.
func end(a netip.Addr) netip.Addr { return api.LastAddr(netip.PrefixFrom(a, 0)) }

package alloc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"net/netip"
	"slices"
	"strings"
)

// Range is the addresses from First to Last, both included, of one family.
type Range struct{ First, Last netip.Addr }

// ParseRange reads a network such as 192.0.2.0/28, a range such as 192.0.2.10-192.0.2.20, or one address. Of a network
// its own address is left out, which stands for the network or for all of its routers, and of an IPv4 one the broadcast address.
func ParseRange(text string) (Range, error) {
	if first, last, isRange := strings.Cut(text, "-"); isRange {
		a, err1 := netip.ParseAddr(strings.TrimSpace(first))
		b, err2 := netip.ParseAddr(strings.TrimSpace(last))
		return checked(Range{a, b}, errors.Join(err1, err2))
	}
	if !strings.Contains(text, "/") {
		a, err := netip.ParseAddr(text)
		return checked(Range{a, a}, err)
	}
	p, err := netip.ParsePrefix(text)
	if err == nil && p != p.Masked() {
		return Range{}, fmt.Errorf("must be the network's own address, %s", p.Masked())
	}
	r := whole(p)
	if err == nil && p.Bits() < p.Addr().BitLen()-1 {
		if r.First = r.First.Next(); p.Addr().Is4() {
			r.Last = r.Last.Prev()
		}
	}
	return checked(r, err)
}

// checked refuses what is no range of addresses that hosts have.
func checked(r Range, err error) (Range, error) {
	switch {
	case err != nil || r.First.Zone()+r.Last.Zone() != "":
		return Range{}, errors.New("must be a network such as 192.0.2.0/28 or a range such as 192.0.2.10-192.0.2.20")
	case r.First.Is4In6() || r.Last.Is4In6():
		return Range{}, errors.New("must not be IPv4 addresses written as IPv6")
	case r.First.Is4() != r.Last.Is4():
		return Range{}, errors.New("must begin and end with addresses of one family")
	case r.Last.Less(r.First):
		return Range{}, errors.New("must not end before it begins")
	}
	for _, s := range special {
		if r.Overlaps(whole(s.Prefix)) {
			return Range{}, fmt.Errorf("must not contain %s (%s)", s.what, s.Prefix)
		}
	}
	return r, nil
}

// special are the networks whose addresses no host can have as its own on a network.
var special = []struct {
	netip.Prefix
	what string
}{
	{netip.MustParsePrefix("0.0.0.0/8"), "the unspecified address"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback addresses"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link-local addresses"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast addresses"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved addresses"},
	{netip.MustParsePrefix("::/128"), "the unspecified address"},
	{netip.MustParsePrefix("::1/128"), "the loopback address"},
	{netip.MustParsePrefix("fe80::/10"), "link-local addresses"},
	{netip.MustParsePrefix("ff00::/8"), "multicast addresses"},
}

// RangeOf is all addresses of a prefix.
func RangeOf(p netip.Prefix) Range { return whole(p) }

func whole(p netip.Prefix) Range {
	if !p.IsValid() {
		return Range{}
	}
	last := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(last)*8; i++ {
		last[i/8] |= 1 << (7 - i%8)
	}
	end, _ := netip.AddrFromSlice(last)
	return Range{p.Masked().Addr(), end}
}

// String is FIRST-LAST.
func (r Range) String() string { return r.First.String() + "-" + r.Last.String() }

// Is4 reports whether the addresses are IPv4.
func (r Range) Is4() bool { return r.First.Is4() }

// Contains reports whether an address is in the range.
func (r Range) Contains(a netip.Addr) bool {
	return a.BitLen() == r.First.BitLen() && !a.Less(r.First) && !r.Last.Less(a)
}

// Overlaps reports whether two ranges have an address in common.
func (r Range) Overlaps(o Range) bool {
	return r.First.BitLen() == o.First.BitLen() && !o.Last.Less(r.First) && !r.Last.Less(o.First)
}

// Size is how many addresses there are, or the largest number if they are more.
func (r Range) Size() int64 {
	a, b := r.First.As16(), r.Last.As16()
	low, borrow := bits.Sub64(binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(a[8:]), 0)
	high, _ := bits.Sub64(binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(a[:8]), borrow)
	if high != 0 || low >= math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(low) + 1
}

// Ranges are some ranges, in the order in which their addresses are given.
type Ranges []Range

// ParseRanges reads ranges, as ParseRange does each. The error names the one that is wrong, or two that overlap.
func ParseRanges(texts []string) (Ranges, error) {
	var all Ranges
	for _, text := range texts {
		r, err := ParseRange(text)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", text, err)
		}
		if all.Overlaps(r) {
			return nil, fmt.Errorf("%q: must not overlap another of the ranges", text)
		}
		all = append(all, r)
	}
	return all, nil
}

// Contains reports whether an address is in one of the ranges.
func (rs Ranges) Contains(a netip.Addr) bool {
	return slices.ContainsFunc(rs, func(r Range) bool { return r.Contains(a) })
}

// Overlaps reports whether a range has an address in common with one of them.
func (rs Ranges) Overlaps(o Range) bool { return slices.ContainsFunc(rs, o.Overlaps) }

// Size is how many addresses there are, or the largest number if they are more.
func (rs Ranges) Size() int64 {
	var sum int64
	for _, r := range rs {
		if sum += r.Size(); sum < 0 {
			return math.MaxInt64
		}
	}
	return sum
}

// Next is the first address of a family, from a given one on in the order of the ranges, that is not taken; not valid: there is
// none. The zero address means from the beginning.
func (rs Ranges) Next(is4 bool, from netip.Addr, taken func(netip.Addr) bool) netip.Addr {
	for _, r := range rs {
		if r.Is4() != is4 {
			continue
		}
		a := r.First
		if from.IsValid() {
			if !r.Contains(from) {
				continue
			}
			a, from = from, netip.Addr{}
		}
		for ; a.IsValid() && r.Contains(a); a = a.Next() {
			if !taken(a) {
				return a
			}
		}
	}
	return netip.Addr{}
}

package lb

import (
	"hash/fnv"
)

// Spread says which backend serves each place of a table that clients are
// hashed into: the same on every node that has the same backends, each backend
// in as many places as the others give or take one, and when a backend comes or
// goes few places change that have nothing to do with it. It is the table of
// Google's Maglev: each backend visits the places in an order of its own, and
// they take turns in taking the next free one.
//
// The length of the result is a prime number that grows with the number of
// backends in a few steps, at each of which clients are spread anew. For one
// backend it is one. Of a backend with several shares, nil being one for each,
// there are so many times as many places.
func Spread(backends []Backend, shares []int) []int {
	total := len(backends)
	for _, n := range shares {
		total += n - 1
	}
	size := places(total)
	table := make([]int, size)
	if len(backends) < 2 {
		return table[:len(backends)]
	}
	next, stride := make([]uint64, len(backends)), make([]uint64, len(backends))
	for i, b := range backends {
		h := fnv.New64a()
		text, _ := b.Addr.MarshalBinary() // cannot fail
		_, _ = h.Write(text)
		sum := scatter(h.Sum64())
		next[i], stride[i] = (sum>>32)%size, sum&0xffffffff%(size-1)+1
	}
	for i := range table {
		table[i] = -1
	}
	for taken, turn, left := uint64(0), 0, 0; taken < size; taken++ {
		for table[next[turn]] >= 0 {
			next[turn] = (next[turn] + stride[turn]) % size
		}
		table[next[turn]] = turn
		if left++; shares == nil || left == shares[turn] {
			turn, left = (turn+1)%len(backends), 0
		}
	}
	return table
}

// places is the length of the table for n backends: ten for each, for balance
// and so that few change, as long as that is affordable.
func places(n int) uint64 {
	switch {
	case n <= 1:
		return 1
	case n <= 25:
		return 251
	case n <= 400:
		return 4093
	case n <= 1600:
		return 16381
	case n <= 6500:
		return 65521
	}
	return 262139
}

// scatter makes all bits depend on all others: the sums of similar addresses
// are similar.
func scatter(x uint64) uint64 {
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}

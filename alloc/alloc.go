// Package alloc hands out the numbers a Service may need: addresses of a range and ports of a range. It knows nothing
// of the API: a range is a bitmap, and who holds which number is the caller's knowledge.
//
// Both ranges are split in two bands (KEP-3070 for addresses, KEP-3668 for ports). Numbers chosen automatically come
// from the upper band until it is full, so that a user who fixes a number in the lower band rarely meets one that was
// chosen automatically.
//
// The types are safe for concurrent use.
package alloc

import (
	"errors"
	"math/rand/v2"
)

// ErrFull is returned when nothing is left to choose. Its text is upstream's and part of an API error (rule S25).
var ErrFull = errors.New("range is full")

// TakenError is returned for a number somebody already holds; What is "IP" or "port" (rules S23 and S64).
type TakenError struct{ What string }

func (e TakenError) Error() string { return "provided " + e.What + " is already allocated" }

// RangeError is returned for a number outside the range (rules S24 and S65). Programs take the range out of this text,
// so it stays upstream's to the letter.
type RangeError struct {
	What  string // "IP" or "port"
	Range string // for example 10.96.0.0/12 or 30000-32767
}

func (e RangeError) Error() string {
	return "provided " + e.What + " is not in the valid range. The range of valid " + e.What + "s is " + e.Range
}

// bitmap is a set of the numbers 0 to size-1, of which the first band are chosen automatically only when the others
// are taken.
type bitmap struct {
	words []uint64
	size  int
	band  int
	used  int
}

func newBitmap(size, band int) bitmap {
	return bitmap{words: make([]uint64, (size+63)/64), size: size, band: band}
}

func (b *bitmap) has(n int) bool { return b.words[n/64]&(1<<(n%64)) != 0 }

// take adds n and reports whether it was free.
func (b *bitmap) take(n int) bool {
	if b.has(n) {
		return false
	}
	b.words[n/64] |= 1 << (n % 64)
	b.used++
	return true
}

func (b *bitmap) release(n int) {
	if b.has(n) {
		b.words[n/64] &^= 1 << (n % 64)
		b.used--
	}
}

// free chooses a number nobody holds: from a random place of the upper band onwards, then from a random place of the
// lower one. It does not take it.
func (b *bitmap) free() (int, bool) {
	if b.used == b.size {
		return 0, false
	}
	if n, ok := b.search(b.band, b.size); ok {
		return n, true
	}
	return b.search(0, b.band)
}

// search finds a free number of [from, to), starting at random and going round once.
func (b *bitmap) search(from, to int) (int, bool) {
	if from >= to {
		return 0, false
	}
	start := from + rand.IntN(to-from)
	if n, ok := b.scan(start, to); ok {
		return n, true
	}
	return b.scan(from, start)
}

// scan finds the first free number of [from, to), passing full words in one step.
func (b *bitmap) scan(from, to int) (int, bool) {
	for n := from; n < to; {
		if n%64 == 0 && b.words[n/64] == ^uint64(0) {
			n += 64
			continue
		}
		if !b.has(n) {
			return n, true
		}
		n++
	}
	return 0, false
}

// band is the size of the lower band of a range: a step-th part of it, at least 16 and at most most numbers. A range of
// no more than 16 has no lower band.
func band(size, step, most int) int {
	if size <= 16 {
		return 0
	}
	return min(max(16, size/step), most)
}

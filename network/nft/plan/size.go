package plan

// Size returns how many elements of each map the kernel will have.
func (b *Desired) Size() [MapCount]int {
	n := b.counts
	n[MapHairpins] += len(b.delayed)
	return n
}

// Elements is how many elements are desired, in all maps together. Those of
// frontends that belong to an elder Service are counted, too.
func (b *Desired) Elements() int {
	n := 0
	for _, count := range b.counts {
		n += count
	}
	return n
}

// Rewrite is for a caller that is about to write everything: it forgets the
// difference, and what stays for the sake of differences only, and returns how
// large the maps should be.
func (b *Desired) Rewrite() (sizes [MapCount]uint32) {
	b.Take()
	clear(b.delayed)
	b.classes.forgetIdle()
	for m, n := range b.counts {
		sizes[m] = sizeFor(n)
	}
	return sizes
}

// Fits reports whether the difference can be written to maps of these sizes: if not,
// everything has to be.
func (b *Desired) Fits(sizes [MapCount]uint32) bool {
	for m, n := range b.Size() {
		if uint64(n)*5 > uint64(sizes[m])*4 { // a fifth of every map stays free
			return false
		}
	}
	return b.classes.idle <= MaxIdle
}

// sizeFor returns a map's capacity: a map with a size is a plain hash table in
// the kernel, three times faster to fill than one that grows. The kernel takes
// the power of two from four thirds of the size on as the number of buckets, so
// a size of three times a power of two is the largest that this many serve.
// It is one and a half times to three times the count.
func sizeFor(count int) uint32 {
	size := uint32(3 << 10)
	for uint64(size)*2 < uint64(count)*3 {
		size *= 2
	}
	return size
}

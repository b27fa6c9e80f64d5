package plan

import (
	"encoding/binary"
	"math/bits"
)

// jhash is the kernel's hash of bytes, which is Bob Jenkins' lookup3, with the
// words in the host's byte order. Only addresses are hashed, so the length is a
// multiple of four.
func jhash(p []byte, seed uint32) uint32 {
	const golden = 0xdeadbeef
	a := golden + uint32(len(p)) + seed
	b, c := a, a
	word := func(i int) uint32 { return binary.NativeEndian.Uint32(p[4*i:]) }
	for len(p) > 12 {
		a, b, c = a+word(0), b+word(1), c+word(2)
		a, b, c = mix(a, b, c)
		p = p[12:]
	}
	switch len(p) / 4 {
	case 3:
		a, b, c = a+word(0), b+word(1), c+word(2)
	case 2:
		a, b = a+word(0), b+word(1)
	case 1:
		a += word(0)
	case 0:
		return c
	}
	return final(a, b, c)
}

func mix(a, b, c uint32) (uint32, uint32, uint32) {
	for _, by := range [2][3]int{{4, 6, 8}, {16, 19, 4}} {
		a -= c
		a ^= bits.RotateLeft32(c, by[0])
		c += b
		b -= a
		b ^= bits.RotateLeft32(a, by[1])
		a += c
		c -= b
		c ^= bits.RotateLeft32(b, by[2])
		b += a
	}
	return a, b, c
}

func final(a, b, c uint32) uint32 {
	c ^= b
	c -= bits.RotateLeft32(b, 14)
	a ^= c
	a -= bits.RotateLeft32(c, 11)
	b ^= a
	b -= bits.RotateLeft32(a, 25)
	c ^= b
	c -= bits.RotateLeft32(b, 16)
	a ^= c
	a -= bits.RotateLeft32(c, 4)
	b ^= a
	b -= bits.RotateLeft32(a, 14)
	c ^= b
	return c - bits.RotateLeft32(b, 24)
}

// scale maps a hash onto the numbers below n, as the kernel does.
func scale(hash, n uint32) uint32 { return uint32(uint64(hash) * uint64(n) >> 32) }

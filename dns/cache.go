package dns

import (
	"encoding/binary"
	"slices"
	"sync"
	"time"
)

// Bounds of the cache: about eight megabytes at worst.
const (
	maxCached     = 4096
	maxCachedSize = 2048
	maxCachedTTL  = 3600 * time.Second
)

// cache keeps upstream servers' answers for as long as they say, so that the names pods ask for again
// and again, most of all the search list's wrong guesses, are asked upstream once.
type cache struct {
	mu      sync.Mutex
	entries map[question]cached
}

type cached struct {
	answer []byte
	stored time.Time
	ttl    time.Duration
}

func newCache() *cache { return &cache{entries: map[question]cached{}} }

// get returns a copy of the answer with its TTLs as of now, or nil.
func (c *cache) get(q question, now time.Time) []byte {
	c.mu.Lock()
	e, ok := c.entries[q]
	c.mu.Unlock()
	age := now.Sub(e.stored)
	if !ok || age >= e.ttl {
		return nil
	}
	b := slices.Clone(e.answer)
	eachTTL(b, func(rr record) {
		left := rr.ttl - min(rr.ttl, uint32(age/time.Second))
		binary.BigEndian.PutUint32(b[rr.ttlAt:], left)
	})
	return b
}

// put keeps an answer if it may be kept.
func (c *cache) put(q question, answer []byte, now time.Time) {
	ttl := lifetime(answer)
	if ttl <= 0 || len(answer) > maxCachedSize {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) >= maxCached {
		c.evict(now)
	}
	c.entries[q] = cached{slices.Clone(answer), now, ttl}
}

// evict makes room: it removes what has expired among some entries, and one entry at least.
func (c *cache) evict(now time.Time) {
	looked := 0
	for q, e := range c.entries {
		if looked++; looked == 1 || now.Sub(e.stored) >= e.ttl {
			delete(c.entries, q)
		}
		if looked >= 32 {
			return
		}
	}
}

// lifetime is how long an answer may be kept: the least TTL of its records; for a denial that of its
// SOA record, or that record's minimum if less (RFC 2308, section 5). Zero is not at all.
func lifetime(answer []byte) time.Duration {
	flags := binary.BigEndian.Uint16(answer[2:])
	if !settles(answer) || flags&flagTC != 0 {
		return 0
	}
	positive := binary.BigEndian.Uint16(answer[6:]) > 0 && flags&0xf == rcodeSuccess
	least, soa := maxCachedTTL, false
	ok := eachTTL(answer, func(rr record) {
		least = min(least, time.Duration(rr.ttl)*time.Second)
		if rr.typ == typeSOA && len(rr.data) >= 4 {
			minimum := binary.BigEndian.Uint32(rr.data[len(rr.data)-4:])
			soa, least = true, min(least, time.Duration(minimum)*time.Second)
		}
	})
	if !ok || !positive && !soa {
		return 0
	}
	return least
}

// eachTTL calls f for every record that has a TTL. It is false when the message cannot be read.
func eachTTL(msg []byte, f func(record)) bool {
	off, ok := skipName(msg, headerSize)
	if !ok {
		return false
	}
	off += 4
	count := 0
	for _, at := range []int{6, 8, 10} {
		count += int(binary.BigEndian.Uint16(msg[at:]))
	}
	for range count {
		rr, next, ok := readRecord(msg, off)
		if !ok {
			return false
		}
		if rr.typ != typeOPT {
			f(rr)
		}
		off = next
	}
	return true
}

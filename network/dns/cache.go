package dns

import (
	"encoding/binary"
	"math"
	"slices"
	"sync"
	"time"

	"fairlead.dev/fairlead/network/dns/zone"
)

// Bounds of the cache: sixteen megabytes with what the map itself takes.
const (
	maxCached      = 16384
	maxCachedBytes = 8 << 20
	maxCachedSize  = 4096 // of one answer
	maxCachedTTL   = 3600 * time.Second
)

// Times of RFC 8767, which lets an answer be given past its time when no server can be reached, and
// of RFC 9520, which has a failure be remembered.
const (
	maxStale   = 24 * time.Hour   // past its time to live
	staleTTL   = 30               // seconds, of an answer past its time
	staleRetry = 30 * time.Second // until the servers are asked again
	failureTTL = time.Second      // how long a failure is repeated without asking
)

// cache keeps upstream servers' answers for as long as they say, so that the names pods ask for again
// and again, most of all the search list's wrong guesses, are asked upstream once; and longer, for when
// no server answers.
type cache struct {
	mu      sync.Mutex
	entries map[question]cached
	bytes   int
}

// cached is an answer, or with a nil answer a failure. The bytes never change.
type cached struct {
	answer []byte
	stored time.Time
	ttl    time.Duration
	retry  time.Time // before this the servers are not asked again, though the answer is old
}

func newCache() *cache { return &cache{entries: map[question]cached{}} }

// verdict is what the cache knows about a question.
type verdict int

const (
	missing verdict = iota
	fresh           // an answer
	stale           // an old answer, and no use in asking just now
	failed          // no answer, and no use in asking just now
)

// get appends the answer to b, with its TTLs as of now.
func (c *cache) get(b []byte, q question, now time.Time) ([]byte, verdict) {
	c.mu.Lock()
	e, ok := c.entries[q]
	c.mu.Unlock()
	switch age := now.Sub(e.stored); {
	case !ok:
		return b, missing
	case e.answer == nil && age < e.ttl:
		return b, failed
	case e.answer == nil:
		return b, missing
	case age < e.ttl:
		return e.appendTo(b, uint32(age/time.Second)), fresh
	case age < e.ttl+maxStale && now.Before(e.retry):
		return e.appendStale(b), stale
	}
	return b, missing
}

// old appends an answer that may be past its time, for when nothing better can be had, and has the next
// askers get it at once.
func (c *cache) old(b []byte, q question, now time.Time) ([]byte, bool) {
	c.mu.Lock()
	e, ok := c.entries[q]
	if ok = ok && e.answer != nil && now.Sub(e.stored) < e.ttl+maxStale; ok {
		e.retry = now.Add(staleRetry)
		c.entries[q] = e
	}
	c.mu.Unlock()
	if !ok {
		return b, false
	}
	return e.appendStale(b), true
}

func (e cached) appendTo(b []byte, age uint32) []byte {
	start := len(b)
	b = append(b, e.answer...)
	eachTTL(b[start:], func(rr zone.Record) {
		binary.BigEndian.PutUint32(b[start+rr.TTLAt:], rr.TTL-min(rr.TTL, age))
	})
	return b
}

func (e cached) appendStale(b []byte) []byte {
	start := len(b)
	b = append(b, e.answer...)
	eachTTL(b[start:], func(rr zone.Record) { binary.BigEndian.PutUint32(b[start+rr.TTLAt:], staleTTL) })
	return b
}

// put keeps an answer if it may be kept.
func (c *cache) put(q question, answer []byte, now time.Time) {
	if ttl := lifetime(answer); ttl > 0 && len(answer) <= maxCachedSize {
		c.set(q, cached{answer: slices.Clone(answer), stored: now, ttl: ttl}, now)
	}
}

// fail remembers that there was no answer.
func (c *cache) fail(q question, now time.Time) {
	c.set(q, cached{stored: now, ttl: failureTTL}, now)
}

func (c *cache) set(q question, e cached, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.drop(q)
	for len(c.entries) >= maxCached || c.bytes+cost(q, e) > maxCachedBytes {
		c.evict(now)
	}
	c.entries[q] = e
	c.bytes += cost(q, e)
}

func cost(q question, e cached) int { return len(q.name) + len(e.answer) }

func (c *cache) drop(q question) {
	if e, ok := c.entries[q]; ok {
		c.bytes -= cost(q, e)
		delete(c.entries, q)
	}
}

// evict makes room: it removes what is past its time among some entries, and one entry at least.
func (c *cache) evict(now time.Time) {
	looked := 0
	for q, e := range c.entries {
		if looked++; looked == 1 || now.Sub(e.stored) >= e.ttl {
			c.drop(q)
		}
		if looked >= 32 {
			return
		}
	}
}

// counts returns how many positive answers and how many denials are kept.
func (c *cache) counts() (answers, denials int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.entries {
		switch {
		case e.answer == nil:
		case positive(e.answer):
			answers++
		default:
			denials++
		}
	}
	return answers, denials
}

// positive reports whether an answer is one with records, rather than a denial.
func positive(answer []byte) bool {
	return binary.BigEndian.Uint16(answer[6:]) > 0 && answer[3]&0xf == zone.RcodeSuccess
}

// lifetime is how long an answer may be kept: the least TTL of its records; for a denial that of its
// SOA record, or that record's minimum if less (RFC 2308, section 5). Zero is not at all.
func lifetime(answer []byte) time.Duration {
	if !settles(answer) || binary.BigEndian.Uint16(answer[2:])&zone.FlagTC != 0 {
		return 0
	}
	least, soa := maxCachedTTL, false
	ok := eachTTL(answer, func(rr zone.Record) {
		if rr.TTL > math.MaxInt32 {
			rr.TTL = 0 // RFC 2181, section 8
		}
		least = min(least, time.Duration(rr.TTL)*time.Second)
		if rr.Type == zone.TypeSOA && len(rr.Data) >= 4 {
			minimum := binary.BigEndian.Uint32(rr.Data[len(rr.Data)-4:])
			soa, least = true, min(least, time.Duration(minimum)*time.Second)
		}
	})
	if !ok || !positive(answer) && !soa {
		return 0
	}
	return least
}

// eachTTL calls f for every record that has a TTL. It is false when the message cannot be read.
func eachTTL(msg []byte, f func(zone.Record)) bool {
	off, ok := zone.SkipName(msg, zone.HeaderSize)
	if !ok {
		return false
	}
	off += 4
	for range zone.RecordCount(msg) {
		rr, next, ok := zone.ReadRecord(msg, off)
		if !ok {
			return false
		}
		if rr.Type != zone.TypeOPT {
			f(rr)
		}
		off = next
	}
	return true
}

package dns

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"fairlead.dev/fairlead/network/dns/zone"
	"fairlead.dev/fairlead/network/world"
)

// Where the API server is in this process, it is known which writes it has acknowledged, and the Zone knows which it
// holds. A question that comes between the two is held until the Zone has caught up, so that a name is right in the very
// next query after its write was acknowledged. That takes a fraction of a millisecond as a rule, and nothing is copied,
// locked or started for questions that come at other times.

const (
	// catchUp is how long a question is held at most, unless Server.catchUp says otherwise. When that was in vain, the
	// watch is stuck: nothing is held any more until the Zone has caught up.
	catchUp = 100 * time.Millisecond
	// maxHeld bounds the questions held; others are answered with what is known.
	maxHeld = 4096
)

// barrier is where questions wait that come between a write and the Zone that shows it: the questions held.
type barrier struct {
	stuck  atomic.Bool // holding did not help lately
	resume sync.WaitGroup

	mu     sync.Mutex
	closed bool
	held   []held // the oldest first
	timer  *time.Timer
}

// held is a question held.
type held struct {
	upTo   world.Revisions // what the Zone must hold
	until  time.Time
	answer func()
}

// behind reports whether z lacks something acknowledged that is worth waiting for.
func (s *Server) behind(z *snapshot) bool {
	return s.cfg.Acknowledged != nil && !z.upTo.Cover(s.cfg.Acknowledged()) && !s.barrier.stuck.Load()
}

// wait has e answered by send when the Zone has caught up with what is acknowledged now, or could not in time. It
// returns false if there is nothing to wait for.
func (s *Server) wait(asking context.Context, e *pendingQuery, peer netip.Addr, send func([]byte)) bool {
	b := &s.barrier
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || len(b.held) >= maxHeld || !s.behind(s.zone.Load()) {
		return false
	}
	if len(b.held) == 0 {
		b.timer = time.AfterFunc(s.catchUp, s.expire)
	}
	b.held = append(b.held, held{upTo: s.cfg.Acknowledged(), until: time.Now().Add(s.catchUp), answer: func() {
		r := &e.request
		r.Parse(r.Msg)
		w := zone.Response{Buf: make([]byte, 0, zone.MinUDP), Turn: rand.Uint32()}
		out := s.zone.Load().Respond(r, zone.RcodeSuccess, &w, e.limit)
		if b := s.complete(asking, r, &w, out, e.limit, peer, send); b != nil {
			send(b)
		}
	}})
	return true
}

// caughtUp answers the questions that wait for no more than z holds.
func (s *Server) caughtUp(z *snapshot) {
	if s.cfg.Acknowledged == nil {
		return
	}
	b := &s.barrier
	b.mu.Lock()
	defer b.mu.Unlock()
	if z.upTo.Cover(s.cfg.Acknowledged()) {
		b.stuck.Store(false)
	}
	n := 0
	for n < len(b.held) && z.upTo.Cover(b.held[n].upTo) {
		n++
	}
	b.release(n)
}

// expire answers everything held, if the oldest has waited long enough.
func (s *Server) expire() {
	b := &s.barrier
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.held) == 0 || time.Now().Before(b.held[0].until) {
		b.release(0)
		return
	}
	s.log.Warn("names are behind the API server; until they have caught up answers may be old", "waited", s.catchUp)
	b.stuck.Store(true)
	b.release(len(b.held))
}

// stop answers everything held, and holds nothing any more.
func (b *barrier) stop() {
	b.mu.Lock()
	b.closed = true
	b.release(len(b.held))
	b.mu.Unlock()
	b.resume.Wait()
}

// release answers the n oldest questions, not waiting for their replies to be taken, and waits for the next. The caller
// holds mu.
func (b *barrier) release(n int) {
	ready := b.held[:n:n]
	b.held = b.held[n:]
	if len(b.held) > 0 {
		b.timer.Reset(time.Until(b.held[0].until))
	} else if b.timer != nil {
		b.timer.Stop()
		b.held = nil
	}
	if len(ready) == 0 {
		return
	}
	b.resume.Go(func() {
		for _, q := range ready {
			q.answer()
		}
	})
}

package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"fairlead.dev/fairlead/network/dns/zone"
)

// Bounds on what waits for upstream servers. A query beyond them is told SERVFAIL at once: under
// overload a fast failure is worth more than a slow one, and memory stays bounded.
const (
	maxInFlight = 512  // different questions
	maxWaiters  = 4096 // queries, over all questions
)

const (
	// giveUp is less than the five seconds after which common resolvers ask again.
	giveUp = 4 * time.Second
	// hedge is how long a server may take before another is asked as well; repeat, before the same
	// one is. One lost packet costs a client no more than this.
	hedge  = 200 * time.Millisecond
	repeat = time.Second
	rounds = 2 // how often each server is asked
	// patience is how long an answer is waited for when there is an old one (RFC 8767: 1.8 s).
	patience = 1800 * time.Millisecond
)

// question is what is asked upstream, and the key under which askers and answers meet.
type question struct {
	name       zone.Name
	typ, class uint16
	do, cd     bool
}

// forwarder asks upstream servers. Equal questions asked while one is under way share its answer.
type forwarder struct {
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	groups []*upstreamGroup
	loops  *loops
	cache  *cache
	stats  *forwardStats

	mu       sync.Mutex
	inFlight map[question][]func([]byte)
	waiters  int
	flying   sync.WaitGroup
}

func newForwarder(cfg Config, log *slog.Logger) *forwarder {
	return &forwarder{
		dial:     cfg.Dial,
		groups:   newUpstreamGroups(cfg),
		loops:    newLoops(log),
		cache:    newCache(),
		stats:    newForwardStats(),
		inFlight: map[question][]func([]byte){},
	}
}

// ask calls done once with the answer to q, or with nil when there is none. The answer's first two bytes
// and the case of its question are arbitrary; done must not change it.
func (f *forwarder) ask(ctx context.Context, q question, done func(answer []byte)) {
	if answer, known := f.cache.get(nil, q, time.Now()); known != missing {
		done(answer)
		return
	}
	f.mu.Lock()
	waiting, under := f.inFlight[q]
	if f.waiters >= maxWaiters || !under && len(f.inFlight) >= maxInFlight {
		f.mu.Unlock()
		f.stats.rejects.Add(1)
		done(nil)
		return
	}
	f.waiters++
	f.inFlight[q] = append(waiting, done)
	if !under {
		f.flying.Go(func() { f.fly(ctx, q) })
	}
	f.mu.Unlock()
}

// wait returns when no question is under way.
func (f *forwarder) wait() { f.flying.Wait() }

// fly gets the answer for everybody who waits for it. When the servers take long, an answer that was
// true a while ago is better than none, and the search goes on for the next askers (RFC 8767, section 5).
func (f *forwarder) fly(ctx context.Context, q question) {
	u := f.groupOf(q.name)
	servers := f.loops.without(u.servers.list(time.Now()), func(server string, q question) {
		f.flying.Go(func() { f.probe(ctx, server, q) })
	})
	within, cancel := context.WithTimeout(ctx, giveUp) // ctx is the probes' and stays what it is
	defer cancel()
	early := time.AfterFunc(patience, func() {
		if old, ok := f.cache.old(nil, q, time.Now()); ok {
			f.land(q, old, false)
		}
	})
	answer := f.exchange(within, u, servers, q)
	early.Stop()
	now := time.Now()
	if answer != nil && settles(answer) {
		f.cache.put(q, answer, now)
	} else if old, ok := f.cache.old(nil, q, now); ok {
		answer = old
		f.stats.stale.Add(1)
	} else if within.Err() != context.Canceled {
		f.cache.fail(q, now)
	}
	f.land(q, answer, true)
}

// land gives an answer to all who wait. With last, the question is not under way any more.
func (f *forwarder) land(q question, answer []byte, last bool) {
	f.mu.Lock()
	waiting, under := f.inFlight[q]
	f.waiters -= len(waiting)
	if last {
		delete(f.inFlight, q)
	} else if under {
		f.inFlight[q] = nil
	}
	f.mu.Unlock()
	for _, done := range waiting {
		done(answer)
	}
}

// groupOf returns the servers to ask about n: those of the longest stub zone that holds it.
func (f *forwarder) groupOf(n zone.Name) *upstreamGroup {
	for _, u := range f.groups {
		if u.holds(n) {
			return u
		}
	}
	return f.groups[len(f.groups)-1] // not reached: the last one holds every name
}

// exchange asks one server after the other, not waiting long before it asks the next as well, and
// returns the first answer that settles the question. Failing that it returns a server's own failure,
// which may say more than ours, or nil.
func (f *forwarder) exchange(ctx context.Context, u *upstreamGroup, servers []string, q question) []byte {
	if len(servers) == 0 {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		server uint32
		answer []byte
	}
	total := len(servers) * rounds
	results := make(chan result, total) // room for all: no attempt blocks when nobody listens any more
	pace := hedge
	if len(servers) == 1 {
		pace = repeat
	}
	first := u.first.Load()
	var failure []byte
	asked, running := 0, 0
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-next.C:
			i := (first + uint32(asked)) % uint32(len(servers))
			go func() { results <- result{i, f.attempt(ctx, servers[i], q)} }()
			running++
			if asked++; asked < total {
				next.Reset(pace)
			}
		case got := <-results:
			running--
			if got.answer != nil && settles(got.answer) {
				u.first.Store(got.server)
				return got.answer
			}
			if got.answer != nil {
				failure = got.answer
			}
			next.Stop()
			if asked < len(servers) || asked < total && failure == nil {
				next.Reset(0)
			} else if running == 0 {
				return failure
			}
		case <-ctx.Done():
			return failure
		}
	}
}

// settles reports whether an answer is about the name rather than about the server's trouble.
func settles(answer []byte) bool {
	rcode := answer[3] & 0xf
	return rcode == zone.RcodeSuccess || rcode == zone.RcodeNXDomain
}

var errMismatch = errors.New("the answer is to another question")

// attempt asks one server over UDP, and over TCP when the answer did not fit. It returns nil for no
// answer, and an answer without its OPT record, which concerns one hop only (RFC 6891, 6.1.1).
func (f *forwarder) attempt(ctx context.Context, server string, q question) []byte {
	f.stats.requests.WithLabelValues(server).Inc()
	begin := time.Now()
	answer, err := f.once(ctx, "udp", server, q)
	if err != nil {
		return nil
	}
	if binary.BigEndian.Uint16(answer[2:])&zone.FlagTC != 0 {
		if whole, err := f.once(ctx, "tcp", server, q); err == nil {
			answer = whole
		}
	}
	answer, ok := zone.WithoutOPT(answer)
	if !ok {
		return nil
	}
	f.stats.answered(server, answer[3]&0xf, time.Since(begin))
	return answer
}

// once sends q from a port of its own and waits for the answer; together with the random identity
// that makes an answer hard to forge. Messages that do not match are passed over.
func (f *forwarder) once(ctx context.Context, network, server string, q question) ([]byte, error) {
	c, err := f.dial(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	query := q.pack(uint16(rand.Uint32()))
	if network == "tcp" {
		st := stream{Conn: c}
		if err := st.send(query); err != nil {
			return nil, err
		}
		answer, err := readFrame(c, make([]byte, zone.MaxTCP))
		if err == nil && !answers(query, answer) {
			err = errMismatch
		}
		return answer, err
	}
	if _, err := c.Write(query); err != nil {
		return nil, err
	}
	buf := make([]byte, 4096)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return nil, err
		}
		if answers(query, buf[:n]) {
			return buf[:n:n], nil
		}
	}
}

// pack writes the query sent upstream.
func (q question) pack(id uint16) []byte {
	flags := uint16(zone.FlagRD)
	if q.cd {
		flags |= zone.FlagCD
	}
	b := make([]byte, 0, zone.HeaderSize+len(q.name)+4+zone.OptSize)
	for _, v := range []uint16{id, flags, 1, 0, 0, 1} {
		b = binary.BigEndian.AppendUint16(b, v)
	}
	b = append(b, q.name...)
	b = binary.BigEndian.AppendUint16(b, q.typ)
	b = binary.BigEndian.AppendUint16(b, q.class)
	return zone.AppendOPT(b, zone.MaxUDP, 0, q.do)
}

// answers reports whether msg is a response to query: same identity, same question.
func answers(query, msg []byte) bool {
	if len(msg) < zone.HeaderSize || [2]byte(msg) != [2]byte(query) {
		return false
	}
	flags := binary.BigEndian.Uint16(msg[2:])
	if flags&zone.FlagQR == 0 || flags&zone.Opcodes != 0 || binary.BigEndian.Uint16(msg[4:]) != 1 {
		return false
	}
	var fold [zone.MaxName]byte
	end, ok := zone.FoldName(msg, zone.HeaderSize, &fold)
	if !ok || end+4 > len(msg) || end+4 > len(query) {
		return false
	}
	return string(fold[:end-zone.HeaderSize])+string(msg[end:end+4]) == string(query[zone.HeaderSize:end+4])
}

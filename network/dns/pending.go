package dns

import (
	"context"
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// pendingQuery is a query whose answer another server has: what is kept of it meanwhile.
type pendingQuery struct {
	request  request  // msg is a copy of its own
	response response // what the zone already said (an alias), else empty
	limit    int
}

// newPendingQuery keeps a copy of r, whose memory is used again.
func newPendingQuery(r *request, limit int) *pendingQuery {
	e := &pendingQuery{request: *r, limit: limit}
	e.request.msg, e.request.name = slices.Clone(r.msg), nil
	return e
}

// complete finishes what respond began, as askUpstream does, when the zone is up to date; a denial it looks at once more, for a
// client whose search list is known.
func (s *Server) complete(ctx context.Context, r *request, w *response, out outcome, limit int, peer netip.Addr, send func([]byte)) []byte {
	if out == outdated {
		if s.wait(ctx, newPendingQuery(r, limit), peer, send) {
			return nil
		}
		out = s.zone.Load().respond(r, rcodeSuccess, w, limit)
	}
	if out != reply {
		return s.askUpstream(ctx, r, w, out, limit, peer, send)
	}
	if list := s.searchList(r, w, peer); list != nil {
		s.completeSearch(ctx, newPendingQuery(r, limit), list, slices.Clone(w.buf), send)
		return nil
	}
	return w.buf
}

// askUpstream answers what respond could not: from what upstream servers said before, or by asking them.
// It returns at once. The result is the reply, in w; or nil, and then send is called with it exactly once,
// possibly before askUpstream returns.
func (s *Server) askUpstream(ctx context.Context, r *request, w *response, why outcome, limit int, peer netip.Addr, send func([]byte)) []byte {
	if s.forward.loops.returned(r.name) || !s.clients.include(peer, s.isNode) {
		w.begin(r, limit)
		w.finish(r, rcodeRefused)
		return w.buf
	}
	q := question{typ: r.typ, class: r.class, do: r.do, cd: r.flags()&flagCD != 0}
	if why == forward {
		if r.typ == typeANY {
			return w.minimal(r)
		}
		q.name = r.key()
		b, known := s.forward.cache.get(w.buf[:0], q, time.Now())
		s.forward.stats.looked(known, b)
		switch known {
		case fresh, stale:
			w.buf = r.relay(b, limit)
			return w.buf
		case failed:
			w.begin(r, limit)
			w.finish(r, rcodeServFail)
			return w.buf
		}
	}
	e := newPendingQuery(r, limit)
	q.name = name(r.name)
	finish := e.relay
	if why == chase {
		q.name = w.alias
		e.response, finish = *w, e.append
		e.response.buf = slices.Clone(w.buf)
	}
	s.forward.ask(ctx, q, func(answer []byte) { send(finish(answer)) })
	return nil
}

// relay turns an upstream answer into the reply. Besides identity, question and EDNS, it is passed on
// as it came.
func (e *pendingQuery) relay(answer []byte) []byte {
	if answer == nil {
		return e.fail()
	}
	return e.request.relay(slices.Clone(answer), e.limit)
}

// relay turns b, a copy of an upstream answer, into the reply to r.
func (r *request) relay(b []byte, limit int) []byte {
	copy(b, r.msg[:2])
	copy(b[headerSize:], r.question())
	flags := binary.BigEndian.Uint16(b[2:])&^(flagRD|flagAA) | flagRA | r.flags()&flagRD
	binary.BigEndian.PutUint16(b[2:], flags)
	return r.fit(b, limit)
}

// fit makes of b, a message without OPT record, one of at most limit bytes with the OPT record that r asks for. Records that
// have no room go from the end: whole ones, and names in those that stay refer to what is before them only. TC tells of lost
// answers, and of a lost authority section where it says something by itself: that there is no such name, or who signed.
func (r *request) fit(b []byte, limit int) []byte {
	if r.edns {
		limit -= optSize
	}
	if len(b) > limit {
		b = cut(b, headerSize+len(r.question()), limit, r.do)
	}
	if r.edns {
		b = appendOPT(b, maxUDP, int(b[3]&0xf), r.do)
		binary.BigEndian.PutUint16(b[10:], binary.BigEndian.Uint16(b[10:])+1)
	}
	return b
}

// cut keeps of a message whose records begin at off those that end before limit.
func cut(b []byte, off, limit int, signed bool) []byte {
	kept := 0
	for total := recordCount(b); kept < total; kept++ {
		_, next, ok := readRecord(b, off)
		if !ok || next > limit {
			break
		}
		off = next
	}
	lost := [3]bool{}
	for section := range lost { // answers, authority, additional
		at := 6 + 2*section
		had := int(binary.BigEndian.Uint16(b[at:]))
		has := min(had, kept)
		lost[section] = has < had
		kept -= has
		binary.BigEndian.PutUint16(b[at:], uint16(has))
	}
	if answers := binary.BigEndian.Uint16(b[6:]); lost[0] || lost[1] && (answers == 0 || signed) {
		binary.BigEndian.PutUint16(b[2:], binary.BigEndian.Uint16(b[2:])|flagTC)
	}
	return b[:off]
}

// fail is the reply when no upstream server could say anything: SERVFAIL, after the alias if there was
// one, so that a client tries again rather than believe that the name has no address.
func (e *pendingQuery) fail() []byte {
	if e.response.buf == nil {
		e.response.begin(&e.request, e.limit)
	}
	e.response.finish(&e.request, rcodeServFail)
	return e.response.buf
}

// append adds to an alias what upstream said about the name it leads to. The response code becomes
// upstream's: it is about the last name of the chain (RFC 6604). Names in upstream's message are
// compressed against that message, so it is taken apart and put together anew.
func (e *pendingQuery) append(answer []byte) []byte {
	if answer == nil {
		return e.fail()
	}
	alias := e.response
	alias.finish(&e.request, rcodeSuccess) // a whole message, to be parsed
	var own, other dnsmessage.Message
	if own.Unpack(alias.buf) != nil || other.Unpack(answer) != nil {
		return e.fail()
	}
	own.RCode, own.Authoritative, own.Truncated = other.RCode, false, own.Truncated || other.Truncated
	own.Answers = append(own.Answers, other.Answers...)
	if len(other.Answers) == 0 {
		own.Authorities = other.Authorities // upstream's SOA: how long the denial may be kept
	}
	b, err := own.Pack()
	if err != nil {
		return e.fail()
	}
	copy(b[headerSize:], e.request.question())
	if b, ok := withoutOPT(b); ok {
		return e.request.fit(b, e.limit)
	}
	return e.fail()
}

// withoutOPT returns the answer without its OPT record, and false if it cannot be read or says by that
// record that the server did not understand. OPT is the last record of every server's answers; records
// behind it, which are additional and may refer to each other, go with it.
func withoutOPT(b []byte) ([]byte, bool) {
	off, ok := skipName(b, headerSize)
	off += 4
	if !ok || off > len(b) {
		return nil, false
	}
	extra := int(binary.BigEndian.Uint16(b[10:]))
	first := recordCount(b) - extra // index of the first additional record
	for i := range first + extra {
		rr, next, ok := readRecord(b, off)
		switch {
		case !ok:
			return nil, false
		case rr.typ == typeOPT && (i < first || rr.ttl>>24 != 0):
			return nil, false
		case rr.typ == typeOPT:
			binary.BigEndian.PutUint16(b[10:], uint16(i-first))
			return b[:off], true
		}
		off = next
	}
	return b[:off], true // without what follows the last record
}

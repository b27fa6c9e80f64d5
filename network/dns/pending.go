package dns

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"fairlead.dev/fairlead/network/dns/zone"
)

// pendingQuery is a query whose answer another server has: what is kept of it meanwhile.
type pendingQuery struct {
	request  zone.Request  // msg is a copy of its own
	response zone.Response // what the zone already said (an alias), else empty
	limit    int
}

// newPendingQuery keeps a copy of r, whose memory is used again.
func newPendingQuery(r *zone.Request, limit int) *pendingQuery {
	e := &pendingQuery{request: *r, limit: limit}
	e.request.Msg, e.request.Name = slices.Clone(r.Msg), nil
	return e
}

// complete finishes what respond began, as askUpstream does, when the zone is up to date; a denial it looks at once more, for a
// client whose search list is known.
func (s *Server) complete(ctx context.Context, r *zone.Request, w *zone.Response, out zone.Outcome, limit int, peer netip.Addr, send func([]byte)) []byte {
	if out == zone.Outdated {
		if s.wait(ctx, newPendingQuery(r, limit), peer, send) {
			return nil
		}
		out = s.zone.Load().Respond(r, zone.RcodeSuccess, w, limit)
	}
	if out != zone.Reply {
		return s.askUpstream(ctx, r, w, out, limit, peer, send)
	}
	if list := s.searchList(r, w, peer); list != nil {
		s.completeSearch(ctx, newPendingQuery(r, limit), list, slices.Clone(w.Buf), send)
		return nil
	}
	return w.Buf
}

// askUpstream answers what respond could not: from what upstream servers said before, or by asking them.
// It returns at once. The result is the reply, in w; or nil, and then send is called with it exactly once,
// possibly before askUpstream returns.
func (s *Server) askUpstream(ctx context.Context, r *zone.Request, w *zone.Response, why zone.Outcome, limit int, peer netip.Addr, send func([]byte)) []byte {
	if s.forward.loops.returned(r.Name) || !s.clients.include(peer, s.isNode) {
		w.Begin(r, limit)
		w.Finish(r, zone.RcodeRefused)
		return w.Buf
	}
	q := question{typ: r.Type, class: r.Class, do: r.DO, cd: r.Flags()&zone.FlagCD != 0}
	if why == zone.Forward {
		if r.Type == zone.TypeANY {
			return w.Minimal(r)
		}
		q.name = r.Key()
		b, known := s.forward.cache.get(w.Buf[:0], q, time.Now())
		s.forward.stats.looked(known, b)
		switch known {
		case fresh, stale:
			w.Buf = r.Relay(b, limit)
			return w.Buf
		case failed:
			w.Begin(r, limit)
			w.Finish(r, zone.RcodeServFail)
			return w.Buf
		}
	}
	e := newPendingQuery(r, limit)
	q.name = zone.Name(r.Name)
	finish := e.relay
	if why == zone.Chase {
		q.name = w.Alias
		e.response, finish = *w, e.append
		e.response.Buf = slices.Clone(w.Buf)
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
	return e.request.Relay(slices.Clone(answer), e.limit)
}

// fail is the reply when no upstream server could say anything: SERVFAIL, after the alias if there was
// one, so that a client tries again rather than believe that the name has no address.
func (e *pendingQuery) fail() []byte {
	if e.response.Buf == nil {
		e.response.Begin(&e.request, e.limit)
	}
	e.response.Finish(&e.request, zone.RcodeServFail)
	return e.response.Buf
}

// append adds to an alias what upstream said about the name it leads to. The response code becomes
// upstream's: it is about the last name of the chain (RFC 6604). Names in upstream's message are
// compressed against that message, so it is taken apart and put together anew.
func (e *pendingQuery) append(answer []byte) []byte {
	if answer == nil {
		return e.fail()
	}
	alias := e.response
	alias.Finish(&e.request, zone.RcodeSuccess) // a whole message, to be parsed
	var own, other dnsmessage.Message
	if own.Unpack(alias.Buf) != nil || other.Unpack(answer) != nil {
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
	copy(b[zone.HeaderSize:], e.request.Question())
	if b, ok := zone.WithoutOPT(b); ok {
		return e.request.Fit(b, e.limit)
	}
	return e.fail()
}

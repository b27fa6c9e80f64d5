package dns

import (
	"context"
	"encoding/binary"
	"slices"

	"golang.org/x/net/dns/dnsmessage"
)

// errand is a query whose answer another server has: what is kept of it meanwhile.
type errand struct {
	request  request  // msg is a copy of its own
	response response // what the zone already said (an alias), else empty
	limit    int
}

// elsewhere asks the upstream servers what respond could not answer, and sends the result with send.
// It returns at once; send is called exactly once, possibly before it returns.
func (s *Server) elsewhere(ctx context.Context, r *request, w *response, why outcome, limit int, send func([]byte)) {
	e := &errand{request: *r, limit: limit}
	e.request.msg, e.request.name = slices.Clone(r.msg), nil // r's memory is used again
	q := question{
		name: name(r.name), typ: r.typ, class: r.class,
		do: r.do, cd: r.flags()&flagCD != 0,
	}
	finish := e.relay
	if why == chase {
		q.name = w.alias
		e.response, finish = *w, e.append
		e.response.buf = slices.Clone(w.buf)
	}
	s.forward.ask(ctx, q, func(answer []byte) { send(finish(answer)) })
}

// relay turns an upstream answer into the reply. Besides identity, question and EDNS, it is passed on
// as it came.
func (e *errand) relay(answer []byte) []byte {
	r := &e.request
	if answer == nil {
		return e.fail()
	}
	b := slices.Clone(answer)
	copy(b, r.msg[:2])
	copy(b[headerSize:], r.question())
	b = withoutOPT(b, r.qend)
	if r.edns {
		rcode := int(binary.BigEndian.Uint16(b[2:]) & 0xf)
		b = appendOPT(b, maxUDP, rcode, r.do)
		binary.BigEndian.PutUint16(b[10:], binary.BigEndian.Uint16(b[10:])+1)
	}
	flags := binary.BigEndian.Uint16(b[2:])&^(flagRD|flagAA) | flagRA | r.flags()&flagRD
	binary.BigEndian.PutUint16(b[2:], flags)
	if len(b) > e.limit {
		return e.truncate(int(flags & 0xf))
	}
	return b
}

// fail is the reply when no upstream server could say anything: SERVFAIL, after the alias if there was
// one, so that a client tries again rather than believe that the name has no address.
func (e *errand) fail() []byte {
	if e.response.buf == nil {
		e.response.begin(&e.request, e.limit)
	}
	e.response.finish(&e.request, rcodeServFail)
	return e.response.buf
}

// truncate is the reply when the answer does not fit: nothing but the request to come back over TCP.
func (e *errand) truncate(rcode int) []byte {
	var w response
	w.begin(&e.request, e.limit)
	w.truncated = true
	w.finish(&e.request, rcode)
	return w.buf
}

// append adds to an alias what upstream said about the name it leads to. The response code becomes
// upstream's: it is about the last name of the chain (RFC 6604). Names in upstream's message are
// compressed against that message, so it is taken apart and put together anew.
func (e *errand) append(answer []byte) []byte {
	if answer == nil {
		return e.fail()
	}
	alias := e.response
	alias.finish(&e.request, rcodeSuccess) // a whole message, to be parsed
	var own, other dnsmessage.Message
	if own.Unpack(alias.buf) != nil || other.Unpack(answer) != nil {
		return e.fail()
	}
	own.RCode, own.Authoritative = other.RCode, false
	own.Answers = append(own.Answers, other.Answers...)
	if len(other.Answers) == 0 {
		own.Authorities = other.Authorities // upstream's SOA: how long the denial may be kept
	}
	b, err := own.Pack()
	if err != nil {
		return e.fail()
	}
	copy(b[headerSize:], e.request.question())
	if len(b) > e.limit {
		return e.truncate(int(other.RCode))
	}
	return b
}

// withoutOPT removes the OPT record, which concerns one hop only (RFC 6891, 6.1.1). It is the last
// record of every server's answers; one that is followed by others stays.
func withoutOPT(b []byte, off int) []byte {
	counts := [3]int{}
	for i := range counts {
		counts[i] = int(binary.BigEndian.Uint16(b[6+2*i:]))
	}
	for i := counts[0] + counts[1] + counts[2]; i > 0; i-- {
		rr, next, ok := readRecord(b, off)
		if !ok {
			return b
		}
		if i == 1 && rr.typ == typeOPT && counts[2] > 0 {
			binary.BigEndian.PutUint16(b[10:], uint16(counts[2]-1))
			return b[:off]
		}
		off = next
	}
	return b
}

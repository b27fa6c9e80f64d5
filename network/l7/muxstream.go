package l7

import (
	"net/http"
	"strconv"

	"fairlead.dev/fairlead/network/l7/http1"
	"fairlead.dev/fairlead/network/l7/http2"
)

// stream is a session whose client is one of HTTP/2's streams. Its request is read as the HTTP/1.1 that goes to the endpoint, so that
// from there on nothing differs but how the answer is framed.
type stream struct {
	session
	of     *mux // nil: it has ended
	id     uint32
	room   int64 // bytes that the client may send of the body
	passed int64 // that it may send again, and was not told yet
	window int64 // that the client takes
	data   []byte
	length int64 // of the body as a whole; -1: as it comes
	came   int64 // of it
	ended  bool  // the client has sent all
	closes bool  // nothing follows what is in session.out but tail
	tail   []byte
	said   bool // all was sent
	errand *errand
}

// begin has a lane serve the request of a new stream.
func (l *lane) begin(m *mux, id uint32, head *http2.Head, ends bool) {
	st := l.streamFor(m, id)
	st.length, st.ended = head.Length, ends
	if ends {
		st.length = 0
	}
	m.streams = append(m.streams, st)
	m.bound = none
	s := &st.session
	s.begun = l.now
	if head.TooLarge {
		st.refuse(http.StatusRequestHeaderFieldsTooLarge)
		return
	}
	s.in = head.AppendHTTP1(l.buffer())
	if cap(s.in) > headSize || st.length < 0 || l.request.Parse(s.in) != http1.Whole || l.request.Size != len(s.in) {
		st.handOver()
		return
	}
	s.request()
}

// streamFor is a new stream.
func (l *lane) streamFor(m *mux, id uint32) *stream {
	var st *stream
	if n := len(l.streams); n > 0 {
		st, l.streams = l.streams[n-1], l.streams[:n-1]
	} else {
		st = new(stream)
	}
	*st = stream{of: m, id: id, room: streamWindow, window: m.limits.Window, data: st.data[:0], session: session{
		end: end{fd: -1}, lane: l, conn: m.conn, lines: m.prelude(), tried: st.tried[:0],
	}}
	st.session.stream = st
	st.end.session = &st.session
	return st
}

// refuse answers with a status alone.
func (st *stream) refuse(status int) {
	st.of.answer(st, http2.AppendStatus(st.lane.fieldBlock[:0], status), true)
	st.over()
}

// feed is a part of the body.
func (st *stream) feed(b []byte, ends bool) http2.Fault {
	st.came += int64(len(b))
	if st.length >= 0 && (st.came > st.length || ends && st.came < st.length) {
		return http2.Fault{Code: http2.ProtocolError, Stream: st.id}
	}
	st.ended = ends
	if st.errand != nil {
		st.errand.feed(b, ends)
		return http2.Fault{}
	}
	switch {
	case len(b) == 0:
		return http2.Fault{}
	case st.phase > connecting && st.upload == 0: // nobody wants it any more
		st.of.pass(nil, len(b))
		return http2.Fault{}
	case len(st.data) == 0:
		st.lane.fed = append(st.lane.fed, st)
	}
	st.data = append(st.data, b...)
	return http2.Fault{}
}

// upstream passes on what there is of the body.
func (st *stream) upstream() {
	if (st.phase == waiting || st.phase == relaying) && st.upload > 0 && st.wire != nil && len(st.wire.out) == 0 {
		st.pumpUp()
	}
}

// trailers are fields after the body. Those of which the request did not speak are dropped, and one that spoke of some is net/http's.
func (st *stream) trailers(head *http2.Head, ends bool) http2.Fault {
	switch {
	case st.ended:
		return http2.Fault{Code: http2.StreamClosed, Stream: st.id}
	case !ends || head.Malformed != "" || head.TooLarge:
		return http2.Fault{Code: http2.ProtocolError, Stream: st.id}
	}
	if st.errand != nil {
		st.errand.trailers(head)
	}
	return st.feed(nil, true)
}

// take reads what the client has sent of the body.
func (st *stream) take(b []byte) int {
	n := copy(b, st.data)
	rest := copy(st.data, st.data[n:])
	st.data = st.data[:rest]
	st.of.pass(st, n)
	return n
}

// goOn is when the others had their turn.
func (st *stream) goOn() {
	if st.of != nil {
		st.upstream()
	}
	if st.of != nil {
		st.resume()
	}
}

// resume goes on with what waited for the client.
func (st *stream) resume() {
	if len(st.out) > 0 || st.closes && !st.said {
		n := st.frame(st.out)
		if st.out = st.out[n:]; len(st.out) > 0 {
			if n > 0 {
				st.until(idleTimeout)
			}
			return
		}
		if st.out = nil; st.closes {
			st.seal()
		}
		if st.errand != nil {
			st.deadline = 0
		}
	}
	switch {
	case st.said && st.phase == ending:
		st.over()
	case st.wire != nil && st.wire.readable && (st.phase == waiting || st.phase == relaying):
		st.wire.read()
	}
}

// fail answers with a status and a sentence.
func (st *stream) fail(status int, sentence string) {
	l, s := st.lane, &st.session
	b := http2.AppendField(http2.AppendStatus(l.fieldBlock[:0], status), "server", "fairlead")
	if !dropped(s.target.response.drop, []byte("content-type")) {
		b = http2.AppendField(b, "content-type", "text/plain; charset=utf-8")
	}
	b = append(l.dated(b), s.target.response.block...)
	l.fieldBlock = http2.AppendField(b, "content-length", strconv.Itoa(len(sentence)+1))
	s.status = status
	s.consume()
	s.account("")
	st.of.answer(st, l.fieldBlock, s.head)
	if !s.head {
		st.say([]byte(sentence+"\n"), true)
	}
	s.rested()
}

// answered begins the answer whose head the lane has read.
func (st *stream) answered(b []byte) {
	l, s := st.lane, &st.session
	r := &l.response
	l.fieldBlock = l.composeFields(l.fieldBlock[:0], b, s)
	l.giveBack(s.in) // it is not sent again
	s.in, s.used = nil, 0
	if r.Length == 0 {
		st.of.answer(st, l.fieldBlock, true)
		s.wire.keep = s.wire.keep && r.Size == len(b)
		s.finish()
		return
	}
	st.of.answer(st, l.fieldBlock, false)
	st.passOn(b[r.Size:])
}

// passOn passes a part of the answer's body on.
func (st *stream) passOn(b []byte) {
	s := &st.session
	if s.body != http1.Chunked {
		n, done, _ := s.measure(b)
		s.wire.keep = s.wire.keep && n == len(b)
		s.bytes += int64(n)
		st.say(b[:n], done)
		if done {
			s.finish()
		}
		return
	}
	for {
		data, n, done, ok := s.chunks.Next(b)
		b = b[n:]
		s.bytes += int64(len(data))
		switch {
		case !ok || done && !st.collect():
			s.abort(http.StatusBadGateway)
		case done:
			s.wire.keep = s.wire.keep && len(b) == 0
			st.say(nil, true)
			s.finish()
		case len(data) > 0:
			st.say(data, false)
			continue
		}
		return
	}
}

// fits is how much of an answer is worth reading: what the client takes now, and one frame, which waits.
func (st *stream) fits() int {
	return http2.FrameSize + int(max(0, min(st.window, st.of.window, muxScratch)))
}

// collect makes trailers of what follows a chunked body.
func (st *stream) collect() (ok bool) {
	return st.chunks.Trailers(func(name, value []byte) {
		st.tail = http2.AppendField(st.tail, text(name), value)
	})
}

// say sends a part of the answer's body, now or when the client takes it.
func (st *stream) say(b []byte, ends bool) {
	st.closes = ends
	if len(st.out) == 0 {
		b = b[st.frame(b):]
	}
	if st.out = append(st.out, b...); len(st.out) > 0 {
		st.until(idleTimeout)
	} else if ends {
		st.seal()
	}
}

// frame sends as much of a body as the client takes now, and returns how many bytes that is. The last one ends the stream.
func (st *stream) frame(b []byte) (n int) {
	m := st.of
	for n < len(b) && !m.full() {
		part := int(min(int64(len(b)-n), int64(min(m.limits.Frame, http2.FrameSize)), st.window, m.window))
		if part <= 0 {
			break
		}
		flags := uint8(0)
		if st.closes && st.tail == nil && n+part == len(b) {
			flags, st.said = http2.EndStream, true
		}
		m.queue(append(http2.AppendFrame(m.queued(), http2.Data, flags, st.id, part), b[n:n+part]...))
		n, st.window, m.window = n+part, st.window-int64(part), m.window-int64(part)
	}
	if st.errand != nil {
		st.errand.sent(n)
	}
	return n
}

// seal ends the answer, after its body.
func (st *stream) seal() {
	m := st.of
	switch {
	case st.said:
	case st.tail != nil:
		m.answer(st, st.tail, true)
	default:
		m.queue(http2.AppendFrame(m.queued(), http2.Data, http2.EndStream, st.id, 0))
		st.said = true
	}
}

// settle is after the exchange with the endpoint.
func (st *stream) settle() {
	if st.phase = ending; st.said {
		st.over()
		return
	}
	st.until(idleTimeout) // for the client to take the rest
}

// over is after all was sent. A client that still sends is told that nobody needs it (RFC 9113, 8.1).
func (st *stream) over() {
	m := st.of
	m.waste = max(m.waste-1, 0)
	if !st.ended {
		m.queue(http2.AppendNumber(m.queued(), http2.Reset, st.id, uint32(http2.NoError)))
	}
	st.drop(!st.ended)
}

// reset ends the stream in the middle, for a reason that the client is told.
func (st *stream) reset(code http2.Code, status int) {
	m := st.of
	m.queue(http2.AppendNumber(m.queued(), http2.Reset, st.id, uint32(code)))
	st.leaveOff(status)
	st.drop(true)
}

// cancel ends the stream without a word.
func (st *stream) cancel(status int) {
	st.leaveOff(status)
	st.drop(false)
}

// leaveOff ends the exchange with the endpoint, if there is one.
func (st *stream) leaveOff(status int) {
	st.leave()
	if st.plan != nil {
		st.status = status
		st.account("")
	}
}

// drop forgets the stream.
func (st *stream) drop(reset bool) {
	m, l := st.of, st.lane
	if at, is := m.find(st.id); is {
		copy(m.streams[at:], m.streams[at+1:])
		m.streams[len(m.streams)-1] = nil
		m.streams = m.streams[:len(m.streams)-1]
	}
	m.remember(st.id, reset)
	m.pass(nil, len(st.data))
	if st.errand != nil {
		st.errand.leave()
	}
	l.giveBack(st.in)
	data := st.data
	if cap(data) > headSize {
		data = nil
	}
	*st = stream{data: data, session: session{end: end{fd: -1}, lane: l, tried: st.tried[:0]}}
	st.session.stream = st
	if len(l.streams) < 1024 {
		l.streams = append(l.streams, st)
	}
	m.queue(m.queued()) // the connection may be at rest
}

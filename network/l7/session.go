package l7

import (
	"bytes"
	"crypto/tls"
	"syscall"
	"time"
	"unsafe"

	"fairlead.dev/fairlead/network/l7/http1"
	"fairlead.dev/fairlead/network/l7/http2"
	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/l7/upstream"
)

// phase is what a session is at.
type phase uint8

const (
	reading    phase = iota // a request's head, or nothing
	connecting              // to an endpoint
	waiting                 // for the answer's head; the request's body may still be on its way
	relaying                // the answer's body
	ending                  // what was written has to leave, then it is over
	lingering               // as ending, with a client that is still sending and would otherwise not get the answer
)

// session is a client's connection in a lane, with the request that is under way.
type session struct {
	end
	lane   *lane
	conn   *connection
	tls    *tls.Conn // nil: plain
	phase  phase
	mux    *mux    // of a connection of HTTP/2, which is not at any phase
	stream *stream // of HTTP/2, whose request this is; nil: the connection's own
	in     []byte  // what was read of the client; nil: no buffer is needed
	used   int     // of it, by the request under way
	out    []byte  // for the client's socket, which had no room
	lines  []byte  // that every request gets on its way

	rule     *route.Rule
	plan     *plan
	target   *target
	endpoint *upstream.Endpoint
	wire     *wire
	tried    []*upstream.Endpoint
	begun    time.Time
	line     *entry // for the access log, if that wants it
	upload   int64  // bytes of the body that the client has not sent yet
	sent     bool   // of the body more than in has
	head     bool   // a HEAD
	last     bool   // no other request follows
	unread   bool   // a part of the request's body that nobody wants any more
	repeats  bool   // it does no harm to send it again
	body     int64  // bytes of the answer's body that are to come, or how they end
	chunks   http1.Chunks
	status   int
	bytes    int64
	tries    int
	deadline int64 // Unix nanoseconds; 0: none
	hard     int64 // of the request as a whole
	attempt  int64 // of this try
}

func newSession(l *lane, fd int, c *connection, secure *tls.Conn) *session {
	s := &session{end: end{fd: fd}, lane: l, conn: c, tls: secure}
	s.end.session = s
	c.Conn = below{s}
	return s
}

// begin is when a lane has adopted a connection.
func (s *session) begin() {
	if s.tls == nil {
		s.in, s.conn.before = append(s.lane.buffer(), s.conn.before...), nil
	}
	s.readable = true
	if s.tls != nil && s.tls.ConnectionState().NegotiatedProtocol == "h2" {
		s.multiplex(nil)
		return
	}
	s.readHead()
}

// happened goes on with what waited for the client's socket.
func (s *session) happened() {
	switch {
	case s.mux != nil:
		s.mux.woken()
		return
	case s.stream != nil:
		s.stream.goOn()
		return
	}
	if len(s.out) > 0 && s.writable && !s.flush() {
		s.abort(statusClientGone)
		return
	}
	switch {
	case len(s.out) > 0:
	case s.phase == ending:
		s.close()
	case s.phase == lingering:
		s.linger()
	case s.phase == reading:
		s.readHead()
	case s.phase == waiting || s.phase == relaying:
		if s.upload > 0 && s.canRead() {
			s.pumpUp()
		}
		if s.wire != nil && s.wire.readable {
			s.wire.read()
		}
	}
}

// canRead reports whether a read may give something. What TLS holds back, its socket does not tell.
func (s *session) canRead() bool {
	if s.stream != nil {
		return len(s.stream.data) > 0
	}
	return s.readable || s.tls != nil
}

// full reports whether the client has yet to take what it was sent.
func (s *session) full() bool { return len(s.out) > 0 || s.stream != nil && s.stream.of.full() }

// read reads from the client; 0 with ok is nothing yet, and not ok the end.
func (s *session) read(b []byte) (n int, ok bool) {
	if s.stream != nil {
		return s.stream.take(b), true
	}
	if s.tls == nil {
		return s.end.read(b)
	}
	n, err := s.tls.Read(b)
	return n, err == nil || err == errAgain
}

// read reads from a socket: 0 with ok is nothing yet, and not ok the end.
func (at *end) read(b []byte) (n int, ok bool) {
	if !at.readable {
		return 0, true
	}
	n, err := readSocket(at.fd, b)
	switch {
	case err == syscall.EAGAIN:
		at.readable = false
		return 0, true
	case err != 0 || n == 0:
		return 0, false
	case n < len(b) && !at.hangup:
		at.readable = false // until the next event
	}
	return n, true
}

// write writes to the client; what there is no room for waits. Not ok is the end.
func (s *session) write(b []byte) (ok bool) {
	if s.tls == nil {
		return s.push(b)
	}
	_, err := s.tls.Write(b)
	return err == nil
}

// push writes to the client's socket.
func (s *session) push(b []byte) (ok bool) {
	if len(s.out) > 0 {
		s.out = append(s.out, b...)
		return true
	}
	n, ok := s.end.write(b)
	if n < len(b) {
		s.out = append(s.out, b[n:]...)
	}
	return ok
}

// write writes what a socket has room for.
func (at *end) write(b []byte) (n int, ok bool) {
	n, err := writeSocket(at.fd, b)
	if n < len(b) {
		at.writable = false
	}
	return n, err == 0 || err == syscall.EAGAIN
}

// flush writes what waits.
func (s *session) flush() (ok bool) {
	n, ok := s.end.write(s.out)
	if s.out = s.out[n:]; len(s.out) == 0 {
		s.out = nil
	}
	return ok
}

// readHead reads until a request is there, and begins it.
func (s *session) readHead() {
	for s.phase == reading && len(s.out) == 0 && s.fd >= 0 {
		switch s.lane.request.Parse(s.in) {
		case http1.Whole:
			s.begun = s.lane.now
			s.request()
			continue
		case http1.Odd:
			if s.begun.IsZero() && s.tls == nil && (bytes.HasPrefix(s.in, preface) || bytes.HasPrefix(preface, s.in)) {
				before := s.in
				s.in = nil
				s.multiplex(before)
				s.lane.giveBack(before)
				return
			}
			s.handOver()
			return
		}
		if len(s.in) == cap(s.in) && s.in != nil {
			s.handOver() // a long head
			return
		}
		if s.in == nil {
			s.in = s.lane.buffer()
		}
		n, ok := s.read(s.in[len(s.in):cap(s.in)])
		if !ok {
			s.close()
			return
		}
		if n == 0 {
			s.rest()
			return
		}
		if len(s.in) == 0 || s.deadline == 0 {
			s.deadline = s.lane.at(s.lane.now.Add(headTimeout).UnixNano())
		}
		s.in = s.in[:len(s.in)+n]
	}
}

var preface = []byte(http2.Preface)

// rest is when nothing is to be read: of a client at rest no buffer is held.
func (s *session) rest() {
	if len(s.in) > 0 {
		return // the deadline is that of its head
	}
	s.lane.giveBack(s.in)
	s.in = nil
	s.deadline = s.lane.at(s.lane.now.Add(idleTimeout).UnixNano())
}

// text is some bytes as a string, for as long as they stay as they are.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// handOver gives the connection to net/http, as if nothing had been read of it.
func (s *session) handOver() {
	if s.stream != nil {
		s.stream.handOver()
		return
	}
	l := s.lane
	l.ends[s.fd] = nil
	unwatch(l.epoll, s.fd)
	fd, c := s.fd, s.conn
	s.fd = -1
	l.e.metrics.handed.Add(1)
	before := append([]byte(nil), s.in...)
	l.giveBack(s.in)
	l.size.Add(-1)
	go func() { // it makes a connection of package net, and may wait for net/http
		conn, err := connOf(fd)
		if err != nil {
			l.e.log.Warn("a connection cannot be handed on", "err", err)
			c.seat.leave()
			return
		}
		c.Conn = conn
		handed := c
		if s.tls != nil { // c is below it, and stays
			outer := *c
			outer.Conn = s.tls
			handed = &outer
		}
		handed.before = before
		if !l.e.queue.put(handed) {
			_ = handed.Close()
		}
	}()
}

// linger says that nothing more follows, and waits for the client to see it: what it sends is not wanted any more.
func (s *session) linger() {
	if s.phase != lingering {
		s.phase = lingering
		s.deadline = s.lane.at(s.lane.now.Add(lingerTimeout).UnixNano())
		if s.tls != nil {
			_ = s.tls.CloseWrite() // it is told by the socket, too
		}
		shutdownSocket(s.fd)
	}
	for s.readable {
		if n, ok := s.end.read(s.lane.in); !ok {
			s.close()
			return
		} else if n == 0 {
			return
		}
	}
}

// close ends the connection.
func (s *session) close() {
	if s.fd < 0 {
		return
	}
	if s.tls != nil && s.phase != ending && s.phase != lingering {
		s.phase = ending
		_ = s.tls.CloseWrite() // says so in TLS
		if s.fd < 0 {
			return
		}
	}
	s.lane.giveBack(s.in)
	s.in, s.out = nil, nil
	s.lane.drop(&s.end)
	s.lane.size.Add(-1)
}

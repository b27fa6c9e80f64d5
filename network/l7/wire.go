package l7

import (
	"net/http"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/network/l7/http1"
	"fairlead.dev/fairlead/network/l7/upstream"
)

// wire is a lane's connection to an endpoint: a session's (end.session), or kept for the next.
type wire struct {
	end
	lane     *lane
	endpoint *upstream.Endpoint
	out      []byte // for its socket, which had no room
	part     []byte // of an answer's head
	fresh    bool   // it has carried no request before
	keep     bool   // after this answer
	since    int64  // it is kept, Unix nanoseconds
}

// idle takes a connection that is kept to an endpoint, the youngest; nil if there is none. One for a request that must not be sent
// twice is looked at first: the endpoint may have closed it.
func (l *lane) idle(e *upstream.Endpoint, repeats bool) *wire {
	for list := l.kept[e]; len(list) > 0; list = l.kept[e] {
		w := list[len(list)-1]
		list[len(list)-1] = nil
		l.kept[e] = list[:len(list)-1]
		if !w.hangup && (repeats || !peeked(w.fd)) {
			return w
		}
		l.drop(&w.end)
	}
	return nil
}

// keepOrClose is at the end of an answer.
func (w *wire) keepOrClose() {
	l := w.lane
	list := l.kept[w.endpoint]
	w.end.session = nil
	if w.keep = w.keep && !(w.readable && peeked(w.fd)); !w.keep || w.hangup || w.endpoint.Gone() || len(list) >= mostKept {
		l.drop(&w.end)
		return
	}
	w.fresh, w.readable, w.since = false, false, l.now.UnixNano()
	l.kept[w.endpoint] = append(list, w)
}

// happened goes on with what waited for the endpoint's socket.
func (w *wire) happened(events uint32) {
	s := w.end.session
	if s == nil { // kept: whatever it says, nobody has asked
		if w.hangup || events&unix.EPOLLIN != 0 && peeked(w.fd) {
			w.forget()
		}
		w.readable = false
		return
	}
	if s.phase == connecting {
		s.connected(events)
		return
	}
	if len(w.out) > 0 && w.writable {
		n, ok := w.end.write(w.out)
		if w.out = w.out[n:]; len(w.out) == 0 {
			w.out = nil
		}
		if !ok {
			s.unsent()
			return
		}
	}
	if s.upload > 0 && len(w.out) == 0 && s.canRead() {
		s.pumpUp()
	}
	if s.wire == w && w.readable {
		w.read()
	}
}

// forget closes a connection that is kept.
func (w *wire) forget() {
	list := w.lane.kept[w.endpoint]
	for i := range list {
		if list[i] == w {
			copy(list[i:], list[i+1:])
			list[len(list)-1] = nil
			w.lane.kept[w.endpoint] = list[:len(list)-1]
			break
		}
	}
	w.lane.drop(&w.end)
}

// connected is when the attempt to connect has an outcome.
func (s *session) connected(events uint32) {
	w := s.wire
	failed, err := unix.GetsockoptInt(w.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	switch {
	case err != nil || failed != 0:
		s.unconnected()
	case events&unix.EPOLLOUT != 0:
		w.endpoint.Connected()
		s.reread()
		s.send()
	}
}

// send writes the request to the endpoint.
func (s *session) send() {
	l, w := s.lane, s.wire
	w.end.session = s
	s.target.counted.ok.Inc()
	s.phase = waiting
	l.out = l.composeRequest(l.out[:0], s)
	n, ok := w.end.write(l.out)
	if !ok {
		s.broken(false)
		return
	}
	if n < len(l.out) {
		w.out = append([]byte(nil), l.out[n:]...)
	}
	s.progress()
	if s.upload > 0 && len(w.out) == 0 && s.canRead() {
		s.pumpUp()
	}
}

// unsent is when the endpoint takes no more of the request. It may have answered before.
func (s *session) unsent() {
	w := s.wire
	s.unread = s.upload > 0
	if w.out, s.upload, s.last = nil, 0, true; w.readable {
		w.keep = false
		w.read()
		return
	}
	s.broken(false)
}

// pumpUp passes on what the client has sent of the body.
func (s *session) pumpUp() {
	l, w := s.lane, s.wire
	for turn := 0; s.upload > 0 && w != nil && len(w.out) == 0; turn++ {
		if turn == fair {
			l.again = append(l.again, s)
			break
		}
		n, ok := s.read(l.in[:min(int64(len(l.in)), s.upload)])
		if !ok {
			s.abort(statusClientGone)
			return
		}
		if n == 0 {
			break
		}
		s.upload -= int64(n)
		s.sent = true
		m, ok := w.end.write(l.in[:n])
		if !ok {
			s.unsent()
			return
		}
		if m < n {
			w.out = append([]byte(nil), l.in[m:n]...)
		}
	}
	s.progress()
}

// read passes on what the endpoint has answered.
func (w *wire) read() {
	s, l := w.end.session, w.lane
	for turn := 0; s != nil && s.wire == w && w.readable && !s.full(); turn++ {
		if turn == fair {
			l.again = append(l.again, s)
			break
		}
		had := copy(l.in, w.part)
		room := l.in[had:]
		if s.stream != nil {
			room = room[:min(len(room), s.stream.fits())]
		}
		n, ok := w.end.read(room)
		if n == 0 && ok {
			break
		}
		if !ok {
			s.cut()
			return
		}
		if s.phase == waiting {
			s.answer(l.in[:had+n])
		} else {
			s.passOn(l.in[:n])
		}
	}
	if s != nil && s.wire == w {
		s.progress()
	}
}

// cut is when the endpoint has closed the connection.
func (s *session) cut() {
	switch {
	case s.phase == waiting:
		s.broken(false)
	case s.body == http1.UntilClose:
		if s.stream != nil {
			s.stream.say(nil, true)
		}
		s.finish()
	default:
		s.abort(http.StatusBadGateway)
	}
}

// answer reads the answer's head, and passes on what is there of its body.
func (s *session) answer(b []byte) {
	l, w := s.lane, s.wire
	r := &l.response
	for {
		switch v := r.Parse(b, s.head); {
		case v == http1.Incomplete && len(b) < answerHead:
			w.part = append(w.part[:0], b...)
			return
		case v != http1.Whole || r.Status == http.StatusSwitchingProtocols:
			w.fresh = true // not for want of a connection
			s.broken(false)
			return
		}
		if r.Status >= 200 {
			break
		}
		b = b[r.Size:] // nobody has asked for what comes before the answer
	}
	w.part = nil
	s.phase, s.status, s.body, s.chunks = relaying, r.Status, r.Length, http1.Chunks{}
	w.keep = !r.Close
	if s.upload > 0 || r.Length == http1.UntilClose {
		s.last = true // the client's next request could not be told from the rest of this one
	}
	if s.stream != nil {
		s.stream.answered(b)
		return
	}
	l.out = l.composeAnswer(l.out[:0], b, s)
	n, done, ok := s.measure(b[r.Size:])
	l.out = append(l.out, b[r.Size:r.Size+n]...)
	w.keep = w.keep && r.Size+n == len(b)
	s.bytes += int64(n)
	s.consume()
	s.deliver(l.out, done, ok)
}

// measure returns how many bytes belong to the body, and whether it ends with them.
func (s *session) measure(b []byte) (n int, done, ok bool) {
	switch s.body {
	case http1.UntilClose:
		return len(b), false, true
	case http1.Chunked:
		return s.chunks.Scan(b)
	}
	n = int(min(s.body, int64(len(b))))
	s.body -= int64(n)
	return n, s.body == 0, true
}

// passOn passes a part of the body on.
func (s *session) passOn(b []byte) {
	if s.stream != nil {
		s.stream.passOn(b)
		return
	}
	n, done, ok := s.measure(b)
	s.wire.keep = s.wire.keep && n == len(b)
	s.bytes += int64(n)
	s.deliver(b[:n], done, ok)
}

func (s *session) deliver(b []byte, done, ok bool) {
	switch {
	case !s.write(b):
		s.abort(statusClientGone)
	case !ok:
		s.abort(http.StatusBadGateway)
	case done:
		s.finish()
	}
}

// consume forgets the request, which is not sent again, and keeps what the client has sent after it.
func (s *session) consume() {
	rest := copy(s.in, s.in[s.used:])
	s.in, s.used = s.in[:rest], 0
	if rest == 0 && s.upload == 0 {
		s.in = s.in[:0]
	}
}

// progress bounds the time until the next.
func (s *session) progress() {
	t := &s.plan.Timeouts
	switch {
	case s.full():
		s.until(idleTimeout) // the client does not read
	case s.upload > 0 && len(s.wire.out) == 0:
		s.until(headTimeout) // the client does not send
	case s.upload > 0 || len(s.wire.out) > 0:
		s.until(t.Send)
	default:
		s.until(t.Read)
	}
}

package l7

import (
	"net/http"
	"strconv"
	"time"

	"fairlead.dev/fairlead/network/l7/http2"
)

// finish is after an answer's last byte.
func (s *session) finish() {
	w := s.wire
	s.wire = nil
	s.endpoint.End()
	w.part = nil
	w.keep = w.keep && s.upload == 0 && len(w.out) == 0
	w.keepOrClose()
	s.account(w.endpoint.Text)
	s.endpoint = nil
	s.rested()
}

// rested is when the next request may come, or the connection is to end.
func (s *session) rested() {
	l := s.lane
	s.hard, s.attempt, s.deadline = 0, 0, 0
	s.rule, s.plan, s.target, s.line = nil, nil, nil, nil
	if s.stream != nil {
		s.stream.settle()
		return
	}
	s.phase = reading
	if s.last {
		s.phase = ending
	}
	switch {
	case len(s.out) > 0: // it goes on when that is written
		s.deadline = l.at(l.now.Add(idleTimeout).UnixNano())
	case s.last && (s.upload > 0 || s.unread):
		s.linger()
	case s.last:
		s.close()
	case len(s.in) > 0 || s.canRead() && s.tls != nil || s.readable:
		l.again = append(l.again, s)
	default:
		s.rest()
	}
}

// account counts the request.
func (s *session) account(endpoint string) {
	m := s.lane.e.metrics
	took := time.Since(s.begun)
	m.inFlight.Dec()
	s.target.counted.answered(m, s.status, took)
	if line := s.line; line != nil {
		line.Status, line.Bytes, line.Took, line.Endpoint, line.Tries = s.status, s.bytes, took.Seconds(), endpoint, s.tries
		s.lane.e.access.write(line)
	}
}

// fail answers the request with a status and a sentence.
func (s *session) fail(status int, sentence string) {
	if s.stream != nil {
		s.stream.fail(status, sentence)
		return
	}
	l := s.lane
	b := append(l.out[:0], "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(status), 10)
	b = append(append(append(b, ' '), http.StatusText(status)...), "\r\nServer: fairlead\r\n"...)
	if !dropped(s.target.response.drop, []byte("content-type")) {
		b = append(b, "Content-Type: text/plain; charset=utf-8\r\n"...)
	}
	b = append(b, s.target.response.lines...)
	b = append(b, l.date.at(l.now)...)
	s.last = s.last || s.upload > 0 || s.sent
	if s.last {
		b = append(b, "Connection: close\r\n"...)
	}
	b = append(b, "Content-Length: "...)
	b = append(strconv.AppendInt(b, int64(len(sentence)+1), 10), "\r\n\r\n"...)
	if !s.head {
		b = append(append(b, sentence...), '\n')
	}
	l.out = b
	s.status = status
	s.consume()
	s.account("")
	if !s.write(b) {
		s.close()
		return
	}
	s.rested()
}

// abort ends the connection in the middle of a request, so that the client does not take what it has for the whole.
func (s *session) abort(status int) {
	if s.stream != nil {
		s.stream.reset(http2.InternalError, status)
		return
	}
	s.leave()
	if s.plan != nil {
		s.status = status
		s.account("")
	}
	resetSocket(s.fd)
	s.phase = ending // without a word in TLS
	s.plan, s.line = nil, nil
	s.close()
}

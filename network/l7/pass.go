package l7

import (
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"fairlead.dev/fairlead/network/l7/http1"
	"fairlead.dev/fairlead/network/l7/http2"
	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/l7/upstream"
)

// Header, Parameter and Cookie make the lane route's Values, of the request that it has read last.
func (v *lane) Header(name string) (string, bool) {
	r := &v.request
	for i := range r.Fields {
		f := &r.Fields[i]
		if len(name) == f.NameEnd-f.Start && equalNames(f.Name(v.reading), name) {
			return text(f.Value(v.reading)), true
		}
	}
	return "", false
}

// Parameter is the first of a name in the query.
func (v *lane) Parameter(name string) (string, bool) { return parameter(text(v.request.Query), name) }

// Cookie is the first of a name.
func (v *lane) Cookie(name string) (string, bool) {
	r := &v.request
	for i := range r.Fields {
		f := &r.Fields[i]
		if http1.EqualFold(f.Name(v.reading), "cookie") {
			if value, is := cookieIn(text(f.Value(v.reading)), name); is {
				return value, true
			}
		}
	}
	return "", false
}

func equalNames(b []byte, name string) bool {
	for i, c := range b {
		d := name[i]
		if c != d && c|0x20 != d|0x20 {
			return false
		}
	}
	return true
}

// request finds out what a request is to meet. What is not for a lane goes to net/http.
func (s *session) request() {
	l := s.lane
	r := &l.request
	l.reading = s.in
	s.used = r.Size
	host, ok := hostOf(text(r.Host))
	path, is := route.PlainPath(text(r.Path))
	now := l.e.table.Load()
	entry := now.Entries[s.conn.point]
	if !ok || !is || entry == nil {
		s.handOver()
		return
	}
	listener := now.listener(entry, host)
	if listener == nil || listener.Hosts == nil || s.misdirected(listener) {
		s.handOver()
		return
	}
	l.asked = route.Request{Host: host, Method: text(r.Method), Path: path, Values: l}
	s.rule = listener.Hosts.Find(&l.asked)
	if s.rule == nil {
		s.handOver()
		return
	}
	s.plan = l.e.planOf(now, s.rule)
	if !s.plan.lean || s.plan.MaxBody > 0 && r.Length > s.plan.MaxBody || !s.plan.admits(s.conn.client.Addr()) {
		s.handOver()
		return
	}
	s.target = s.plan.choose()
	s.start()
}

func (s *session) misdirected(l *route.Listener) bool {
	own := s.conn.listener
	return own != nil && own.Misdirected && own.Name != l.Name
}

// start begins the exchange with a backend.
func (s *session) start() {
	l := s.lane
	r := &l.request
	l.e.metrics.inFlight.Inc()
	s.head, s.last, s.status, s.bytes, s.tries, s.tried = string(r.Method) == http.MethodHead, r.Close || l.closing, 0, 0, 0, s.tried[:0]
	s.repeats = s.plan.Retry.Unsafe || idempotent(text(r.Method))
	s.upload, s.sent = r.Length, false
	if have := int64(len(s.in) - s.used); have > 0 {
		part := min(have, s.upload)
		s.used += int(part)
		s.upload -= part
	}
	s.hard, s.attempt, s.deadline = 0, 0, 0
	if d := s.plan.Timeouts.Request; d > 0 {
		s.hard = s.begun.Add(d).UnixNano()
	}
	if s.line = nil; !s.plan.Quiet && l.e.access.wants() {
		s.line = s.note(r)
	}
	s.next()
}

// note is what the access log has of a request.
func (s *session) note(r *http1.Request) *entry {
	agent, _ := s.lane.Header("User-Agent")
	line := &entry{
		Time: s.begun.UTC(), Client: s.conn.client.String(), Method: string(r.Method), Scheme: schemeOf(s.conn), Host: string(r.Host),
		URI: string(r.Path), Proto: s.proto(), Agent: string([]byte(agent)), Rule: s.rule.Source.String(), Service: s.target.Service.String(),
		ID: string(r.ID),
	}
	if r.HasQuery {
		line.URI += "?" + string(r.Query)
	}
	return line
}

func (s *session) proto() string {
	if s.stream != nil {
		return "HTTP/2.0"
	}
	return "HTTP/1.1"
}

// next tries the next endpoint.
func (s *session) next() {
	l := s.lane
	c := &l.choice
	*c = upstream.Choice{Kind: s.plan.Balance.Kind, Not: s.tried, Now: l.now}
	e := s.target.pick(c)
	if e == nil && len(s.tried) > 0 {
		c.Not = nil // every endpoint was tried: again
		e = s.target.pick(c)
	}
	if e == nil {
		s.fail(http.StatusServiceUnavailable, "Service "+s.target.Service.String()+" has no ready endpoint for its port "+strconv.Itoa(int(s.target.Port)))
		return
	}
	s.tries++
	s.endpoint = e
	s.attempt = 0
	if d := s.plan.Timeouts.Backend; d > 0 {
		s.attempt = l.now.Add(d).UnixNano()
	}
	e.Begin()
	s.wire = l.idle(e, s.repeats)
	if s.wire != nil {
		s.send()
		return
	}
	s.connect()
}

// connect begins a new connection to the endpoint.
func (s *session) connect() {
	l := s.lane
	fd, err := dial(s.endpoint.Addr)
	if err != nil {
		s.unconnected()
		return
	}
	w := &wire{end: end{fd: fd}, lane: l, endpoint: s.endpoint, fresh: true}
	w.end.wire, w.end.session, s.wire = w, s, w
	if err := l.add(&w.end); err != nil {
		closeSocket(fd)
		w.fd = -1
		s.unconnected()
		return
	}
	s.phase = connecting
	s.until(s.target.dialect.Connect)
}

// until bounds the present phase.
func (s *session) until(d time.Duration) {
	at := s.hard
	if s.attempt != 0 && (at == 0 || s.attempt < at) {
		at = s.attempt
	}
	if d > 0 {
		if t := s.lane.now.Add(d).UnixNano(); at == 0 || t < at {
			at = t
		}
	}
	s.deadline = s.lane.at(at)
}

// unconnected is when no connection to the endpoint could be made.
func (s *session) unconnected() {
	s.endpoint.Failed(s.lane.now)
	s.target.counted.not.Inc()
	most := s.plan.Retry.Tries
	if most == 0 {
		most = defaultTries
	}
	e := s.leave()
	if s.plan.Retry.Never || s.tries > most {
		s.fail(http.StatusBadGateway, "no connection to an endpoint of Service "+s.target.Service.String()+" could be made")
		return
	}
	s.retry(e)
}

// retry tries another endpoint than one.
func (s *session) retry(not *upstream.Endpoint) {
	s.lane.e.metrics.retries.Inc()
	s.tried = append(s.tried, not)
	s.reread()
	s.next()
}

// reread has the lane know the session's request, in place of others that it has read since.
func (s *session) reread() {
	s.lane.request.Parse(s.in)
	s.lane.reading = s.in
}

// leave closes the connection to the endpoint, and is done with that.
func (s *session) leave() (e *upstream.Endpoint) {
	if w := s.wire; w != nil {
		s.wire = nil
		w.end.session = nil
		s.lane.drop(&w.end)
	}
	if e = s.endpoint; e != nil {
		s.endpoint = nil
		e.End()
	}
	return e
}

// broken is when the connection to the endpoint breaks before there is an answer, or the answer is none.
func (s *session) broken(slow bool) {
	retry := &s.plan.Retry
	stale := !s.wire.fresh && !slow // it was kept, and the endpoint has closed it
	wanted := stale || !slow && retry.OnError && s.tries <= retry.Tries || slow && retry.OnSlow && s.tries <= retry.Tries
	e := s.leave()
	switch {
	case wanted && s.repeats && !s.sent && !retry.Never && (s.hard == 0 || s.hard > s.lane.now.UnixNano()):
		if stale {
			s.again(e)
			return
		}
		s.retry(e)
	case slow:
		s.fail(http.StatusGatewayTimeout, "Service "+s.target.Service.String()+" took too long to answer")
	default:
		s.fail(http.StatusBadGateway, "an endpoint of Service "+s.target.Service.String()+" did not answer in HTTP")
	}
}

// again sends the request once more to the same endpoint, over a new connection.
func (s *session) again(e *upstream.Endpoint) {
	s.lane.e.metrics.retries.Inc()
	s.reread()
	s.endpoint = e
	e.Begin()
	s.connect()
}

// late is when a deadline has passed.
func (s *session) late() {
	switch {
	case s.phase == connecting && (s.hard == 0 || s.hard > s.lane.now.UnixNano()):
		s.unconnected()
	case s.phase == connecting:
		s.leave()
		s.fail(http.StatusGatewayTimeout, "Service "+s.target.Service.String()+" took too long to answer")
	case s.phase == waiting && len(s.wire.out) == 0 && s.upload == 0:
		s.broken(true)
	case s.phase == waiting:
		s.leave()
		s.fail(http.StatusGatewayTimeout, "Service "+s.target.Service.String()+" took too long to take the request")
	case s.phase == relaying:
		s.abort(http.StatusGatewayTimeout)
	case s.stream != nil:
		s.stream.reset(http2.Cancel, statusClientGone)
	default:
		s.close()
	}
}

// admits reports whether a client's address may.
func (p *plan) admits(a netip.Addr) bool {
	return !trusted(p.Deny, a) && (len(p.Allow) == 0 || trusted(p.Allow, a))
}

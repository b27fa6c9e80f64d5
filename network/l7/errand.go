package l7

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"

	"fairlead.dev/fairlead/network/l7/http2"
)

// errandHeld is how many bytes of an answer may wait for the client.
const errandHeld = 64 << 10

var errStreamGone = errors.New("the client has given up the request")

// errand is a request of a stream that a lane does not serve itself: Engine.serveHTTP does, in a goroutine, as with one that net/http has
// read. It is the body of that request and the ResponseWriter of its answer; what of both is the stream's the lane does.
type errand struct {
	lane   *lane
	mux    *mux
	stream *stream // the lane's; nil: it has ended
	ctx    context.Context
	cancel context.CancelFunc

	request *http.Request
	waits   bool // the client wants to be told to send the body
	header  http.Header
	head    http.Header // of the answer, once that is begun
	begun   bool
	status  int
	said    bool   // and was sent
	buffer  []byte // of the body, not sent

	mu      sync.Mutex
	changed sync.Cond
	in      []byte // that the client has sent of the body, and was not read
	after   error  // what follows in; nil: more
	trailer http.Header
	closed  bool // the body is not wanted any more
	unsent  int  // bytes that the lane has and the client has not taken
	gone    bool
}

// handOver has the request, whose head the lane has read last, be served by net/http's way.
func (st *stream) handOver() {
	m, l := st.of, st.lane
	l.giveBack(st.in)
	st.in, st.rule, st.plan = nil, nil, nil
	l.e.metrics.handed.Add(1)
	r, err := requestOf(&l.fields, st)
	if err != nil {
		st.reset(http2.ProtocolError, statusClientGone)
		return
	}
	e := &errand{lane: l, mux: m, stream: st, header: http.Header{}}
	e.changed.L = &e.mu
	e.ctx, e.cancel = context.WithCancel(context.WithValue(context.Background(), connectionKey{}, m.conn))
	if st.ended {
		e.after = io.EOF
	}
	if e.waits = hasToken(r.Header["Expect"], "100-continue"); e.waits {
		delete(r.Header, "Expect")
	}
	r.Body = e
	if st.ended {
		r.Body = http.NoBody
	}
	e.request = r.WithContext(e.ctx)
	st.errand = e
	m.running++
	l.e.errands.Go(e.run)
}

// requestOf is a request as net/http would have it.
func requestOf(h *http2.Head, st *stream) (*http.Request, error) {
	r := &http.Request{
		Method: h.Method, RequestURI: h.Path, Host: h.Authority, Proto: "HTTP/2.0", ProtoMajor: 2, Header: make(http.Header, len(h.Fields)),
		ContentLength: st.length, RemoteAddr: st.conn.client.String(),
	}
	if h.Method == http.MethodConnect {
		r.URL, r.RequestURI = &url.URL{Host: h.Authority}, h.Authority
	} else {
		u, err := url.ParseRequestURI(h.Path)
		if err != nil {
			return nil, err
		}
		r.URL = u
	}
	for _, f := range h.Fields {
		name := http.CanonicalHeaderKey(f.Name)
		if name != "Cookie" && name != "Trailer" {
			r.Header[name] = append(r.Header[name], f.Value)
		} else if name == "Trailer" {
			r.Trailer = announced(r.Trailer, f.Value)
		}
	}
	if cookie, is := h.Cookie(); is {
		r.Header["Cookie"] = []string{cookie}
	}
	return r, nil
}

// announced are trailers that a request speaks of.
func announced(all http.Header, list string) http.Header {
	for name := range strings.SplitSeq(list, ",") {
		name = http.CanonicalHeaderKey(strings.TrimSpace(name))
		if !httpguts.ValidTrailerHeader(name) {
			continue
		}
		if all == nil {
			all = http.Header{}
		}
		all[name] = nil
	}
	return all
}

// run serves the request.
func (e *errand) run() {
	defer e.lane.post(func() { e.mux.running-- })
	defer e.cancel()
	defer func() {
		mistake := recover()
		if mistake == nil {
			return
		}
		if mistake != http.ErrAbortHandler { //nolint:errorlint // as net/http compares
			e.lane.e.log.Error("a request was given up", "panic", mistake, "stack", string(debug.Stack()))
		}
		e.post(func(st *stream) { st.reset(http2.InternalError, statusClientGone) })
	}()
	e.lane.e.serveHTTP(e, e.request)
	e.finish()
}

// post has the lane do something with the stream, if that has not ended.
func (e *errand) post(f func(*stream)) {
	e.lane.post(func() {
		if st := e.stream; st != nil {
			e.lane.guarded(&st.end, func() { f(st) })
		}
	})
}

// feed is the lane's: a part of the body.
func (e *errand) feed(b []byte, ends bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		e.mux.pass(e.stream, len(b))
	} else {
		e.in = append(e.in, b...)
	}
	if ends {
		e.after = io.EOF
	}
	e.changed.Broadcast()
}

// trailers is the lane's: what follows the body.
func (e *errand) trailers(h *http2.Head) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.trailer = http.Header{}
	for _, f := range h.Fields {
		name := http.CanonicalHeaderKey(f.Name)
		e.trailer[name] = append(e.trailer[name], f.Value)
	}
}

// leave is the lane's: the stream has ended.
func (e *errand) leave() {
	e.stream = nil
	e.cancel()
	e.mu.Lock()
	defer e.mu.Unlock()
	e.mux.pass(nil, len(e.in))
	e.in, e.gone = nil, true
	if e.after == nil {
		e.after = errStreamGone
	}
	e.changed.Broadcast()
}

// sent is the lane's: the client was sent some bytes of the answer.
func (e *errand) sent(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.unsent -= n
	e.changed.Broadcast()
}

// Read reads the body of the request.
func (e *errand) Read(b []byte) (n int, err error) {
	if e.waits {
		e.waits = false
		e.early(http.StatusContinue, nil)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for len(e.in) == 0 && e.after == nil && !e.closed {
		e.changed.Wait()
	}
	switch {
	case e.closed:
		return 0, http.ErrBodyReadAfterClose
	case len(e.in) == 0:
		for name, values := range e.trailer {
			if _, is := e.request.Trailer[name]; is {
				e.request.Trailer[name] = values
			}
		}
		return 0, e.after
	}
	n = copy(b, e.in)
	if e.in = e.in[n:]; len(e.in) == 0 {
		e.in = nil
	}
	e.lane.post(func() { e.mux.pass(e.stream, n) })
	return n, nil
}

// Close is when the rest of the body is not wanted.
func (e *errand) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if n := len(e.in); n > 0 {
		e.lane.post(func() { e.mux.pass(e.stream, n) })
	}
	e.in, e.closed = nil, true
	e.changed.Broadcast()
	return nil
}

// Header is the answer's.
func (e *errand) Header() http.Header { return e.header }

// WriteHeader says the status.
func (e *errand) WriteHeader(status int) {
	switch {
	case e.begun:
	case status < 200:
		e.early(status, e.header)
	default:
		e.begun, e.status, e.head = true, status, e.header.Clone() // what is said later is trailers, or nothing
	}
}

// early sends an answer before the answer.
func (e *errand) early(status int, h http.Header) {
	fields := appendHeader(http2.AppendStatus(nil, status), h)
	e.post(func(st *stream) { st.of.answer(st, fields, false) })
}

// bare reports whether the answer has no body.
func (e *errand) bare() bool {
	return e.request.Method == http.MethodHead || e.status == http.StatusNoContent || e.status == http.StatusNotModified
}

// Write writes to the body.
func (e *errand) Write(b []byte) (int, error) {
	if !e.begun {
		e.WriteHeader(http.StatusOK)
	}
	if e.request.Method == http.MethodHead {
		return len(b), nil
	}
	if e.bare() {
		return 0, http.ErrBodyNotAllowed
	}
	if e.buffer = append(e.buffer, b...); len(e.buffer) < portion/8 {
		return len(b), nil
	}
	return len(b), e.FlushError()
}

// FlushError sends what was written.
func (e *errand) FlushError() error {
	if !e.begun {
		e.WriteHeader(http.StatusOK)
	}
	body := e.buffer
	e.buffer = nil
	fields := e.fields()
	e.mu.Lock()
	for e.unsent >= errandHeld && !e.gone {
		e.changed.Wait()
	}
	e.unsent += len(body)
	gone := e.gone
	e.mu.Unlock()
	if gone {
		return errStreamGone
	}
	e.post(func(st *stream) {
		if fields != nil {
			st.of.answer(st, fields, false)
		}
		if len(body) > 0 {
			st.say(body, false)
		}
	})
	return nil
}

// fields are those of the answer, once.
func (e *errand) fields() []byte {
	if e.said {
		return nil
	}
	e.said = true
	if _, is := e.head["Date"]; !is {
		e.head["Date"] = []string{time.Now().UTC().Format(http.TimeFormat)}
	}
	return appendHeader(http2.AppendStatus(nil, e.status), e.head)
}

// finish sends the end of the answer.
func (e *errand) finish() {
	if !e.begun {
		e.WriteHeader(http.StatusOK)
	}
	if _, is := e.head["Content-Length"]; !is && !e.said && !e.bare() {
		e.head["Content-Length"] = []string{strconv.Itoa(len(e.buffer))}
	}
	body, fields, tail := e.buffer, e.fields(), e.tail()
	e.mu.Lock()
	e.unsent += len(body)
	e.mu.Unlock()
	e.post(func(st *stream) {
		ends := len(body) == 0 && tail == nil
		if fields != nil {
			st.of.answer(st, fields, ends)
		}
		if st.tail = tail; !st.said {
			st.say(body, true)
		}
		st.settle()
	})
}

// tail are the trailers of the answer: those that were announced, and those that are marked.
func (e *errand) tail() (fields []byte) {
	for _, name := range strings.Split(strings.Join(e.header["Trailer"], ","), ",") {
		name = http.CanonicalHeaderKey(strings.TrimSpace(name))
		for _, v := range e.header[name] {
			fields = appendValid(fields, name, v)
		}
	}
	for name, values := range e.header {
		if name, is := strings.CutPrefix(name, http.TrailerPrefix); is {
			for _, v := range values {
				fields = appendValid(fields, http.CanonicalHeaderKey(name), v)
			}
		}
	}
	return fields
}

// appendHeader appends fields.
func appendHeader(b []byte, h http.Header) []byte {
	for name, values := range h {
		switch name {
		case "Connection", "Keep-Alive", "Proxy-Connection", "Transfer-Encoding", "Upgrade":
			continue // of HTTP/1.1
		}
		for _, v := range values {
			if !strings.HasPrefix(name, http.TrailerPrefix) {
				b = appendValid(b, name, v)
			}
		}
	}
	return b
}

func appendValid(b []byte, name, value string) []byte {
	if httpguts.ValidHeaderFieldName(name) && httpguts.ValidHeaderFieldValue(value) {
		return http2.AppendField(b, name, strings.TrimSpace(value))
	}
	return b
}

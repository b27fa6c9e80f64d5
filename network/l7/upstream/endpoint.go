package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// How long an endpoint is left alone after a failed connection: the first time, doubled with each further one.
const (
	firstPause = 100 * time.Millisecond
	lastPause  = 30 * time.Second
)

// Endpoint is one of a pool's, with what was seen of it.
type Endpoint struct {
	Addr netip.AddrPort
	ID   string // tells it from the pool's others, and tells a client nothing
	Text string // Addr

	hash     uint64
	active   atomic.Int32 // requests under way
	failures atomic.Int32 // connections in a row
	retryAt  atomic.Int64 // Unix nanoseconds; 0: connections do not fail
	gone     atomic.Bool

	transports sync.Map // *Dialect -> *http.Transport
}

func newEndpoint(k Key, addr netip.AddrPort) *Endpoint {
	h := Hash(k.Service.String() + "/" + strconv.Itoa(int(k.Port)) + "/" + addr.String())
	return &Endpoint{Addr: addr, ID: fmt.Sprintf("%016x", mix(h)), Text: addr.String(), hash: h}
}

// available reports whether a request may go to it now. When the pause after a failure is over, that is true for one caller, who
// finds out, and the next pause begins for all others.
func (e *Endpoint) available(now time.Time) bool {
	at := e.retryAt.Load()
	return at == 0 || at <= now.UnixNano() && e.retryAt.CompareAndSwap(at, now.Add(e.pause()).UnixNano())
}

func (e *Endpoint) pause() time.Duration {
	n := min(max(e.failures.Load()-1, 0), 16)
	return min(firstPause<<n, lastPause)
}

// Failed is told of a connection that could not be made.
func (e *Endpoint) Failed(now time.Time) {
	e.failures.Add(1)
	e.retryAt.Store(now.Add(e.pause()).UnixNano())
}

// Connected is told of a connection that was made.
func (e *Endpoint) Connected() {
	if e.retryAt.Load() != 0 {
		e.failures.Store(0)
		e.retryAt.Store(0)
	}
}

// Failing reports whether the last connection to it failed.
func (e *Endpoint) Failing() bool { return e.retryAt.Load() != 0 }

// Begin and End are the limits of a request.
func (e *Endpoint) Begin() { e.active.Add(1) }

// End is after the answer's last byte.
func (e *Endpoint) End() {
	if e.active.Add(-1) == 0 && e.gone.Load() {
		e.closeIdle()
	}
}

// Gone reports whether the endpoint has left its Service: no connection to it is kept.
func (e *Endpoint) Gone() bool { return e.gone.Load() }

func (e *Endpoint) leave() {
	e.gone.Store(true)
	e.closeIdle()
}

func (e *Endpoint) closeIdle() {
	e.transports.Range(func(_, t any) bool {
		t.(*http.Transport).CloseIdleConnections()
		return true
	})
}

// ConnectError is a connection that could not be made: nothing of a request was sent.
type ConnectError struct {
	Endpoint *Endpoint
	Err      error
}

func (e *ConnectError) Error() string {
	return fmt.Sprintf("cannot connect to endpoint %s: %v", e.Endpoint.Text, e.Err)
}

func (e *ConnectError) Unwrap() error { return e.Err }

// KeepAlive is how connections that rest are asked whether the other end is there still: who is gone without a word is noticed after two
// minutes.
var KeepAlive = net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 15 * time.Second, Count: 4}

// Dial makes a new connection, plain. An error is a *ConnectError and counts against the endpoint, unless the caller gave up.
func (e *Endpoint) Dial(ctx context.Context, timeout time.Duration) (net.Conn, error) {
	d := net.Dialer{Timeout: timeout, KeepAliveConfig: KeepAlive}
	conn, err := d.DialContext(ctx, "tcp", e.Text)
	if err != nil {
		if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
			e.Failed(time.Now())
		}
		return nil, &ConnectError{e, err}
	}
	e.Connected()
	return conn, nil
}

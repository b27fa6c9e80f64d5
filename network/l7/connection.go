package l7

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/netip"
	"strings"
	"time"

	"fairlead.dev/fairlead/network/l7/proxyproto"
	"fairlead.dev/fairlead/network/l7/route"
)

// How long a client may take before its first request.
const handshakeTimeout = 10 * time.Second

// connection is a client's, with what is known of it from its beginning. Reads first give what was read of it before.
type connection struct {
	net.Conn
	before   []byte // was read of it, and is to be read again
	point    route.Point
	client   netip.AddrPort // who PROXY protocol says it is, if that is believed
	secure   bool
	sni      string // in lower case
	listener *route.Listener
	asked    bool                // for a certificate
	shown    []*x509.Certificate // by the client, its own first
	verified *verified           // what came of looking at them
	seat     *seat
}

// Close ends the connection, whose place another of its client may have.
func (c *connection) Close() error {
	c.seat.leave()
	return c.Conn.Close()
}

func (c *connection) Read(b []byte) (int, error) {
	if len(c.before) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.before)
	c.before = c.before[n:]
	return n, nil
}

// CloseWrite says to the client that nothing more follows.
func (c *connection) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return c.Close()
}

// converse serves one connection, and closes it; it may return before that.
func (e *Engine) converse(c *connection) {
	if !e.track(c, true) {
		_ = c.Close()
		return
	}
	kept := e.begin(c)
	e.track(c, false)
	if !kept {
		_ = c.Close() // it has ended, or was never one
	}
}

// track notes a connection or forgets it; false if the engine takes none any more.
func (e *Engine) track(c *connection, is bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if is && e.closing {
		return false
	}
	if is {
		e.open[c] = true
	} else {
		delete(e.open, c)
	}
	return true
}

// begin finds out what a connection is and serves it, or hands it on (then it is true).
func (e *Engine) begin(c *connection) (handedOn bool) {
	entry := e.table.Load().Entries[c.point]
	if entry == nil {
		e.log.Debug("nothing is served here", "point", c.point, "client", c.client)
		return false
	}
	_ = c.SetDeadline(time.Now().Add(handshakeTimeout)) // a connection that is closed says so when it is read
	if trusted(entry.ProxyFrom, c.client.Addr()) {
		if err := c.readProxy(); err != nil {
			e.log.Debug("a connection does not begin with PROXY protocol", "client", c.client, "err", err)
			return false
		}
		var may bool
		if c.seat, may = e.crowd.enter(c.client.Addr(), e.each); !may {
			e.log.Debug("a client has as many connections as it may", "client", c.client, "most", e.each)
			return false
		}
	}
	switch entry.Protocol {
	case route.HTTP:
		_ = c.SetDeadline(time.Time{})
		return e.queue.put(c)
	case route.TCP:
		e.stream(c, firstStream(entry), "")
		return false
	}
	return e.beginTLS(c, entry)
}

// readProxy reads the header of PROXY protocol.
func (c *connection) readProxy() error {
	r := bufio.NewReader(c.Conn)
	from, err := proxyproto.Read(r)
	if err != nil {
		return err
	}
	if from.IsValid() {
		c.client = from
	}
	c.before, err = r.Peek(r.Buffered())
	return err
}

func firstStream(entry *route.Entry) *route.Stream {
	for _, l := range entry.Listeners {
		if len(l.Streams) > 0 {
			return &l.Streams[0]
		}
	}
	return nil
}

// beginTLS ends TLS, or passes it through where the listener of its SNI says so.
func (e *Engine) beginTLS(c *connection, entry *route.Entry) (handedOn bool) {
	if passesThrough(entry) {
		hello, err := peekHello(c)
		if err != nil {
			e.log.Debug("a connection does not begin with TLS", "client", c.client, "err", err)
			return false
		}
		l := e.table.Load().listener(entry, strings.ToLower(hello.ServerName))
		if l == nil {
			return false
		}
		if l.TLS == nil {
			sni := strings.ToLower(hello.ServerName)
			e.stream(c, e.table.Load().stream(l, sni), sni)
			return false
		}
	}
	secure := tls.Server(c, e.tls)
	ctx, cancel := context.WithTimeout(context.Background(), handshakeTimeout)
	defer cancel()
	if err := secure.HandshakeContext(ctx); err != nil {
		e.metrics.handshakes.Inc()
		e.log.Debug("a TLS handshake failed", "client", c.client, "err", err)
		return false
	}
	_ = c.SetDeadline(time.Time{})
	c.secure, c.shown, c.verified = true, secure.ConnectionState().PeerCertificates, &verified{}
	switch {
	case c.listener.Hosts == nil:
	case e.noLanes:
		return e.queue.put(secure)
	default:
		e.ride(c, secure)
		return true
	}
	e.stream(&connection{seat: c.seat, Conn: secure, point: c.point, client: c.client, secure: true, sni: c.sni}, e.table.Load().stream(c.listener, c.sni), c.sni)
	return false
}

func trusted(list []netip.Prefix, a netip.Addr) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"fairlead.dev/fairlead/network/dns/zone"
)

const (
	maxConns    = 256              // open at once; another one is closed on arrival
	maxConnsOf  = 32               // of one client
	maxPipeline = 32               // queries of one connection waiting for upstream servers
	idleTimeout = 10 * time.Second // RFC 7766, 6.2.3: seconds, not minutes
	sendTimeout = 2 * time.Second
)

// serveTCP accepts connections until ctx is done, and returns when all of them are closed.
func (s *Server) serveTCP(ctx, asking context.Context, l net.Listener) error {
	var open sync.WaitGroup
	defer open.Wait()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	conns := newConnLimit()
	t := s.count("tcp", addrOf(l.Addr()))
	for {
		c, err := l.Accept()
		if err != nil {
			var temporary interface{ Temporary() bool }
			if ctx.Err() == nil && errors.As(err, &temporary) && temporary.Temporary() {
				time.Sleep(5 * time.Millisecond) // out of file descriptors, for example
				continue
			}
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		client := addrOf(c.RemoteAddr())
		if !conns.take(client) {
			c.Close()
			continue
		}
		open.Go(func() {
			defer conns.leave(client)
			s.serveConn(ctx, asking, c, t)
		})
	}
}

// connLimit is the connections there may be at once. No client can take them from all others.
type connLimit struct {
	mu    sync.Mutex
	taken int
	of    map[netip.Addr]int // by client
}

func newConnLimit() *connLimit { return &connLimit{of: map[netip.Addr]int{}} }

// take reports whether there was a place for the client.
func (p *connLimit) take(client netip.Addr) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.taken >= maxConns || p.of[client] >= maxConnsOf {
		return false
	}
	p.taken++
	p.of[client]++
	return true
}

func (p *connLimit) leave(client netip.Addr) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken--
	if p.of[client]--; p.of[client] == 0 {
		delete(p.of, client)
	}
}

// stream is a TCP connection on which several goroutines reply.
type stream struct {
	net.Conn
	mu      sync.Mutex
	waiting chan struct{} // one token for each query handed upstream
}

// serveConn answers the queries of a connection until the client or ctx ends it, and closes it when those
// it has read are answered.
func (s *Server) serveConn(ctx, asking context.Context, c net.Conn, t *counters) {
	defer c.Close()
	st := &stream{Conn: c, waiting: make(chan struct{}, maxPipeline)}
	defer func() {
		for range maxPipeline { // until every token is back
			st.waiting <- struct{}{}
		}
	}()
	defer context.AfterFunc(ctx, func() { c.SetReadDeadline(time.Now()) })()
	in := make([]byte, inputSize)
	w := zone.Response{Buf: make([]byte, 0, 4096)}
	var r zone.Request
	peer := addrOf(c.RemoteAddr())
	for {
		c.SetReadDeadline(time.Now().Add(idleTimeout))
		if ctx.Err() != nil {
			return
		}
		msg, err := readFrame(c, in)
		if err != nil {
			return
		}
		rcode, ok := r.Parse(msg)
		if !ok {
			return // not a client
		}
		begin, by := time.Now(), byZone
		t.asked(&r)
		z := s.zone.Load()
		out := z.Respond(&r, rcode, &w, zone.MaxTCP)
		if rcode == zone.RcodeSuccess && s.behind(z) && z.Concerns(&r) {
			out = zone.Outdated
		}
		if out != zone.Reply || s.cfg.Searches != nil {
			if out == zone.Forward || out == zone.Chase {
				by = byCache
			}
			st.waiting <- struct{}{}
			now := s.complete(asking, &r, &w, out, zone.MaxTCP, peer, func(b []byte) {
				st.send(b)
				t.answered(b, sender(b))
				t.lasted(time.Since(begin), 1)
				<-st.waiting
			})
			if now == nil {
				continue
			}
			<-st.waiting
		}
		t.answered(w.Buf, by)
		t.lasted(time.Since(begin), 1)
		if st.send(w.Buf) != nil {
			return
		}
	}
}

// addrOf is the address of a socket.
func addrOf(a net.Addr) netip.Addr {
	p, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr().Unmap()
}

// readFrame reads a message with its two-byte length in front into buf.
func readFrame(c io.Reader, buf []byte) ([]byte, error) {
	if _, err := io.ReadFull(c, buf[:2]); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint16(buf))
	if n > len(buf) {
		return nil, fmt.Errorf("message of %d bytes is longer than %d", n, len(buf))
	}
	_, err := io.ReadFull(c, buf[:n])
	return buf[:n], err
}

// send writes one message with its length. Replies may overtake each other (RFC 7766, 6.2.1.1).
func (st *stream) send(b []byte) error {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.SetWriteDeadline(time.Now().Add(sendTimeout))
	var length [2]byte
	binary.BigEndian.PutUint16(length[:], uint16(len(b)))
	vec := net.Buffers{length[:], b}
	_, err := vec.WriteTo(st.Conn)
	return err
}

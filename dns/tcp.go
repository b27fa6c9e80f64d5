package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	maxConns    = 256              // open at once; another one is closed on arrival
	maxPipeline = 32               // queries of one connection waiting for upstream servers
	idleTimeout = 10 * time.Second // RFC 7766, 6.2.3: seconds, not minutes
	sendTimeout = 2 * time.Second
)

// serveTCP accepts connections until ctx is done, and returns when all of them are closed.
func (s *Server) serveTCP(ctx context.Context, l net.Listener) error {
	var open sync.WaitGroup
	defer open.Wait()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	places := make(chan struct{}, maxConns)
	for {
		c, err := l.Accept()
		if err != nil {
			var temporary interface{ Temporary() bool }
			if ctx.Err() == nil && errors.As(err, &temporary) && temporary.Temporary() {
				time.Sleep(5 * time.Millisecond) // out of file descriptors, for example
				continue
			}
			return closing(ctx, err)
		}
		select {
		case places <- struct{}{}:
		default:
			c.Close()
			continue
		}
		open.Go(func() {
			defer func() { <-places }()
			s.serveConn(ctx, c)
		})
	}
}

// stream is a TCP connection on which several goroutines reply.
type stream struct {
	net.Conn
	mu      sync.Mutex
	waiting chan struct{} // one token for each query handed upstream
}

func (s *Server) serveConn(ctx context.Context, c net.Conn) {
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	st := &stream{Conn: c, waiting: make(chan struct{}, maxPipeline)}
	in := make([]byte, inputSize)
	w := response{buf: make([]byte, 0, 4096)}
	var r request
	for {
		c.SetReadDeadline(time.Now().Add(idleTimeout))
		msg, err := readFrame(c, in)
		if err != nil {
			return
		}
		rcode, ok := r.parse(msg)
		if !ok {
			return // not a client
		}
		out := s.zone.Load().respond(&r, rcode, &w, maxTCP)
		if out == reply {
			err = st.send(w.buf)
		} else {
			st.waiting <- struct{}{}
			s.elsewhere(ctx, &r, &w, out, maxTCP, func(b []byte) {
				st.send(b)
				<-st.waiting
			})
		}
		if err != nil {
			return
		}
	}
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

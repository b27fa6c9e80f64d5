package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	batchSize = 32   // messages per system call
	inputSize = 2048 // a query is far smaller; a longer one is cut and then does not parse
)

// mmsghdr is the kernel's struct of that name (recvmmsg(2)): one message and how long it was.
type mmsghdr struct {
	unix.Msghdr
	length uint32
}

// mailbox receives and sends up to batchSize messages with one system call each. Everything it needs
// is allocated once.
type mailbox struct {
	raw   syscall.RawConn
	count int   // messages received
	err   error // of the last system call

	in       [batchSize]mmsghdr
	inputs   [batchSize][inputSize]byte
	peers    [batchSize]unix.RawSockaddrInet6 // large enough for IPv4 too
	inVecs   [batchSize]unix.Iovec
	out      [batchSize]mmsghdr
	outVecs  [batchSize]unix.Iovec
	queued   int
	received func(fd uintptr) bool
	flushed  func(fd uintptr) bool
}

func newMailbox(c *net.UDPConn) (*mailbox, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	m := &mailbox{raw: raw}
	m.received, m.flushed = m.recv, m.send
	for i := range m.in {
		m.inVecs[i].Base = &m.inputs[i][0]
		m.inVecs[i].SetLen(inputSize)
		h := &m.in[i]
		h.Iov, h.Name = &m.inVecs[i], (*byte)(unsafe.Pointer(&m.peers[i]))
		h.SetIovlen(1)
		m.out[i].Iov, m.out[i].Name = &m.outVecs[i], h.Name
		m.out[i].SetIovlen(1)
	}
	return m, nil
}

// receive blocks until there are messages: message(i) for i below count.
func (m *mailbox) receive() error {
	m.queued, m.count = 0, 0
	for i := range m.in {
		m.in[i].Namelen = unix.SizeofSockaddrInet6
	}
	if err := m.raw.Read(m.received); err != nil {
		return err
	}
	return m.err
}

func (m *mailbox) recv(fd uintptr) bool {
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&m.in[0])), batchSize, unix.MSG_DONTWAIT, 0, 0)
	switch errno {
	case 0:
		m.count, m.err = int(n), nil
	case unix.EAGAIN, unix.EINTR:
		m.count = 0
		return false
	case unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH:
		m.count, m.err = 0, nil // an earlier reply did not arrive; nothing is wrong with this socket
	default:
		m.count, m.err = 0, errno
	}
	return true
}

func (m *mailbox) message(i int) []byte { return m.inputs[i][:m.in[i].length] }

// peer is the sender of message i.
func (m *mailbox) peer(i int) netip.AddrPort {
	p := &m.peers[i]
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&p.Port))[:])
	if p.Family == unix.AF_INET {
		p4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(p))
		return netip.AddrPortFrom(netip.AddrFrom4(p4.Addr), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(p.Addr).Unmap(), port)
}

// queue has b sent to the sender of message i by the next flush. b must stay as it is until then.
func (m *mailbox) queue(i int, b []byte) {
	h := &m.out[m.queued]
	h.Name, h.Namelen = m.in[i].Name, m.in[i].Namelen
	m.outVecs[m.queued].Base = &b[0]
	m.outVecs[m.queued].SetLen(len(b))
	m.queued++
}

// flush sends what is queued. A reply the kernel refuses is lost, as on any network.
func (m *mailbox) flush() error {
	if m.queued == 0 {
		return nil
	}
	m.count = 0
	return m.raw.Write(m.flushed)
}

func (m *mailbox) send(fd uintptr) bool {
	for m.count < m.queued {
		n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&m.out[m.count])), uintptr(m.queued-m.count), unix.MSG_DONTWAIT, 0, 0)
		switch errno {
		case 0:
			m.count += int(n)
		case unix.EAGAIN:
			return false
		case unix.EINTR:
		default:
			m.count++ // the first of them; the rest may do better
		}
	}
	return true
}

// serveUDP answers on one socket until ctx is done.
func (s *Server) serveUDP(ctx context.Context, c *net.UDPConn) error {
	m, err := newMailbox(c)
	if err != nil {
		return fmt.Errorf("dns: %w", err)
	}
	defer context.AfterFunc(ctx, func() { m.retire(c) })()
	var r request
	outputs := make([]response, batchSize)
	for i := range outputs {
		outputs[i] = response{buf: make([]byte, 0, maxUDP), turn: uint32(i)}
	}
	for {
		if err := m.receive(); err != nil {
			return closing(ctx, err)
		}
		zone := s.zone.Load()
		for i := range m.count {
			rcode, ok := r.parse(m.message(i))
			if !ok {
				continue
			}
			w := &outputs[i]
			if out := zone.respond(&r, rcode, w, r.limit()); out == reply {
				m.queue(i, w.buf)
			} else {
				peer := m.peer(i)
				s.elsewhere(ctx, &r, w, out, r.limit(), func(b []byte) { c.WriteToUDPAddrPort(b, peer) })
			}
		}
		if err := m.flush(); err != nil {
			return closing(ctx, err)
		}
	}
}

// retire takes the socket out of the group that shares the address, so that a restart loses nothing: a
// connected socket is given nothing but its peer's messages, and this one is connected to itself. What
// it was given before is answered in the time that is left.
func (m *mailbox) retire(c *net.UDPConn) {
	m.raw.Control(func(fd uintptr) {
		if self, err := unix.Getsockname(int(fd)); err == nil {
			unix.Connect(int(fd), self)
		}
	})
	c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
}

// closing is nil when err only says that ctx's end closed or retired the socket.
func closing(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded)) {
		return nil
	}
	return fmt.Errorf("dns: %w", err)
}

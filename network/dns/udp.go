package dns

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/network/dns/zone"
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

// batchConn receives and sends up to batchSize messages with one system call each. Everything it needs
// is allocated once.
type batchConn struct {
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

func newBatchConn(c *net.UDPConn) (*batchConn, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	m := &batchConn{raw: raw}
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
func (m *batchConn) receive() error {
	m.queued, m.count = 0, 0
	if err := m.raw.Read(m.received); err != nil {
		return err
	}
	return m.err
}

func (m *batchConn) recv(fd uintptr) bool {
	for i := range m.in {
		m.in[i].Namelen = unix.SizeofSockaddrInet6
	}
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&m.in[0])), batchSize, unix.MSG_DONTWAIT, 0, 0)
	switch errno {
	case 0:
		m.count, m.err = int(n), nil
	case unix.EAGAIN, unix.EINTR:
		m.count, m.err = 0, nil
		return false
	case unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH:
		m.count, m.err = 0, nil // an earlier reply did not arrive; nothing is wrong with this socket
	default:
		m.count, m.err = 0, errno
	}
	return true
}

func (m *batchConn) message(i int) []byte { return m.inputs[i][:m.in[i].length] }

// peer is the sender of message i.
func (m *batchConn) peer(i int) netip.AddrPort {
	p := &m.peers[i]
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&p.Port))[:])
	if p.Family == unix.AF_INET {
		p4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(p))
		return netip.AddrPortFrom(netip.AddrFrom4(p4.Addr), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(p.Addr).Unmap(), port)
}

// queue has b sent to the sender of message i by the next flush. b must stay as it is until then.
func (m *batchConn) queue(i int, b []byte) {
	h := &m.out[m.queued]
	h.Name, h.Namelen = m.in[i].Name, m.in[i].Namelen
	m.outVecs[m.queued].Base = &b[0]
	m.outVecs[m.queued].SetLen(len(b))
	m.queued++
}

// flush sends what is queued. A reply the kernel refuses is lost, as on any network.
func (m *batchConn) flush() error {
	if m.queued == 0 {
		return nil
	}
	m.count = 0
	return m.raw.Write(m.flushed)
}

func (m *batchConn) send(fd uintptr) bool {
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

// udpSocket is one UDP socket being answered on.
type udpSocket struct {
	*batchConn
	s        *Server
	c        *net.UDPConn
	counters *counters
	request  zone.Request
	outputs  []zone.Response
}

// serveUDP answers on one socket until ctx is done. Questions for upstream servers are asked under asking,
// which ends later.
func (s *Server) serveUDP(ctx, asking context.Context, c *net.UDPConn) error {
	m, err := newBatchConn(c)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { m.retire(c) })()
	u := &udpSocket{batchConn: m, s: s, c: c, counters: s.count("udp", addrOf(c.LocalAddr())), outputs: make([]zone.Response, batchSize)}
	for i := range u.outputs {
		u.outputs[i] = zone.Response{Buf: make([]byte, 0, zone.MaxUDP), Turn: uint32(i)}
	}
	for {
		err := m.receive()
		if err == nil {
			err = u.answer(asking)
		}
		if err != nil && ctx.Err() != nil {
			return u.drain(asking)
		}
		if err != nil {
			return err
		}
	}
}

// drain answers what the retired socket was given before.
func (u *udpSocket) drain(asking context.Context) error {
	for {
		u.queued, u.count = 0, 0
		if err := u.raw.Control(func(fd uintptr) { u.recv(fd) }); err != nil || u.err != nil || u.count == 0 {
			return nil
		}
		if err := u.answer(asking); err != nil {
			return nil
		}
	}
}

// answer replies to the messages received.
func (u *udpSocket) answer(asking context.Context) error {
	begin, z, r := time.Now(), u.s.zone.Load(), &u.request
	behind := u.s.behind(z)
	for i := range u.count {
		rcode, ok := r.Parse(u.message(i))
		if !ok {
			continue
		}
		u.counters.asked(r)
		w, by := &u.outputs[i], byZone
		out := z.Respond(r, rcode, w, r.Limit())
		if behind && rcode == zone.RcodeSuccess && z.Concerns(r) {
			out = zone.Outdated
		}
		if out != zone.Reply || u.s.cfg.Searches != nil {
			peer := u.peer(i)
			send := func(b []byte) {
				u.c.WriteToUDPAddrPort(b, peer)
				u.counters.answered(b, sender(b))
				u.counters.lasted(time.Since(begin), 1)
			}
			if u.s.complete(asking, r, w, out, r.Limit(), peer.Addr(), send) == nil {
				continue
			}
			if out == zone.Forward || out == zone.Chase {
				by = byCache
			}
		}
		u.counters.answered(w.Buf, by)
		u.queue(i, w.Buf)
	}
	if u.queued > 0 {
		u.counters.lasted(time.Since(begin), u.queued)
	}
	return u.flush()
}

// retire takes the socket out of the group that shares the address, so that a restart loses nothing: a
// connected socket is given nothing but its peer's messages, and this one is connected to itself. What
// it was given before is still there to be read, also what a processor is about to put there.
func (m *batchConn) retire(c *net.UDPConn) {
	m.raw.Control(func(fd uintptr) {
		if self, err := unix.Getsockname(int(fd)); err == nil {
			unix.Connect(int(fd), self)
		}
	})
	c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
}

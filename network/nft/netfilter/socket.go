// Package netfilter talks to the kernel's netfilter by netlink: whole transactions of nf_tables, and single questions. What is said is
// the callers', in the words of package wire.
package netfilter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/network/nft/wire"
)

// Socket is a netfilter netlink socket. A whole batch of nf_tables messages
// has to reach the kernel in one datagram to be one transaction, and a large
// table is tens of megabytes, so this talks to the socket directly: one buffer,
// one send, and the acknowledgements that are there when it returns.
type Socket struct {
	fd int

	mu  sync.Mutex // guards below; one request at a time
	seq uint32
	in  []byte
}

// Dial opens a netfilter socket in the calling thread's network namespace.
func Dial() (*Socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("netfilter netlink socket: %w", err)
	}
	s := &Socket{fd: fd, in: make([]byte, 1<<20)}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		s.Close()
		return nil, fmt.Errorf("netfilter netlink socket: bind: %w", err)
	}
	// The kernel answers while the request is being sent; an answer that is not
	// there after this long is a bug, not a delay.
	wait := unix.NsecToTimeval((5 * time.Second).Nanoseconds())
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait),
		unix.SetsockoptInt(fd, unix.SOL_NETLINK, unix.NETLINK_CAP_ACK, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20),
	)
	if err != nil {
		s.Close()
		return nil, fmt.Errorf("netfilter netlink socket: options: %w", err)
	}
	return s, nil
}

// Close closes the socket.
func (s *Socket) Close() { _ = unix.Close(s.fd) } // nothing is buffered

// reserve makes room for a datagram of n bytes.
func (s *Socket) reserve(n int) error {
	const slack = 1 << 16
	if got, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUF); err == nil && got >= n+slack {
		return nil
	}
	if err := unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, n+slack); err != nil {
		return fmt.Errorf("send buffer of %d bytes (needs CAP_NET_ADMIN in the initial user namespace): %w", n, err)
	}
	return nil
}

func (s *Socket) send(p []byte) error {
	if err := s.reserve(len(p)); err != nil {
		return err
	}
	for {
		err := unix.Sendto(s.fd, p, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// receive returns the messages of the next datagram.
func (s *Socket) receive(flags int) ([]Message, error) {
	for {
		n, _, err := unix.Recvfrom(s.fd, s.in, flags)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return nil, err
		}
		return split(s.in[:n])
	}
}

// Message is one netlink message as received; Body aliases the read buffer.
type Message struct {
	kind, flags uint16
	seq         uint32
	Body        []byte
}

func split(p []byte) ([]Message, error) {
	var all []Message
	for len(p) >= unix.SizeofNlMsghdr {
		size := int(binary.NativeEndian.Uint32(p))
		if size < unix.SizeofNlMsghdr || size > len(p) {
			return nil, fmt.Errorf("netlink message of %d bytes in %d", size, len(p))
		}
		all = append(all, Message{
			kind:  binary.NativeEndian.Uint16(p[4:]),
			flags: binary.NativeEndian.Uint16(p[6:]),
			seq:   binary.NativeEndian.Uint32(p[8:]),
			Body:  p[unix.SizeofNlMsghdr:size],
		})
		p = p[min((size+3)&^3, len(p)):]
	}
	return all, nil
}

// errno reads the body of an NLMSG_ERROR or NLMSG_DONE; nil means success.
func (m Message) errno() error {
	if len(m.Body) < 4 {
		return nil
	}
	if code := int32(binary.NativeEndian.Uint32(m.Body)); code != 0 {
		return syscall.Errno(-code)
	}
	return nil
}

// Commit sends a batch and returns nil if the kernel has committed all of it.
// After an error none of it is in effect.
func (s *Socket) Commit(b *wire.Batch) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := s.seq + 1
	last := b.Finish(first)
	s.seq = last + 1
	if err := s.send(b.Bytes()); err != nil {
		return fmt.Errorf("nf_tables transaction of %d bytes: %w", b.Len(), err)
	}
	var failed error
	for {
		messages, err := s.receive(0)
		if err != nil {
			return errors.Join(failed, fmt.Errorf("nf_tables transaction: no answer: %w", err))
		}
		for _, m := range messages {
			if m.kind != unix.NLMSG_ERROR || m.seq < first || m.seq > last {
				continue
			}
			if err := m.errno(); err != nil && failed == nil {
				failed = fmt.Errorf("nf_tables: %s: %w", b.Describe(m.seq-first), err)
			}
			if m.seq == last || (m.seq == first && failed != nil) {
				return errors.Join(failed, s.drain())
			}
		}
	}
}

// drain discards answers that are still queued.
func (s *Socket) drain() error {
	for {
		_, err := s.receive(unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EAGAIN) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("nf_tables transaction: %w", err)
		}
	}
}

// Request sends one message outside any batch and passes the messages of the
// answer to each, which must not keep them.
func (s *Socket) Request(kind, flags uint16, family uint8, each func(Message) error, attrs ...wire.Attr) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	seq := s.seq
	b := &wire.Batch{}
	b.Begin(kind, flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK, family, 0)
	b.Put(attrs...)
	b.End()
	b.SetSequence(seq)
	if err := s.send(b.Bytes()); err != nil {
		return err
	}
	for {
		messages, err := s.receive(0)
		if err != nil {
			return err
		}
		for _, m := range messages {
			if m.seq != seq {
				continue
			}
			if m.kind == unix.NLMSG_ERROR || m.kind == unix.NLMSG_DONE {
				return m.errno()
			}
			if err := each(m); err != nil {
				return err
			}
		}
	}
}

// HasTable reports whether there is a table of nf_tables; family is as netfilter numbers it.
func (s *Socket) HasTable(family uint8, name string) (bool, error) {
	err := s.Request(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETTABLE, 0, family, func(Message) error { return nil }, wire.Text(unix.NFTA_TABLE_NAME, name))
	switch {
	case errors.Is(err, unix.ENOENT):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look for table %s: %w", name, err)
	}
	return true, nil
}

package announce

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// socket hears and sends frames of ARP and neighbour discovery on one link.
type socket struct {
	link  int
	file  *os.File
	raw   syscall.RawConn
	ended atomic.Bool // nothing more is heard: the link is gone
}

// listen opens a socket on a link of the calling thread's network namespace. What is on the link besides never leaves the kernel.
func listen(link int) (*socket, error) {
	// Of no protocol at first: nothing arrives before the filter is there.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("packet socket: %w", err)
	}
	file := os.NewFile(uintptr(fd), "packets")
	if err := setFilter(fd); err != nil {
		file.Close()
		return nil, fmt.Errorf("packet filter: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_ALL), Ifindex: link}); err != nil {
		file.Close()
		return nil, fmt.Errorf("packet socket: bind: %w", err)
	}
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	return &socket{link: link, file: file, raw: raw}, nil
}

func bigEndian(v uint16) uint16 { return v<<8 | v>>8 }

// filter lets through ARP, and solicitations and advertisements of neighbours.
var filter = []bpf.Instruction{
	bpf.LoadAbsolute{Off: 12, Size: 2},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.ETH_P_ARP, SkipTrue: 6},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.ETH_P_IPV6, SkipTrue: 6},
	bpf.LoadAbsolute{Off: 20, Size: 1},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_ICMPV6, SkipTrue: 4},
	bpf.LoadAbsolute{Off: 54, Size: 1},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: 135, SkipTrue: 1},
	bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 136, SkipTrue: 1},
	bpf.RetConstant{Val: 2048},
	bpf.RetConstant{Val: 0},
}

func setFilter(fd int) error {
	program, err := bpf.Assemble(filter)
	if err != nil {
		return err
	}
	list := make([]unix.SockFilter, len(program))
	for i, p := range program {
		list[i] = unix.SockFilter{Code: p.Op, Jt: p.Jt, Jf: p.Jf, K: p.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(list)), Filter: unsafe.SliceData(list)})
}

// read hands over each frame that others have sent, until the socket is closed or its link is gone.
func (s *socket) read(take func(frame []byte)) {
	defer s.ended.Store(true)
	buffer := make([]byte, 2048)
	for {
		var n int
		var from unix.Sockaddr
		var err error
		if waited := s.raw.Read(func(fd uintptr) bool {
			n, from, err = unix.Recvfrom(int(fd), buffer, 0)
			return !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR)
		}); waited != nil {
			return
		}
		if errors.Is(err, unix.ENETDOWN) {
			continue // it may come up again, and is told of once
		}
		if err != nil {
			return
		}
		if at, ok := from.(*unix.SockaddrLinklayer); ok && at.Pkttype != unix.PACKET_OUTGOING {
			take(buffer[:n])
		}
	}
}

// write sends a frame.
func (s *socket) write(frame []byte) error {
	var err error
	if waited := s.raw.Write(func(fd uintptr) bool {
		err = unix.Sendto(int(fd), frame, 0, &unix.SockaddrLinklayer{Protocol: bigEndian(unix.ETH_P_ALL), Ifindex: s.link, Halen: 6, Addr: [8]byte(frame[:8])})
		return !errors.Is(err, unix.EAGAIN)
	}); waited != nil {
		return waited
	}
	return err
}

func (s *socket) close() { s.file.Close() }

// join makes this node a member of a group on a link, so that switches send it what goes there, until the result is closed.
func join(link int, group netip.Addr) (io.Closer, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "group")
	if err := unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, &unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(link)}); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

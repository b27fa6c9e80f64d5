package l7

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/network/l7/upstream"
)

// The calls below never block, as all sockets here are non-blocking: the scheduler need not be told of them.

// readSocket reads what is there. EAGAIN is nothing yet; 0 without an error is the end.
func readSocket(fd int, b []byte) (int, syscall.Errno) {
	return rw(syscall.SYS_READ, fd, b)
}

// writeSocket writes what there is room for.
func writeSocket(fd int, b []byte) (int, syscall.Errno) {
	return rw(syscall.SYS_WRITE, fd, b)
}

func rw(call uintptr, fd int, b []byte) (int, syscall.Errno) {
	for {
		n, _, err := syscall.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		if err != syscall.EINTR {
			if err != 0 {
				return 0, err
			}
			return int(n), 0
		}
	}
}

// peeked reports whether something is to be read from a socket, or its end.
func peeked(fd int) bool {
	var b [1]byte
	_, _, err := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), 1, syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
	return err != syscall.EAGAIN
}

// dial begins a connection, which is there once the socket can be written to and has no error.
func dial(to netip.AddrPort) (fd int, err error) {
	family, address := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Addr: to.Addr().As16(), Port: int(to.Port())})
	if a := to.Addr().Unmap(); a.Is4() {
		family, address = unix.AF_INET, &unix.SockaddrInet4{Addr: a.As4(), Port: int(to.Port())}
	}
	if fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return 0, err
	}
	noDelay(fd)
	if err = unix.Connect(fd, address); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		_ = unix.Close(fd)
		return 0, err
	}
	return fd, nil
}

// noDelay has small writes go out at once.
func noDelay(fd int) { _ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) }

// keepAlive has the kernel find out whether the other end of a connection that rests is there still: one that is upgraded, as a
// WebSocket, may rest for as long as it likes.
func keepAlive(fd int) {
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(upstream.KeepAlive.Idle.Seconds()))
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(upstream.KeepAlive.Interval.Seconds()))
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, upstream.KeepAlive.Count)
}

// connOf makes a connection of package net from a socket, which belongs to that afterwards.
func connOf(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "")
	conn, err := net.FileConn(f) // of a copy
	return conn, errors.Join(err, f.Close())
}

// socketOf takes the socket out of a TCP connection or listener of package net, which is gone afterwards.
func socketOf(conn io.Closer) (fd int, err error) {
	tcp, ok := conn.(syscall.Conn)
	if !ok {
		return 0, errors.New("it has no socket")
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, err
	}
	failed := raw.Control(func(from uintptr) { fd, err = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(failed, err); err != nil {
		return 0, err
	}
	return fd, conn.Close()
}

// closeSocket closes a socket that nobody watches.
func closeSocket(fd int) { _, _, _ = syscall.RawSyscall(syscall.SYS_CLOSE, uintptr(fd), 0, 0) }

// resetSocket has the closing of a socket break the connection, instead of ending it.
func resetSocket(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}

// unwatch takes a socket from an epoll instance.
func unwatch(epoll, fd int) {
	_, _, _ = syscall.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(epoll), unix.EPOLL_CTL_DEL, uintptr(fd), 0, 0, 0)
}

// watch adds a socket to an epoll instance.
func watch(epoll, fd int, ev *unix.EpollEvent) error {
	_, _, err := syscall.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(epoll), unix.EPOLL_CTL_ADD, uintptr(fd), uintptr(unsafe.Pointer(ev)), 0, 0)
	if err != 0 {
		return err
	}
	return nil
}

// accept takes a connection that waits at a listening socket.
func accept(listener int) (fd int, from netip.AddrPort, err syscall.Errno) {
	var a unix.RawSockaddrInet6 // has room for IPv4, whose port and family are at the same place
	size := uint32(unsafe.Sizeof(a))
	n, _, err := syscall.RawSyscall6(unix.SYS_ACCEPT4, uintptr(listener), uintptr(unsafe.Pointer(&a)), uintptr(unsafe.Pointer(&size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if err != 0 {
		return 0, from, err
	}
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&a.Port))[:])
	if a.Family == unix.AF_INET {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(&a))
		return int(n), netip.AddrPortFrom(netip.AddrFrom4(v4.Addr), port), 0
	}
	return int(n), netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), port), 0
}

// poll returns the number of events that there are already.
func poll(epoll int, events []unix.EpollEvent) int {
	n, _, err := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
	if err != 0 {
		return 0
	}
	return int(n)
}

// shutdownSocket says that nothing more follows.
func shutdownSocket(fd int) { _ = unix.Shutdown(fd, unix.SHUT_WR) }

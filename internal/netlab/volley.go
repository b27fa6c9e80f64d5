package netlab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Shot is one connection to be tried.
type Shot struct {
	UDP    bool       // instead of TCP
	Source netip.Addr // zero for the one the kernel chooses
	To     netip.AddrPort
	Silent bool // no answer is expected: do not wait for one longer than for others
}

// Result is how a Shot ended: the server's answer, or why there is none, which is
// os.ErrDeadlineExceeded for silence.
type Result struct {
	Answer Answer
	Err    error
}

// Volley tries many connections at once from one thread. It returns when all
// but the silent ones are decided and grace has passed since, or after patience
// without anything happening.
func (n *Netns) Volley(shots []Shot, grace, patience time.Duration) []Result {
	n.t.Helper()
	v := &volley{from: n, shots: shots, results: make([]Result, len(shots)), fds: make([]unix.PollFd, len(shots))}
	n.Do(func() { v.fire(grace, patience) })
	return v.results
}

// volley is the state of a Volley. A descriptor of -1 is a shot that is decided.
type volley struct {
	from    *Netns
	shots   []Shot
	results []Result
	fds     []unix.PollFd
	loud    int // undecided shots that are not silent
}

func (v *volley) fire(grace, patience time.Duration) {
	defer func() {
		for _, p := range v.fds {
			if p.Fd >= 0 {
				_ = unix.Close(int(p.Fd))
			}
		}
	}()
	for i := range v.shots {
		v.results[i].Err = os.ErrDeadlineExceeded
		if !v.shots[i].Silent {
			v.loud++
		}
		if err := v.open(i); err != nil {
			v.decide(i, Answer{}, err)
		}
	}
	for ends, quiet := time.Now().Add(patience), false; ; {
		if v.loud == 0 && !quiet {
			ends, quiet = time.Now().Add(grace), true
		}
		left := time.Until(ends)
		if left <= 0 {
			return
		}
		if k, _ := unix.Poll(v.fds, int(left.Milliseconds())+1); k > 0 && !quiet {
			ends = time.Now().Add(patience)
		}
		for i := range v.fds {
			if v.fds[i].Fd >= 0 && v.fds[i].Revents != 0 {
				v.advance(i)
			}
		}
	}
}

// open makes the shot's socket and sends its first packet.
func (v *volley) open(i int) error {
	s, kind := v.shots[i], unix.SOCK_STREAM
	if s.UDP {
		kind = unix.SOCK_DGRAM
	}
	family := unix.AF_INET
	if s.To.Addr().Is6() {
		family = unix.AF_INET6
	}
	v.fds[i] = unix.PollFd{Fd: -1}
	fd, err := unix.Socket(family, kind|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	v.fds[i] = unix.PollFd{Fd: int32(fd), Events: unix.POLLIN}
	source := netip.AddrPortFrom(s.Source, 0)
	if s.UDP {
		source = v.from.unusedPort(s)
	}
	if source.IsValid() {
		if err := unix.Bind(fd, sockaddr(source)); err != nil {
			return fmt.Errorf("bind: %w", err)
		}
	}
	if !s.UDP { // a reset leaves no state behind
		if err := unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}); err != nil {
			return err
		}
	}
	if err := unix.Connect(fd, sockaddr(s.To)); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return err
	}
	if s.UDP {
		// A node that drops or rejects its own datagram fails the call that
		// sends it. Rejection shows on the socket as well; silence does not.
		if _, err := unix.Write(fd, []byte("?")); err != nil && !errors.Is(err, unix.EPERM) {
			return err
		}
	}
	return nil
}

// unusedPort returns a source that no earlier datagram of a volley had: the kernel
// would treat it as one more of an old flow. The ports are below those that the
// kernel gives out by itself.
func (n *Netns) unusedPort(s Shot) netip.AddrPort {
	const first, count = 10000, 20000
	source := s.Source
	switch {
	case source.IsValid():
	case s.To.Addr().Is6():
		source = netip.IPv6Unspecified()
	default:
		source = netip.IPv4Unspecified()
	}
	return netip.AddrPortFrom(source, uint16(first+n.ports.Add(1)%count))
}

// advance looks at a socket on which something happened.
func (v *volley) advance(i int) {
	var line [256]byte
	k, err := unix.Read(int(v.fds[i].Fd), line[:])
	switch {
	case errors.Is(err, unix.EAGAIN):
	case err != nil:
		v.decide(i, Answer{}, err)
	case k == 0:
		v.decide(i, Answer{}, errors.New("closed without an answer"))
	default:
		a, err := parseAnswer(string(line[:k]))
		v.decide(i, a, err)
	}
}

func (v *volley) decide(i int, a Answer, err error) {
	v.results[i] = Result{a, err}
	if v.fds[i].Fd >= 0 {
		_ = unix.Close(int(v.fds[i].Fd))
		v.fds[i] = unix.PollFd{Fd: -1}
	}
	if !v.shots[i].Silent {
		v.loud--
	}
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is6() {
		return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
}

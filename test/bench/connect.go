package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// connect opens a TCP connection and breaks it off, and returns how long each took. Opening is the first packet and its
// answer. Breaking off instead of closing leaves nothing behind that would use up the ports.
func connect(to netip.AddrPort) (open, whole time.Duration, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, 0, err
	}
	limit := unix.Timeval{Sec: 1}
	err = errors.Join(unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &limit),
		unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
	start := time.Now()
	if err == nil {
		err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()})
	}
	open = time.Since(start)
	err = errors.Join(err, unix.Close(fd))
	if err != nil {
		return 0, 0, fmt.Errorf("connect to %s: %w", to, err)
	}
	return open, time.Since(start), nil
}

// connections are the latencies of many connections to one address.
type connections struct{ open, whole []time.Duration }

// compare connects n times to each address, by turns, so that what else the machine does falls on all alike.
func compare(ctx context.Context, n int, to ...netip.AddrPort) ([]connections, error) {
	out := make([]connections, len(to))
	for range n {
		for i, at := range to {
			open, whole, err := connect(at)
			if errors.Is(err, unix.EINTR) { // by a signal of Go's scheduler; what it took says nothing
				continue
			}
			if err != nil {
				return nil, err
			}
			out[i].open, out[i].whole = append(out[i].open, open), append(out[i].whole, whole)
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return out, nil
}

// request asks over a connection of its own and reads the answer.
func request(to netip.AddrPort) error {
	conn, err := net.DialTimeout("tcp4", to.String(), time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.(*net.TCPConn).SetLinger(0)
	conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := fmt.Fprintf(conn, "GET /hostname HTTP/1.1\r\nHost: bench\r\n\r\n"); err != nil {
		return err
	}
	answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	var buf [256]byte
	for err == nil {
		_, err = answer.Body.Read(buf[:])
	}
	if answer.StatusCode != http.StatusOK || answer.ContentLength <= 0 {
		return fmt.Errorf("answer %s of %d bytes", answer.Status, answer.ContentLength)
	}
	return nil
}

// rate is how many requests a second some clients make for a time, each on a connection of its own.
func rate(clients int, during time.Duration, to netip.AddrPort) (float64, error) {
	var done atomic.Int64
	var group sync.WaitGroup
	failed := make(chan error, clients)
	start := time.Now()
	for range clients {
		group.Go(func() {
			for time.Since(start) < during {
				if err := request(to); err != nil {
					failed <- err
					return
				}
				done.Add(1)
			}
		})
	}
	group.Wait()
	select {
	case err := <-failed:
		return 0, err
	default:
		return float64(done.Load()) / time.Since(start).Seconds(), nil
	}
}

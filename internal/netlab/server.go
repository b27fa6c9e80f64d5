package netlab

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Serve answers on a TCP and on a UDP port with the given name and the client
// address it sees, until the end of the test or until stop is called, which
// leaves open connections open.
func (n *Netns) Serve(at netip.AddrPort, name string) (stop func()) {
	n.t.Helper()
	var open []io.Closer
	stop = func() {
		for _, c := range open {
			_ = c.Close() // closed twice at the end of the test
		}
	}
	n.t.Cleanup(stop)
	n.Do(func() {
		l, err := net.Listen("tcp", at.String())
		if err != nil {
			n.check("listen", err)
			return
		}
		open = append(open, l)
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					in := bufio.NewReader(c)
					for err := error(nil); err == nil; _, err = in.ReadByte() { // until the client closes
						fmt.Fprintf(c, "%s %s\n", name, c.RemoteAddr())
					}
				}()
			}
		}()
		u, err := net.ListenPacket("udp", at.String())
		if err != nil {
			n.check("listen", err)
			return
		}
		open = append(open, u)
		go func() {
			p := make([]byte, 1500)
			for {
				_, from, err := u.ReadFrom(p)
				if err != nil {
					return
				}
				_, _ = u.WriteTo(fmt.Appendf(nil, "%s %s\n", name, from), from)
			}
		}()
	})
	return stop
}

// Answer is what a server said: who it is, and whom it believes to talk to.
type Answer struct {
	Name   string
	Client netip.Addr
}

func parseAnswer(line string) (Answer, error) {
	name, client, ok := strings.Cut(strings.TrimSpace(line), " ")
	from, err := netip.ParseAddrPort(client)
	if !ok || err != nil {
		return Answer{}, fmt.Errorf("strange answer %q: %w", line, err)
	}
	return Answer{name, from.Addr()}, nil
}

// TCP connects from the namespace and returns the server's answer. source may
// be the zero address.
func (n *Netns) TCP(source netip.Addr, to netip.AddrPort, timeout time.Duration) (Answer, error) {
	n.t.Helper()
	conn, err := n.Dial("tcp", source, to, timeout)
	if err != nil {
		return Answer{}, err
	}
	defer conn.Close()
	_ = conn.(*net.TCPConn).SetLinger(0) // a reset leaves no state behind
	return Ask(conn, timeout)
}

// UDP sends a datagram from the namespace and returns the server's answer.
func (n *Netns) UDP(source netip.Addr, to netip.AddrPort, timeout time.Duration) (Answer, error) {
	n.t.Helper()
	conn, err := n.Dial("udp", source, to, timeout)
	if err != nil {
		return Answer{}, err
	}
	defer conn.Close()
	return Ask(conn, timeout)
}

// Ask sends a datagram if conn is UDP, and reads one answer.
func Ask(conn net.Conn, timeout time.Duration) (Answer, error) {
	_, udp := conn.(*net.UDPConn)
	return ask(conn, udp, timeout)
}

// AskAgain sends a byte on a TCP connection whose first answer has been read,
// and reads one more.
func AskAgain(conn net.Conn, timeout time.Duration) (Answer, error) { return ask(conn, true, timeout) }

func ask(conn net.Conn, send bool, timeout time.Duration) (Answer, error) {
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return Answer{}, err
	}
	if send {
		if _, err := conn.Write([]byte("?")); err != nil {
			return Answer{}, err
		}
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return Answer{}, err
	}
	return parseAnswer(line)
}

// Dial opens a connection from the namespace.
func (n *Netns) Dial(network string, source netip.Addr, to netip.AddrPort, timeout time.Duration) (net.Conn, error) {
	n.t.Helper()
	var conn net.Conn
	err := errors.New("not dialled")
	n.Do(func() {
		d := net.Dialer{Timeout: timeout}
		if source.IsValid() {
			if strings.HasPrefix(network, "udp") {
				d.LocalAddr = &net.UDPAddr{IP: source.AsSlice()}
			} else {
				d.LocalAddr = &net.TCPAddr{IP: source.AsSlice()}
			}
		}
		conn, err = d.Dial(network, to.String())
	})
	return conn, err
}

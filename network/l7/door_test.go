package l7

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/lb"
)

// TestCrowd: clients cannot take all file descriptors from the node: connections beyond a number are refused, those before go on,
// and new ones are accepted when some have gone.
func TestCrowd(t *testing.T) {
	r := newRig(t)
	r.Endpoints(svc, 80, []lb.Backend{backend(t, echo)})
	r.Serve(table(toService(route.Action{})))
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	r.most = int(f.Fd()) + 100 // the clients' own are among them
	f.Close()
	addr := r.listen(web)
	answered := func(c net.Conn) bool {
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"); err != nil {
			return false
		}
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		return err == nil && res.StatusCode == 200
	}
	var all []net.Conn
	good := 0
	for range 150 {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			continue // refused before it knew that it was there
		}
		defer c.Close()
		if all = append(all, c); answered(c) {
			good++
		}
	}
	if good < 30 || good > 60 {
		t.Errorf("%d of 150 connections were accepted", good)
	}
	if !answered(all[0]) {
		t.Error("a connection from before is not served any more")
	}
	for _, c := range all {
		c.Close()
	}
	for range 1000 { // until the engine has seen that
		if c, err := net.Dial("tcp", addr); err == nil {
			defer c.Close()
			if answered(c) {
				return
			}
			c.Close()
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error("no connection is accepted after others have gone")
}

// TestShare: one client cannot take all connections from the others, and has its places again when its connections have ended, of
// whatever kind they were.
func TestShare(t *testing.T) {
	r := newRig(t)
	r.Endpoints(svc, 80, []lb.Backend{backend(t, echo)})
	r.cert[aCert] = certFor(t, nil, "a.example")
	r.Serve(table(toService(route.Action{})))
	r.each = 3
	addr, secure := r.listen(web), r.listen(webS)
	from := func(client, to string) net.Conn {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(client)}, Timeout: 10 * time.Second}
		c, err := d.Dial("tcp", to)
		if err != nil {
			return nil
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	answered := func(c net.Conn, more string) bool {
		if c == nil {
			return false
		}
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.example\r\n"+more+"\r\n"); err != nil {
			return false
		}
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		return err == nil && res.StatusCode == 200
	}
	empty := func() {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			r.crowd.mu.Lock()
			n := len(r.crowd.of)
			r.crowd.mu.Unlock()
			if n == 0 {
				return
			} else if time.Now().After(deadline) {
				t.Fatalf("%d clients still have places", n)
			}
		}
	}
	var three []net.Conn
	for range 3 {
		three = append(three, from("127.0.0.1", addr))
		if !answered(three[len(three)-1], "") {
			t.Fatal("a connection within the share is not served")
		}
	}
	if answered(from("127.0.0.1", addr), "") {
		t.Error("a fourth connection is served")
	}
	others := []net.Conn{from("127.0.0.2", addr)}
	if !answered(others[0], "") || !answered(three[0], "") {
		t.Error("another client, or what was open, is not served")
	}
	for _, c := range three {
		c.Close()
	}
	for range 4 { // more than the share, of each kind
		for _, more := range []string{"Connection: close\r\n", "X-Odd_One: a\r\nConnection: close\r\n", "X-\x01: odd\r\n"} {
			if c := from("127.0.0.3", addr); c != nil {
				answered(c, more)
				c.Close()
			}
		}
		for _, protocol := range []string{"http/1.1", "h2"} {
			if c := from("127.0.0.3", secure); c != nil {
				s := tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{protocol}, ServerName: "a.example"})
				_ = s.Handshake()
				s.Close()
			}
		}
		if c := from("127.0.0.3", secure); c != nil {
			_, _ = io.WriteString(c, "this is not TLS\r\n\r\n")
			c.Close()
		}
	}
	for _, c := range others {
		c.Close()
	}
	empty()
}

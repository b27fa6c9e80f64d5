package l7

import (
	"bufio"
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

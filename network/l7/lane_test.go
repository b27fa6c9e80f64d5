package l7

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/lb"
)

// handed counts the connections that lanes have given to net/http.
func (r *rig) handed() int { return int(r.metrics.handed.Load()) }

// raw sends bytes on a new connection and returns the answers to some requests.
func raw(t *testing.T, addr, text string, methods ...string) (answers []string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	go func() { _, _ = io.WriteString(conn, text) }() // what has no room waits for answers to be read
	from := bufio.NewReader(conn)
	for _, m := range methods {
		res, err := http.ReadResponse(from, &http.Request{Method: m})
		if err != nil {
			return append(answers, "none")
		}
		body, err := io.ReadAll(res.Body)
		answers = append(answers, fmt.Sprintf("%d %v %s %v", res.StatusCode, res.ContentLength, body, err))
	}
	return answers
}

// accidental is what differs by chance, or means the same: that a body has no bytes need not be said.
var accidental = regexp.MustCompile(`X-Request-Id: \w+|Content-Length: 0\s+|^200 \d+`)

// both are two engines with the same table and backend: one with lanes, and one that gives everything to net/http.
func both(t *testing.T, a route.Action, h http.HandlerFunc) (lanes, plain string, with *rig) {
	t.Helper()
	end := backend(t, h)
	start := func(r *rig) string {
		r.Endpoints(svc, 80, []lb.Backend{end})
		r.Serve(table(toService(a)))
		return r.listen(web)
	}
	with = newRig(t)
	without := newRig(t)
	without.noLanes = true
	return start(with), start(without), with
}

// TestLanesAreNetHTTP: what a lane sends on and answers is what net/http would have sent on and answered.
func TestLanesAreNetHTTP(t *testing.T) {
	full := "/new"
	lanes, plain, with := both(t, route.Action{
		Request:  route.HeaderEdit{Set: []route.Header{{Name: "X-Set", Value: "1"}}, Add: []route.Header{{Name: "X-Add", Value: "2"}}, Remove: []string{"X-Gone"}},
		Response: route.HeaderEdit{Set: []route.Header{{Name: "X-Answer", Value: "3"}}},
		Rewrite:  &route.Rewrite{Host: "other.example", Path: &route.PathRewrite{Prefix: &full}},
	}, echo)
	seed := rand.New(rand.NewPCG(1, 2))
	for i := range 300 {
		text, methods := randomRequests(seed)
		a, b := raw(t, lanes, text, methods...), raw(t, plain, text, methods...)
		for j := range a {
			x, y := accidental.ReplaceAllString(a[j], ""), accidental.ReplaceAllString(b[j], "")
			if x != y {
				t.Fatalf("%d: %q\nin a lane\n%s\nwithout\n%s", i, text, x, y)
			}
		}
	}
	if n := with.handed(); n > 250 || n < 10 {
		t.Errorf("%d of 300 connections were handed to net/http", n)
	}
}

// randomRequests are some requests on one connection, most of them as clients send them.
func randomRequests(r *rand.Rand) (text string, methods []string) {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	for range 1 + r.IntN(3) {
		method := pick("GET", "GET", "POST", "PUT", "HEAD", "DELETE", "PATCH")
		body, framing := "", ""
		if method != "GET" && method != "HEAD" {
			body = strings.Repeat("b", r.IntN(3)*r.IntN(70_000))
			framing = fmt.Sprintf("Content-Length: %d\r\n", len(body))
			if r.IntN(12) == 0 {
				framing, body = "Transfer-Encoding: chunked\r\n", fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body), body)
				if body[0] == '0' {
					body = "0\r\n\r\n"
				}
			}
		}
		text += method + " " + pick("/", "/a/b", "/a%2Fb?c=d%20e&f", "/x?", "/%C3%A4/", "/..a/;p=1") + " HTTP/1.1\r\nHost: " + pick("a", "A.Example:8080", "10.0.0.1", "[::1]:80") + "\r\n"
		for _, h := range []string{
			"User-Agent: test\r\n", "Accept: */*\r\n", "X-Forwarded-For: 1.2.3.4\r\n", "Forwarded: for=x\r\n", "X-Real-IP: 6.6.6.6\r\n", "x-gone: y\r\n", "X-SET: 9\r\n",
			"Cookie: a=b; c=d\r\n", "X-Request-Id: abc\r\n", "Connection: keep-alive\r\n", "Keep-Alive: timeout=5\r\n", "Proxy-Connection: keep-alive\r\n", "X-Add: 1\r\n", "X-Two: 1\r\nX-Two: 2\r\n", "X-Empty:\r\n",
		} {
			if r.IntN(3) == 0 {
				text += h
			}
		}
		if r.IntN(15) == 0 {
			text += pick("Te: trailers\r\n", "Expect: 100-continue\r\n", "X-Long: "+strings.Repeat("l", 9000)+"\r\n", "Connection: keep-alive, X-Two\r\n")
		}
		text += framing + "\r\n" + body
		methods = append(methods, method)
	}
	return text, methods
}

// TestAnswers: every way to frame an answer arrives whole, and what is cut off is not taken for whole.
func TestAnswers(t *testing.T) {
	long := strings.Repeat("0123456789", 1<<20/10)
	answers := map[string]string{
		"/length":  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"/chunks":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"/trailer": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
		"/close":   "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
		"/old":     "HTTP/1.0 200 OK\r\n\r\nhello",
		"/early":   "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"/empty":   "HTTP/1.1 204 No Content\r\n\r\n",
		"/long":    fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(long), long),
		"/cut":     "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",
		"/cutoff":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		"/none":    "SSH-2.0-x\r\n",
		"/two":     "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
		"/more":    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
	}
	end := scripted(t, func(path string) string { return answers[path] })
	r := newRig(t)
	r.Endpoints(svc, 80, []lb.Backend{end})
	r.Serve(table(toService(route.Action{})))
	addr := r.listen(web)
	for path, want := range map[string]string{
		"/length": "200 5 hello <nil>", "/chunks": "200 -1 hello <nil>", "/trailer": "200 -1 hello <nil>", "/close": "200 -1 hello <nil>", "/old": "200 -1 hello <nil>",
		"/early": "200 5 hello <nil>", "/empty": "204 0  <nil>", "/long": fmt.Sprintf("200 %d %s <nil>", len(long), long), "/more": "200 5 hello <nil>",
		"/none": "502 53 an endpoint of Service ns/web did not answer in HTTP\n <nil>", "/two": "502 53 an endpoint of Service ns/web did not answer in HTTP\n <nil>",
	} {
		if got := raw(t, addr, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n", "GET")[0]; got != want {
			t.Errorf("%s: %.100s, want %.100s", path, got, want)
		}
	}
	for _, path := range []string{"/cut", "/cutoff"} {
		if got := raw(t, addr, "GET "+path+" HTTP/1.1\r\nHost: a\r\n\r\n", "GET")[0]; strings.HasSuffix(got, "<nil>") {
			t.Errorf("%s is taken for whole: %s", path, got)
		}
	}
	if got := raw(t, addr, strings.Repeat("GET /length HTTP/1.1\r\nHost: a\r\n\r\n", 50), slices.Repeat([]string{"GET"}, 50)...); strings.Join(got, "") != strings.Repeat("200 5 hello <nil>", 50) {
		t.Errorf("50 requests at once: %q", got)
	}
	if n := r.handed(); n > 0 {
		t.Errorf("%d connections were handed to net/http", n)
	}
}

// scripted is a backend that answers with bytes, and closes the connection after those that do not end by themselves.
func scripted(t *testing.T, answer func(path string) string) lb.Backend {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				from := bufio.NewReader(conn)
				for {
					req, err := http.ReadRequest(from)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, req.Body)
					_, _ = io.WriteString(conn, answer(req.URL.Path))
					if p := req.URL.Path; p != "/length" && p != "/long" {
						return
					}
				}
			}()
		}
	}()
	return lb.Backend{Addr: netip.MustParseAddrPort(l.Addr().String())}
}

// TestKeptConnectionThatClosed: a request meets a connection that the endpoint has just closed. It is sent again if that does no
// harm; one that must not be sent twice reaches the endpoint once, over a connection that is there.
func TestKeptConnectionThatClosed(t *testing.T) {
	var posts atomic.Int32
	end := scripted(t, func(path string) string {
		if path == "/post" {
			posts.Add(1)
		}
		return "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello" // and closes, without having said so
	})
	r := newRig(t)
	r.Endpoints(svc, 80, []lb.Backend{end})
	r.Serve(table(toService(route.Action{})))
	addr := r.listen(web)
	for range 200 {
		got := raw(t, addr, "GET /get HTTP/1.1\r\nHost: a\r\n\r\nPOST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", "GET", "POST")
		if got[0] != "200 5 hello <nil>" || got[1] != "200 5 hello <nil>" && !strings.HasPrefix(got[1], "502") {
			t.Fatalf("%q", got)
		}
	}
	if n := posts.Load(); n > 200 {
		t.Errorf("200 requests that must not be sent twice arrived %d times", n)
	}
}

// TestUploads: large bodies arrive, also when the endpoint answers before it has read them.
func TestUploads(t *testing.T) {
	lanes, _, with := both(t, route.Action{}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/early" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		n, err := io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, n, err)
	})
	c := newClient(t, nil)
	for range 3 {
		res, err := c.Post("http://"+lanes+"/", "", bytes.NewReader(make([]byte, 20<<20)))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		if string(body) != fmt.Sprint(20<<20, "<nil>") && string(body) != fmt.Sprint(20<<20, " <nil>") {
			t.Errorf("%s", body)
		}
		_ = res.Body.Close()
	}
	if got := raw(t, lanes, "POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n"+strings.Repeat("x", 300000), "POST"); !strings.HasPrefix(got[0], "403") {
		t.Errorf("an answer before the body's end: %q", got)
	}
	if n := with.handed(); n > 0 {
		t.Errorf("%d connections were handed to net/http", n)
	}
}

// TestUnwantedUpload: an endpoint that answers and closes without having read the body is heard all the same.
func TestUnwantedUpload(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				fmt.Fprint(conn, "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
				_ = conn.(*net.TCPConn).CloseWrite()
				time.Sleep(20 * time.Millisecond)
			}
			_ = conn.Close()
		}
	}()
	r := newRig(t)
	r.Endpoints(svc, 80, []lb.Backend{{Addr: netip.MustParseAddrPort(l.Addr().String())}})
	r.Serve(table(toService(route.Action{})))
	addr := r.listen(web)
	for range 10 {
		if got := raw(t, addr, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20000000\r\n\r\n"+strings.Repeat("x", 20_000_000), "POST"); got[0] != "413 2 no <nil>" {
			t.Errorf("%q", got)
		}
	}
}

// TestSlowClients: who sends one byte at a time is served, and who does not read holds up nobody.
func TestSlowClients(t *testing.T) {
	lanes, _, _ := both(t, route.Action{}, func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(make([]byte, 32<<20))
	})
	var all sync.WaitGroup
	for range 8 { // that do not read
		conn, err := net.Dial("tcp", lanes)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	}
	for range 4 {
		all.Go(func() {
			conn, err := net.Dial("tcp", lanes)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			for _, b := range []byte("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n") {
				_, _ = conn.Write([]byte{b})
			}
			res, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Error(err)
				return
			}
			if n, err := io.Copy(io.Discard, res.Body); n != 32<<20 || err != nil {
				t.Errorf("%d %v", n, err)
			}
		})
	}
	all.Wait()
}

// TestChanges: clients send requests while tables and endpoints change a thousand times, and every answer is a good one.
func TestChanges(t *testing.T) {
	r := newRig(t)
	r.cert[aCert], _ = selfSigned()
	plain, secure := r.listen(web), r.listen(webS)
	var ends []lb.Backend
	for range 4 {
		ends = append(ends, backend(t, echo))
	}
	change := func(i int) {
		r.Endpoints(svc, 80, []lb.Backend{ends[i%4], ends[(i+1)%4]})
		r.Serve(table(toService(route.Action{Balance: route.Balance{Kind: route.BalanceKind(i % 2)}})))
	}
	change(0)
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	var sent atomic.Int32
	for i := range 8 {
		all.Go(func() {
			c := newClient(t, protocols(func(p *http.Protocols) { p.SetHTTP1(true); p.SetHTTP2(i >= 6) }))
			url := "http://" + plain
			if i%2 == 1 || i >= 6 {
				url = "https://" + secure
			}
			for ctx.Err() == nil {
				res, err := c.Get(url)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != 200 {
					t.Errorf("%v %v", res.Status, err)
				}
				_ = res.Body.Close()
				sent.Add(1)
			}
		})
	}
	for i := range 1000 {
		change(i)
		time.Sleep(200 * time.Microsecond)
	}
	stop()
	all.Wait()
	if sent.Load() < 100 {
		t.Errorf("only %d requests were sent", sent.Load())
	}
}

// TestKilledEndpoints: an endpoint that accepts no connections costs no request, whether it may be sent twice or not.
func TestKilledEndpoints(t *testing.T) {
	r := newRig(t)
	addr := r.listen(web)
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := lb.Backend{Addr: netip.MustParseAddrPort(dead.Addr().String())}
	_ = dead.Close()
	r.Endpoints(svc, 80, []lb.Backend{backend(t, echo), gone})
	r.Serve(table(toService(route.Action{})))
	for range 50 {
		for _, method := range []string{"GET", "POST"} {
			if got := raw(t, addr, method+" / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", method); !strings.HasPrefix(got[0], "200") {
				t.Fatalf("%q", got)
			}
		}
	}
}

// TestIdleConnections: what a client at rest costs.
func TestIdleConnections(t *testing.T) {
	lanes, _, _ := both(t, route.Action{}, echo)
	const many = 500
	before := heapNow()
	for range many {
		conn, err := net.Dial("tcp", lanes)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if _, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), nil); err != nil {
			t.Fatal(err)
		}
	}
	if each := (int64(heapNow()) - int64(before)) / many; each > 10_000 {
		t.Errorf("%d bytes for each connection at rest", each)
	}
}

func heapNow() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// TestShutdown: a request under way is answered, and connections at rest are closed.
func TestShutdown(t *testing.T) {
	r := newRig(t)
	addr := r.listen(web)
	arrived := make(chan bool)
	r.Endpoints(svc, 80, []lb.Backend{backend(t, func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		time.Sleep(100 * time.Millisecond)
		fmt.Fprint(w, "late")
	})})
	r.Serve(table(toService(route.Action{})))
	rest, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer rest.Close()
	answered := make(chan string)
	go func() { answered <- raw(t, addr, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET")[0] }()
	<-arrived
	if err := r.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if got := <-answered; got != "200 4 late <nil>" {
		t.Error(got)
	}
	if _, err := rest.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("a connection at rest: %v", err)
	}
}

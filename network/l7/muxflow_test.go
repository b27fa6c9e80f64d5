//lint:file-ignore SA1019 net/http's own Transport says nothing of windows and frames, which these tests are about.

package l7

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/lb"
)

// known is a client that knows that a server speaks HTTP/2.
func known(t *testing.T) *http.Client {
	return newClient(t, protocols(func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }))
}

// told is what an answer says, without what differs by chance.
func told(res *http.Response, err error) string {
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	var head bytes.Buffer
	res.Header.Del("Date")
	_ = res.Header.Write(&head)
	return accidental.ReplaceAllString(fmt.Sprintf("%d %v\n%s\n%s\n%v %v", res.StatusCode, res.ContentLength, &head, body, res.Trailer, err), "")
}

// TestStreamsAreNetHTTP: what a lane makes of the requests and answers of HTTP/2 is what net/http would have made of them.
func TestStreamsAreNetHTTP(t *testing.T) {
	full := "/new"
	lanes, plain, with := both(t, route.Action{
		Request:  route.HeaderEdit{Set: []route.Header{{Name: "X-Set", Value: "1"}}, Add: []route.Header{{Name: "X-Add", Value: "2"}}, Remove: []string{"X-Gone"}},
		Response: route.HeaderEdit{Set: []route.Header{{Name: "X-Answer", Value: "3"}}, Remove: []string{"X-Secret"}},
		Rewrite:  &route.Rewrite{Host: "other.example", Path: &route.PathRewrite{Prefix: &full}},
	}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Secret", "s")
		w.Header()["Set-Cookie"] = []string{"a=b", "c=d"}
		switch r.Header.Get("X-Kind") {
		case "none":
			w.WriteHeader(http.StatusNoContent)
			return
		case "same":
			w.Header().Set("Etag", `"x"`)
			w.WriteHeader(http.StatusNotModified)
			return
		case "parts":
			w.Header().Set("Trailer", "X-Sum")
			for range 3 {
				fmt.Fprint(w, strings.Repeat("part", 1000))
				w.(http.Flusher).Flush()
			}
			w.Header().Set("X-Sum", "7")
			w.Header().Set(http.TrailerPrefix+"X-More", "8")
			return
		case "cut":
			fmt.Fprint(w, "part")
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		echo(w, r)
		fmt.Fprint(w, r.Trailer)
	})
	seed := rand.New(rand.NewPCG(3, 4))
	a, b := known(t), known(t)
	for i := range 400 {
		make := randomStream(seed)
		x, y := told(a.Do(make("http://"+lanes))), told(b.Do(make("http://"+plain)))
		if x != y && !(strings.Contains(x, "INTERNAL_ERROR") && strings.Contains(y, "INTERNAL_ERROR")) {
			t.Fatalf("%d: in a lane\n%.2000s\nwithout\n%.2000s", i, x, y)
		}
	}
	if n := with.handed(); n > 300 || n < 20 {
		t.Errorf("%d of 400 requests were net/http's", n)
	}
}

// randomStream makes a request, which may be sent several times.
func randomStream(r *rand.Rand) func(url string) *http.Request {
	pick := func(list ...string) string { return list[r.IntN(len(list))] }
	method, path, body := pick("GET", "GET", "POST", "PUT", "HEAD", "DELETE"), pick("/", "/a/b", "/a%2Fb?c=d%20e&f", "/x?", "/%C3%A4/"), ""
	if method != "GET" && method != "HEAD" {
		body = strings.Repeat("b", r.IntN(3)*r.IntN(70_000))
	}
	h := http.Header{"X-Kind": {pick("", "", "", "none", "same", "parts", "cut")}}
	for name, value := range map[string]string{
		"Accept": "*/*", "X-Forwarded-For": "1.2.3.4", "Forwarded": "for=x", "X-Gone": "y", "X-Set": "9", "Cookie": "a=b; c=d", "X-Request-Id": "abc", "X-Add": "1", "X-Empty": "",
	} {
		if r.IntN(3) == 0 {
			h.Set(name, value)
		}
	}
	trailers, unknown, host := r.IntN(15) == 0, r.IntN(10) == 0, pick("a", "A.Example:8080", "10.0.0.1", "[::1]:80")
	if r.IntN(15) == 0 {
		h.Set(pick("Te", "X_Under", "X-Long"), pick("trailers"))
	}
	if r.IntN(20) == 0 {
		h.Set("X-Long", strings.Repeat("l", 9000))
	}
	return func(url string) *http.Request {
		var from io.Reader
		if body != "" {
			from = strings.NewReader(body)
		}
		q, _ := http.NewRequest(method, url+path, from)
		q.Header, q.Host = h.Clone(), host
		if body != "" && unknown {
			q.ContentLength = -1
		}
		if body != "" && trailers {
			q.ContentLength, q.Trailer = -1, http.Header{"X-In": {"in"}}
		}
		return q
	}
}

// TestStreamAnswers: every way to frame an answer arrives whole, and what is cut off is not taken for whole.
func TestStreamAnswers(t *testing.T) {
	long := strings.Repeat("0123456789", 1<<20/10)
	answers := map[string]string{
		"/length":  "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"/chunks":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
		"/trailer": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
		"/close":   "HTTP/1.1 200 OK\r\nConnection: close\r\nKeep-Alive: x\r\nUpgrade: y\r\n\r\nhello",
		"/nothing": "HTTP/1.1 200 OK\r\n\r\n",
		"/old":     "HTTP/1.0 200 OK\r\n\r\nhello",
		"/early":   "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
		"/empty":   "HTTP/1.1 204 No Content\r\n\r\n",
		"/zero":    "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
		"/long":    fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(long), long),
		"/head":    "HTTP/1.1 200 OK\r\nX-Long: " + strings.Repeat("h", 40_000) + "\r\nContent-Length: 5\r\n\r\nhello",
		"/cut":     "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello",
		"/cutoff":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		"/nochunk": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
		"/none":    "SSH-2.0-x\r\n",
		"/two":     "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
		"/more":    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
	}
	end := scripted(t, func(path string) string { return answers[path] })
	r := newRig(t)
	r.Endpoints(svc, 80, []lb.Backend{end})
	r.Serve(table(toService(route.Action{})))
	addr := r.listen(web)
	c := known(t)
	get := func(path string) string {
		res, err := c.Get("http://" + addr + path)
		if err != nil {
			return err.Error()
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		return fmt.Sprintf("%d %d %s %v %v", res.StatusCode, res.ContentLength, body, res.Trailer, err)
	}
	none := "502 53 an endpoint of Service ns/web did not answer in HTTP\n map[] <nil>"
	for range 3 {
		for path, want := range map[string]string{
			"/length": "200 5 hello map[] <nil>", "/chunks": "200 -1 hello map[] <nil>", "/trailer": "200 -1 hello map[X-Sum:[1]] <nil>", "/close": "200 -1 hello map[] <nil>",
			"/nothing": "200 -1  map[] <nil>", "/old": "200 -1 hello map[] <nil>", "/early": "200 5 hello map[] <nil>", "/empty": "204 0  map[] <nil>", "/zero": "404 0  map[] <nil>",
			"/long": fmt.Sprintf("200 %d %s map[] <nil>", len(long), long), "/head": "200 5 hello map[] <nil>", "/more": "200 5 hello map[] <nil>", "/none": none, "/two": none,
		} {
			if got := get(path); got != want {
				t.Errorf("%s: %.100s, want %.100s", path, got, want)
			}
		}
		for _, path := range []string{"/cut", "/cutoff", "/nochunk"} {
			if got := get(path); !strings.Contains(got, "INTERNAL_ERROR") {
				t.Errorf("%s is taken for whole: %s", path, got)
			}
		}
	}
	if n := r.handed(); n > 0 {
		t.Errorf("%d requests were net/http's", n)
	}
}

// TestStreamBodies: large bodies go both ways at once, over many streams, whatever windows there are, plain and in TLS, in a lane and
// in net/http's way.
func TestStreamBodies(t *testing.T) {
	r := newRig(t)
	r.cert[aCert], _ = selfSigned()
	r.Endpoints(svc, 80, []lb.Backend{backend(t, func(w http.ResponseWriter, q *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex()
		_, _ = io.Copy(w, q.Body)
	})})
	r.Serve(table(toService(route.Action{})))
	plain, secure := r.listen(web), r.listen(webS)
	for name, c := range map[string]struct {
		url string
		t   *http2.Transport
	}{
		"plain": {"http://" + plain, &http2.Transport{AllowHTTP: true, DialTLSContext: func(ctx context.Context, network, addr string, _ *tls.Config) (net.Conn, error) {
			return net.Dial(network, addr)
		}}},
		"TLS": {"https://" + secure, &http2.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "a.example"}}},
	} {
		c.t.MaxReadFrameSize = 1 << 20
		var all sync.WaitGroup
		for i := range 24 {
			all.Go(func() {
				sent := bytes.Repeat([]byte{byte(i)}, 100_000+i*77_777)
				q, _ := http.NewRequest("POST", c.url, bytes.NewReader(sent))
				if i%3 == 1 {
					q.ContentLength = -1 // by net/http's way
				}
				res, err := c.t.RoundTrip(q)
				if err != nil {
					t.Errorf("%s: %v", name, err)
					return
				}
				defer res.Body.Close()
				got, err := io.ReadAll(res.Body)
				if err != nil || !bytes.Equal(got, sent) {
					t.Errorf("%s: %d of %d bytes, %v", name, len(got), len(sent), err)
				}
			})
		}
		all.Wait()
		c.t.CloseIdleConnections()
	}
}

// TestSmallWindows: a client that takes a byte at a time gets all.
func TestSmallWindows(t *testing.T) {
	lanes, _, _ := both(t, route.Action{}, func(w http.ResponseWriter, q *http.Request) { fmt.Fprint(w, strings.Repeat("x", 300)) })
	for _, te := range []string{"", "te: trailers\n"} {
		c := dialFramed(t, lanes, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0}, http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
		c.request(1, getA+te, true)
		c.request(3, getA+te, true)
		go func() {
			for range 300 {
				_ = c.WriteWindowUpdate(1, 1)
				time.Sleep(100 * time.Microsecond)
			}
		}()
		if got := c.outcome(1); got != "200 300" {
			t.Errorf("%q: %s", te, got)
		}
	}
}

// TestSlowStreams: an answer that nobody reads holds up no other, and a client that reads nothing no other client.
func TestSlowStreams(t *testing.T) {
	lanes, _, _ := both(t, route.Action{}, func(w http.ResponseWriter, q *http.Request) {
		n := 5
		if q.URL.Path == "/large" {
			n = 4 << 20
		}
		_, _ = w.Write(make([]byte, n))
	})
	large := strings.Replace(getA, ":path: /", ":path: /large", 1)
	for _, te := range []string{"", "te: trailers\n"} {
		c := dialFramed(t, lanes)
		_ = c.WriteWindowUpdate(0, 1<<30)
		for id := uint32(1); id < 40; id += 2 {
			c.request(id, large+te, true)
		}
		c.request(41, getA+te, true)
		if got := c.outcome(41); got != "200 5" {
			t.Errorf("%q: behind answers that are not read: %s", te, got)
		}
		blocked := dialFramed(t, lanes, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})
		_ = blocked.WriteWindowUpdate(0, 1<<30)
		for id := uint32(1); id < 40; id += 2 {
			blocked.request(id, large+te, true)
		}
		for range 20 {
			other := dialFramed(t, lanes)
			other.request(1, getA+te, true)
			if got := other.outcome(1); got != "200 5" {
				t.Errorf("%q: beside a client that does not read: %s", te, got)
			}
			_ = other.conn.Close()
		}
		_ = blocked.WritePing(false, [8]byte{}) // among what it has not read
		if got := blocked.outcome(1); got != fmt.Sprint("200 ", 4<<20) {
			t.Errorf("%q: who reads late: %s", te, got)
		}
		_ = blocked.conn.Close()
	}
}

// TestCancelled: a request that its client gives up ends at the endpoint, before the answer and in the middle of it, and the connection
// goes on.
func TestCancelled(t *testing.T) {
	var begun, ended atomic.Int32
	lanes, _, _ := both(t, route.Action{}, func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/" {
			fmt.Fprint(w, "hello")
			return
		}
		begun.Add(1)
		defer ended.Add(1)
		if q.URL.Path == "/middle" {
			fmt.Fprint(w, "some")
			w.(http.Flusher).Flush()
		}
		<-q.Context().Done()
	})
	c := dialFramed(t, lanes)
	id := uint32(1)
	for _, path := range []string{"/before", "/middle"} {
		for _, te := range []string{"", "te: trailers\n"} {
			was := begun.Load()
			c.request(id, strings.Replace(getA, ":path: /", ":path: "+path, 1)+te, true)
			for begun.Load() == was {
				time.Sleep(time.Millisecond)
			}
			_ = c.WriteRSTStream(id, http2.ErrCodeCancel)
			for n := 0; ended.Load() <= was; n++ {
				if time.Sleep(time.Millisecond); n > 10_000 {
					t.Fatalf("%s %q does not end", path, te)
				}
			}
			c.request(id+2, getA+te, true)
			if got := c.outcome(id + 2); got != "200 5" {
				t.Errorf("after %s %q: %s", path, te, got)
			}
			id += 4
		}
	}
}

// TestEarlyAnswer: an answer before the body's end ends the stream, and what the client sends meanwhile does no harm.
func TestEarlyAnswer(t *testing.T) {
	lanes, _, _ := both(t, route.Action{}, func(w http.ResponseWriter, q *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex() // or it would read the body first
		w.WriteHeader(http.StatusForbidden)
	})
	c := dialFramed(t, lanes)
	for id, length := uint32(1), "content-length: 400000\n"; id < 160; id += 2 {
		if id > 100 {
			length = ""
		}
		c.request(id, postA+length, false)
		_ = c.WriteData(id, false, make([]byte, 16000))
		if got := c.outcome(id); got != "403 0" {
			t.Fatalf("%d: %s", id, got)
		}
		_ = c.WriteData(id, true, make([]byte, 16000)) // was on its way
	}
}

package http1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/httputil"
	"reflect"
	"strings"
	"testing"
)

// requests are heads that proxies and servers have been known to read in two ways, and some that everybody reads in one.
var requests = []string{
	"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"POST /a?b=c HTTP/1.1\r\nHost: a.example:80\r\nContent-Length: 5\r\nX-Y:  z \r\n\r\nhello",
	"GET /%61%2f?x=%zz HTTP/1.1\r\nHost: a\r\nConnection: close\r\nCookie: a=b; c=d\r\n\r\nGET",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nhello",
	"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\nContent-Length: 3\r\n\r\nabc",
	"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\tchunked\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\n Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc",
	"POST / HTTP/1.1\r\nHost: a\r\nX: y\r\n\tz\r\nContent-Length: 3\r\n\r\nabc",
	"POST / HTTP/1.1\r\nHost: a\r\nX: y\rContent-Length: 3\r\n\r\nabc",
	"GET / HTTP/1.1\nHost: a\n\n",
	"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
	"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
	"GET / HTTP/1.1\r\n\r\n",
	"GET / HTTP/1.1\r\nHost:\r\n\r\n",
	"GET / HTTP/1.0\r\nHost: a\r\n\r\n",
	"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET //b/ HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nX: \x00\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nX\x00: y\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nX: \x80\xff\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nConnection: close, X-Real\r\nX-Real: 1\r\n\r\n",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
	"CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
	"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nb\r\n\r\n",
	"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
}

// FuzzRequest: what is accepted here, net/http accepts, with the same meaning and the same end.
func FuzzRequest(f *testing.F) {
	for _, r := range requests {
		f.Add([]byte(r))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Request
		if r.Parse(b) != Whole {
			return
		}
		from := bufio.NewReaderSize(bytes.NewReader(b), len(b)+1)
		want, err := http.ReadRequest(from)
		if err != nil {
			if strings.Contains(err.Error(), "invalid URL escape") {
				return // the path has a normal form, or the request is refused
			}
			t.Fatalf("%q: net/http says %v", b, err)
		}
		uri := string(r.Path)
		if r.HasQuery {
			uri += "?" + string(r.Query)
		}
		switch {
		case string(r.Method) != want.Method || uri != want.RequestURI || string(r.Host) != want.Host || r.Length != want.ContentLength:
			t.Fatalf("%q: %s %s host %s length %d, net/http reads %s %s %s %d", b, r.Method, uri, r.Host, r.Length, want.Method, want.RequestURI, want.Host, want.ContentLength)
		case len(want.TransferEncoding) > 0 || want.Close != r.Close || !want.ProtoAtLeast(1, 1):
			t.Fatalf("%q: net/http reads %v, close %v", b, want.TransferEncoding, want.Close)
		}
		header := http.Header{}
		for i := range r.Fields {
			if f := &r.Fields[i]; f.Kind != Host {
				header.Add(string(f.Name(b)), string(f.Value(b)))
			}
		}
		if !reflect.DeepEqual(header, want.Header) {
			t.Fatalf("%q: %v, net/http reads %v", b, header, want.Header)
		}
		body, err := io.ReadAll(want.Body)
		rest := b[r.Size:]
		if int64(len(rest)) >= r.Length && (err != nil || !bytes.Equal(body, rest[:r.Length])) {
			t.Fatalf("%q: the body is %q, %v", b, body, err)
		}
	})
}

// TestOdd: of the requests that have been read in two ways, none is accepted.
func TestOdd(t *testing.T) {
	for i, text := range requests {
		var r Request
		v := r.Parse([]byte(text))
		if fine := i < 3 || strings.Contains(text, "X: \x80"); fine != (v == Whole) {
			t.Errorf("%q: %d", text, v)
		}
	}
	var r Request
	if r.Parse([]byte("GET / HTTP/1.1\r\nHost: a\r\n"+strings.Repeat("X: y\r\n", mostFields)+"\r\n")) != Odd {
		t.Error("any number of fields is accepted")
	}
	if r.Parse([]byte("\x16\x03\x01")) != Odd {
		t.Error("TLS is waited for")
	}
}

// FuzzResponse: what is accepted here, net/http accepts, with the same meaning and the same end.
func FuzzResponse(f *testing.F) {
	for _, r := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nServer: x\r\n\r\nhello",
		"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n",
		"HTTP/1.0 200 OK\r\n\r\nhello",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nConnection: close, foo\r\nDate: x\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
	} {
		f.Add([]byte(r))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var r Response
		if r.Parse(b, false) != Whole || r.Status < 200 || r.Status == 204 {
			return
		}
		want, err := http.ReadResponse(bufio.NewReaderSize(bytes.NewReader(b), len(b)+1), nil)
		if err != nil {
			t.Fatalf("%q: net/http says %v", b, err)
		}
		length := r.Length
		if length == Chunked {
			length = -1
		}
		if r.Status != want.StatusCode || length != want.ContentLength && !(r.Length == 0 && len(want.Header["Content-Length"]) > 0) || (r.Length == Chunked) != (len(want.TransferEncoding) > 0) {
			t.Fatalf("%q: %d length %d, net/http reads %d %d %v", b, r.Status, r.Length, want.StatusCode, want.ContentLength, want.TransferEncoding)
		}
		if r.Close != want.Close && r.Length != UntilClose {
			t.Fatalf("%q: close %v, net/http reads %v", b, r.Close, want.Close)
		}
		if r.Length == Chunked {
			sameChunks(t, b[r.Size:])
		}
	})
}

// sameChunks compares a chunked body's end with net/http's reading.
func sameChunks(t *testing.T, b []byte) {
	t.Helper()
	var c Chunks
	n, done, ok := c.Scan(b)
	if !ok || !done {
		return
	}
	var again Chunks // byte by byte
	for i := range n {
		if m, done, ok := again.Scan(b[i : i+1]); !ok || m != 1 || done != (i == n-1) {
			t.Fatalf("%q: byte %d is read in another way when it comes alone", b, i)
		}
	}
	from := bufio.NewReaderSize(bytes.NewReader(b[:n]), len(b)+1)
	want, err := io.ReadAll(httputil.NewChunkedReader(from))
	if err != nil {
		t.Fatalf("%q: net/http says %v", b[:n], err)
	}
	if got := dataOf(t, b[:n], len(b)); !bytes.Equal(got, want) {
		t.Fatalf("%q: the data is %q, net/http reads %q", b[:n], got, want)
	}
	dataOf(t, b[:n], 1)
}

// dataOf is a chunked body's data, which comes in parts.
func dataOf(t *testing.T, b []byte, part int) (all []byte) {
	t.Helper()
	var c Chunks
	for len(b) > 0 {
		data, n, done, ok := c.Next(b[:min(part, len(b))])
		if !ok || n == 0 || done != (n == len(b) && len(data) == 0) {
			t.Fatalf("%q: %q of %d bytes, done %v, ok %v", b, data, n, done, ok)
		}
		all, b = append(all, data...), b[n:]
	}
	return all
}

// TestTrailers: fields after a chunked body are found, but for those about messages and connections.
func TestTrailers(t *testing.T) {
	for text, want := range map[string]string{
		"0\r\n\r\n": "", "3\r\nabc\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\nConnection: x\r\nY:z \r\n\r\n": "X-Sum=1 Y=z ",
	} {
		for _, part := range []int{1, 100} {
			var c Chunks
			for b := []byte(text); len(b) > 0; {
				_, n, _, _ := c.Next(b[:min(part, len(b))])
				b = b[n:]
			}
			got := ""
			if ok := c.Trailers(func(name, value []byte) { got += string(name) + "=" + string(value) + " " }); !ok || got != want {
				t.Errorf("%q: %q, %v", text, got, ok)
			}
		}
	}
	var c Chunks
	_, _, _, _ = c.Next([]byte("0\r\n folded\r\n\r\n"))
	if c.Trailers(func(_, _ []byte) {}) {
		t.Error("what is no field is read")
	}
}

// TestAllocations: reading a head takes no memory.
func TestAllocations(t *testing.T) {
	b := []byte(requests[1])
	var r Request
	r.Parse(b)
	if n := testing.AllocsPerRun(100, func() { r.Parse(b) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

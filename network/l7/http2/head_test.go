package http2

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"fairlead.dev/fairlead/network/l7/http1"
)

// headOf makes a head of lines "name: value".
func headOf(text string, ends bool) *Head {
	h := new(Head)
	h.Reset(false, 1<<16)
	for line := range strings.SplitSeq(text, "\n") {
		if line == "" {
			continue
		}
		at := strings.Index(line[1:], ":") + 1
		h.Add(line[:at], strings.TrimPrefix(line[at+1:], " "))
	}
	h.End(ends)
	return h
}

const get = ":method: GET\n:scheme: https\n:path: /a?b\n:authority: a.example\n"

// TestHead: what RFC 9113 says of requests, each rule with its section.
func TestHead(t *testing.T) {
	for _, c := range []struct {
		rule, fields string
		ends         bool
		malformed    bool
		want         string // the head in HTTP/1.1
	}{
		{"a request", get + "accept: x\n", true, false, "GET /a?b HTTP/1.1\r\nhost: a.example\r\naccept: x\r\n\r\n"},
		{"8.2.3 cookies come in parts", get + "cookie: a=b\nx: y\ncookie: c=d\n", true, false, "GET /a?b HTTP/1.1\r\nhost: a.example\r\nx: y\r\ncookie: a=b; c=d\r\n\r\n"},
		{"8.3.1 Host in place of the authority", ":method: GET\n:scheme: http\n:path: /\nhost: b\n", true, false, "GET / HTTP/1.1\r\nhost: b\r\n\r\n"},
		{"8.3.1 Host that says the same", get + "host: A.example\n", true, false, "GET /a?b HTTP/1.1\r\nhost: a.example\r\n\r\n"},
		{"8.3.1 Host that says another", get + "host: b.example\n", true, true, ""},
		{"8.3.1 two Hosts", get + "host: a.example\nhost: a.example\n", true, true, ""},
		{"8.3.1 an empty Host", get + "host: \n", true, true, ""},
		{"8.3.1 no method", ":scheme: https\n:path: /\n:authority: a\n", true, true, ""},
		{"8.3.1 no scheme", ":method: GET\n:path: /\n:authority: a\n", true, true, ""},
		{"8.3.1 another scheme", ":method: GET\n:scheme: ftp\n:path: /\n:authority: a\n", true, true, ""},
		{"8.3.1 no path", ":method: GET\n:scheme: https\n:authority: a\n", true, true, ""},
		{"8.3.1 an empty path", ":method: GET\n:scheme: https\n:path: \n:authority: a\n", true, true, ""},
		{"8.3.1 a path without a slash", ":method: GET\n:scheme: https\n:path: a\n:authority: a\n", true, true, ""},
		{"8.3.1 * is for OPTIONS", ":method: GET\n:scheme: https\n:path: *\n:authority: a\n", true, true, ""},
		{"8.3.1 OPTIONS *", ":method: OPTIONS\n:scheme: https\n:path: *\n:authority: a\n", true, false, "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n"},
		{"8.3 a path that ends the line", ":method: GET\n:scheme: https\n:path: / HTTP/1.1\n:authority: a\n", true, true, ""},
		{"8.3 a method that ends the line", ":method: GET /x\n:scheme: https\n:path: /\n:authority: a\n", true, true, ""},
		{"8.3 a pseudo-field twice", get + ":path: /b\n", true, true, ""},
		{"8.3 a pseudo-field after others", "x: y\n" + get, true, true, ""},
		{"8.3 a pseudo-field of answers", get + ":status: 200\n", true, true, ""},
		{"8.3 a pseudo-field that nobody knows", get + ":x: y\n", true, true, ""},
		{"8441 4 what was not offered", strings.Replace(get, "GET", "CONNECT", 1) + ":protocol: websocket\n", false, true, ""},
		{"8.5 CONNECT", ":method: CONNECT\n:authority: a:443\n", false, false, ""},
		{"8.5 CONNECT with a path", strings.Replace(get, "GET", "CONNECT", 1), false, true, ""},
		{"8.2.1 upper case", get + "X: y\n", true, true, ""},
		{"8.2.1 white space in a name", get + "x y: z\n", true, true, ""},
		{"8.2.1 white space before a value", get + "x:  y\n", true, true, ""},
		{"8.2.1 white space after a value", get + "x: y\t\n", true, true, ""},
		{"8.2.1 an empty value", get + "x: \n", true, false, "GET /a?b HTTP/1.1\r\nhost: a.example\r\nx: \r\n\r\n"},
		{"8.2.1 a line in a value", get + "x: y\rz: a\n", true, true, ""},
		{"8.2.1 NUL", get + "x: y\x00\n", true, true, ""},
		{"8.2.2 Connection", get + "connection: x\n", true, true, ""},
		{"8.2.2 Keep-Alive", get + "keep-alive: 1\n", true, true, ""},
		{"8.2.2 Proxy-Connection", get + "proxy-connection: close\n", true, true, ""},
		{"8.2.2 Transfer-Encoding", get + "transfer-encoding: chunked\n", false, true, ""},
		{"8.2.2 Upgrade", get + "upgrade: h2c\n", true, true, ""},
		{"8.2.2 TE", get + "te: gzip\n", true, true, ""},
		{"8.2.2 TE: trailers", get + "te: trailers\n", true, false, "GET /a?b HTTP/1.1\r\nhost: a.example\r\nte: trailers\r\n\r\n"},
		{"8.1.1 two lengths", get + "content-length: 5\ncontent-length: 5\n", false, true, ""},
		{"8.1.1 no length", get + "content-length: +5\n", false, true, ""},
		{"8.1.1 a length without a body", get + "content-length: 5\n", true, true, ""},
		{"8.1.1 a length", get + "content-length: 5\n", false, false, "GET /a?b HTTP/1.1\r\nhost: a.example\r\ncontent-length: 5\r\n\r\n"},
	} {
		h := headOf(c.fields, c.ends)
		if (h.Malformed != "") != c.malformed {
			t.Errorf("%s: malformed: %q", c.rule, h.Malformed)
		}
		if got := string(h.AppendHTTP1(nil)); c.want != "" && got != c.want {
			t.Errorf("%s: %q, want %q", c.rule, got, c.want)
		}
	}
}

// TestTrailers: they have no pseudo-fields, and no host.
func TestTrailers(t *testing.T) {
	for text, fine := range map[string]bool{"x=y": true, ":path=/": false, "host=a": false, "connection=close": false} {
		h := new(Head)
		h.Reset(true, 1000)
		name, value, _ := strings.Cut(text, "=")
		h.Add(name, value)
		h.End(true)
		if (h.Malformed == "") != fine {
			t.Errorf("%s: %q", text, h.Malformed)
		}
	}
}

// TestLargeHead: a few bytes of HPACK may stand for many; no more of them is kept than a head may have.
func TestLargeHead(t *testing.T) {
	h := new(Head)
	h.Reset(false, 10_000)
	large := strings.Repeat("x", 4000)
	for range 100_000 {
		h.Add("x", large)
	}
	if h.End(true); !h.TooLarge || len(h.Fields) > 2 {
		t.Errorf("%v, %d fields", h.TooLarge, len(h.Fields))
	}
}

// FuzzHead: whatever HPACK says, a request that is none is refused, and of any other the HTTP/1.1 is one request with the same meaning, to
// which nothing was added.
func FuzzHead(f *testing.F) {
	for _, text := range []string{get, get + "x: y\ncookie: a\ncookie: b\ncontent-length: 5\n", get + "host: a.example\nx: a b\n"} {
		var b bytes.Buffer
		e := hpack.NewEncoder(&b)
		for line := range strings.Lines(text) {
			at := strings.Index(line[1:], ":") + 1
			_ = e.WriteField(hpack.HeaderField{Name: line[:at], Value: strings.TrimSpace(line[at+1:])})
		}
		f.Add(b.Bytes(), true)
	}
	f.Add([]byte("\x82\x84\x87\x41\x01a\x40\x01x\x05a\r\nb:"), true)
	f.Fuzz(func(t *testing.T, block []byte, ends bool) {
		var h Head
		h.Reset(false, 1<<12)
		d := hpack.NewDecoder(4096, func(f hpack.HeaderField) { h.Add(f.Name, f.Value) })
		if _, err := d.Write(block); err != nil || d.Close() != nil {
			return
		}
		if h.End(ends); h.Malformed != "" || h.TooLarge {
			return
		}
		text := h.AppendHTTP1(nil)
		if n := bytes.Count(text, []byte("\n")); n != bytes.Count(text, []byte("\r\n")) || n != bytes.Count(text, []byte("\r")) || n > len(h.Fields)+3 {
			t.Fatalf("%q has other lines than its fields", text)
		}
		var r http1.Request
		if r.Parse(text) != http1.Whole {
			return // net/http's
		}
		if r.Size != len(text) || string(r.Method) != h.Method || string(r.Host) != h.Authority || string(r.Path)+"?"+string(r.Query) != h.Path && string(r.Path) != h.Path || r.Length != max(h.Length, 0) {
			t.Fatalf("%q is read as %+v", text, r)
		}
		want, err := http.ReadRequest(bufio.NewReaderSize(bytes.NewReader(text), len(text)+1))
		if err != nil {
			if !strings.Contains(err.Error(), "invalid URL escape") {
				t.Fatalf("%q: net/http says %v", text, err)
			}
			return
		}
		for _, f := range h.Fields {
			if values := want.Header.Values(f.Name); len(values) == 0 || f.Name != "cookie" && !contains(values, f.Value) {
				t.Fatalf("%q: net/http reads %v of %s", text, values, f.Name)
			}
		}
	})
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

// TestAllocations: a request and the fields of its answer take no memory.
func TestAllocations(t *testing.T) {
	var h Head
	b := make([]byte, 0, 4096)
	if n := testing.AllocsPerRun(100, func() {
		h.Reset(false, 1<<16)
		for _, f := range [...]Field{{":method", "GET"}, {":scheme", "https"}, {":path", "/"}, {":authority", "a"}, {"accept", "*/*"}, {"cookie", "a=b"}} {
			h.Add(f.Name, f.Value)
		}
		h.End(true)
		b = h.AppendHTTP1(b[:0])
		b = AppendField(AppendStatus(b[:0], 200), "Content-Type", b[:0])
		b = AppendHeaders(b, 1, true, nil, FrameSize)
		var f Frame
		f.Read(b)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

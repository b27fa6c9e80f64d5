package http2

import "strings"

// Field is one of a request, or of its trailers.
type Field struct{ Name, Value string }

// Head is what the fields of a request say, in the order in which Add was told of them. Texts are as they were sent.
type Head struct {
	Method, Scheme, Path string
	Authority            string // or the Host, where there is none
	Fields               []Field
	Length               int64  // that Content-Length says; -1: it says nothing
	Malformed            string // why it is no request (RFC 9113, 8.1.1); empty: it is one
	TooLarge             bool   // then the fields are not all there

	trailers        bool
	host            string
	cookies, seen   int
	size, most      int
	hasHost, begins bool
}

// overhead is what a field counts beside its texts (RFC 9113, 6.5.2).
const overhead = 32

// Reset has the head be that of a request, or trailers, of most bytes.
func (h *Head) Reset(trailers bool, most int) {
	clear(h.Fields)
	*h = Head{Fields: h.Fields[:0], Length: -1, trailers: trailers, begins: true, most: most}
}

// Add tells of the next field.
func (h *Head) Add(name, value string) {
	if h.size += len(name) + len(value) + overhead; h.size > h.most {
		h.TooLarge = true
		return
	}
	if len(name) > 0 && name[0] == ':' {
		h.pseudo(name, value)
		return
	}
	h.begins = false
	if !lowerToken(name) {
		h.wrong("the name of a field is none")
	}
	if !plainValue(value) {
		h.wrong("the value of a field is none")
	}
	switch name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		h.wrong("a field is for connections of HTTP/1.1")
	case "te":
		if value != "trailers" {
			h.wrong("TE is not trailers")
		}
	case "host":
		if h.hasHost || h.trailers {
			h.wrong("there are two hosts")
		}
		h.host, h.hasHost = value, true
		return
	case "content-length":
		n, ok := length(value)
		if !ok || h.Length >= 0 {
			h.wrong("Content-Length is no length")
		}
		h.Length = n
	case "cookie":
		h.cookies++
	}
	h.Fields = append(h.Fields, Field{name, value})
}

func (h *Head) wrong(why string) {
	if h.Malformed == "" {
		h.Malformed = why
	}
}

// pseudo are the fields of the request line.
func (h *Head) pseudo(name, value string) {
	if !h.begins || h.trailers {
		h.wrong("a pseudo-field comes late")
	}
	var at *string
	bit := 0
	switch name {
	case ":method":
		at, bit = &h.Method, 1
	case ":scheme":
		at, bit = &h.Scheme, 2
	case ":path":
		at, bit = &h.Path, 4
	case ":authority":
		at, bit = &h.Authority, 8
	default:
		h.wrong("a pseudo-field is unknown")
		return
	}
	if h.seen&bit != 0 || !visible(value) {
		h.wrong("a pseudo-field comes twice, or is none")
	}
	h.seen |= bit
	*at = value
}

// End is told after the last field, and whether no body follows.
func (h *Head) End(ends bool) {
	switch {
	case h.trailers || h.TooLarge:
		return
	case h.Method == "CONNECT":
		if h.seen != 1|8 {
			h.wrong("a CONNECT has an authority, no scheme and no path")
		}
	case h.seen&7 != 7:
		h.wrong("a pseudo-field is missing")
	case h.Scheme != "http" && h.Scheme != "https":
		h.wrong("the scheme is not HTTP's")
	case h.Path == "" || h.Path[0] != '/' && !(h.Path == "*" && h.Method == "OPTIONS"):
		h.wrong("the path is none")
	}
	switch {
	case !token(h.Method):
		h.wrong("the method is none")
	case ends && h.Length > 0:
		h.wrong("Content-Length says that there is a body")
	case !h.hasHost:
	case h.Authority == "":
		h.Authority = h.host
	case !strings.EqualFold(h.host, h.Authority):
		h.wrong("Host is another than the authority")
	}
	if h.hasHost && !visible(h.host) {
		h.wrong("Host is none")
	}
}

// AppendHTTP1 appends the head of the same request in HTTP/1.1. It is not to be Malformed.
func (h *Head) AppendHTTP1(b []byte) []byte {
	b = append(append(append(b, h.Method...), ' '), h.Path...)
	b = append(append(append(b, " HTTP/1.1\r\nhost: "...), h.Authority...), "\r\n"...)
	for i := range h.Fields {
		f := &h.Fields[i]
		if f.Name == "cookie" && h.cookies > 1 {
			continue
		}
		b = append(append(append(append(b, f.Name...), ": "...), f.Value...), "\r\n"...)
	}
	if h.cookies > 1 {
		b = append(h.appendCookies(append(b, "cookie: "...)), "\r\n"...)
	}
	return append(b, "\r\n"...)
}

// appendCookies joins what came in parts (RFC 9113, 8.2.3).
func (h *Head) appendCookies(b []byte) []byte {
	n := 0
	for i := range h.Fields {
		if f := &h.Fields[i]; f.Name == "cookie" {
			if n++; n > 1 {
				b = append(b, "; "...)
			}
			b = append(b, f.Value...)
		}
	}
	return b
}

// Cookie is the whole of it.
func (h *Head) Cookie() (text string, is bool) { return string(h.appendCookies(nil)), h.cookies > 0 }

// Classes of bytes.
const (
	inName  = 1 << iota // of a field: as in tokens, but in lower case
	inToken             // RFC 9110, 5.6.2
	inText              // visible
	inValue             // of a field: all but NUL, CR and LF
)

var class = func() (t [256]uint8) {
	for c := range 256 {
		b := byte(c)
		if b != 0 && b != '\r' && b != '\n' {
			t[c] |= inValue
		}
		if b > ' ' && b != 0x7f {
			t[c] |= inText
		}
		upper := b >= 'A' && b <= 'Z'
		if upper || b >= 'a' && b <= 'z' || b >= '0' && b <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", b) >= 0 {
			t[c] |= inToken
			if !upper {
				t[c] |= inName
			}
		}
	}
	return t
}()

func all(s string, of uint8) bool {
	for i := range len(s) {
		if class[s[i]]&of == 0 {
			return false
		}
	}
	return true
}

func lowerToken(s string) bool { return s != "" && all(s, inName) }
func token(s string) bool      { return s != "" && all(s, inToken) }
func visible(s string) bool    { return all(s, inText) }

// plainValue reports whether a value is one: without white space around it, and without what ends a line.
func plainValue(s string) bool {
	if s == "" {
		return true
	}
	first, last := s[0], s[len(s)-1]
	return first != ' ' && first != '\t' && last != ' ' && last != '\t' && all(s, inValue)
}

// length reads digits, not so many that sums of them overflow.
func length(s string) (n int64, ok bool) {
	if s == "" || len(s) > 17 {
		return 0, false
	}
	for i := range len(s) {
		c := s[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

package http1

import "bytes"

// Verdict is what was found at the beginning of some bytes.
type Verdict uint8

// The verdicts.
const (
	Incomplete Verdict = iota // more bytes are needed to say
	Whole                     // a head, with everything known that is to be known
	Odd                       // of a request: not for this package; of an answer: it is none
)

// Kind says what a field is to a proxy.
type Kind uint8

// The kinds of fields.
const (
	EndToEnd      Kind = iota // passed on
	Hop                       // between two neighbours (RFC 9110, 7.6.1), or a claim about the client: not passed on
	Host                      // of a request
	Length                    // Content-Length
	ID                        // X-Request-Id
	Server                    // of an answer
	Date                      // of an answer
	connection                // Connection: a Hop that is read
	Encoding                  // Transfer-Encoding
	strange                   // makes a request Odd
	inAnswersOnly             // as strange, but a Hop in answers
	claim                     // of a request about its client: a Hop; in answers it means nothing
)

// Field is a header field, as places in the bytes that were read.
type Field struct {
	Start, NameEnd, ValueStart, ValueEnd, End int // End is after its CRLF
	Kind                                      Kind
}

// Name and Value are a field's in the bytes that were read.
func (f *Field) Name(b []byte) []byte { return b[f.Start:f.NameEnd] }

// Value is without the white space around it.
func (f *Field) Value(b []byte) []byte { return b[f.ValueStart:f.ValueEnd] }

// mostFields is how many fields a head may have.
const mostFields = 100

// known are the fields that mean something here, in lower case, by their length.
var known = byLength(map[string]Kind{
	"host": Host, "content-length": Length, "x-request-id": ID, "server": Server, "date": Date,
	"connection": connection, "transfer-encoding": Encoding,
	"keep-alive": Hop, "proxy-connection": Hop, "proxy-authenticate": Hop, "proxy-authorization": Hop,
	"forwarded": claim, "x-forwarded-for": claim, "x-forwarded-host": claim, "x-forwarded-port": claim, "x-forwarded-proto": claim,
	"x-forwarded-scheme": claim, "x-real-ip": claim, "x-original-forwarded-for": claim,
	"upgrade": inAnswersOnly, "te": strange, "trailer": strange, "expect": strange,
	"http2-settings": strange, // of an upgrade to HTTP/2
})

type knownField struct {
	name string
	kind Kind
}

func byLength(all map[string]Kind) (table [32][]knownField) {
	for name, kind := range all {
		table[len(name)] = append(table[len(name)], knownField{name, kind})
	}
	return table
}

func kindOf(name []byte) Kind {
	if len(name) < len(known) {
		for i := range known[len(name)] {
			if k := &known[len(name)][i]; EqualFold(name, k.name) {
				return k.kind
			}
		}
	}
	return EndToEnd
}

// EqualFold compares a name with one in lower case, in ASCII.
func EqualFold(name []byte, lower string) bool {
	if len(name) != len(lower) {
		return false
	}
	for i, c := range name {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// Classes of bytes.
const (
	token  = 1 << iota // of names and methods (RFC 9110, 5.6.2)
	value              // of field values: visible, space, tab, and beyond ASCII
	target             // of a request's target: visible ASCII without what a URI may not have
	digit
)

var class = func() (t [256]uint8) {
	for c := range 256 {
		b := byte(c)
		letter := b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
		number := b >= '0' && b <= '9'
		if letter || number || c < 128 && bytes.IndexByte([]byte("!#$%&'*+-.^_`|~"), b) >= 0 {
			t[c] |= token
		}
		if c >= ' ' && c != 0x7f || c == '\t' {
			t[c] |= value
		}
		if c > ' ' && c < 0x7f && bytes.IndexByte([]byte("\"#<>\\^`{|}"), b) < 0 {
			t[c] |= target
		}
		if number {
			t[c] |= digit
		}
	}
	return t
}()

func all(b []byte, of uint8) bool {
	for _, c := range b {
		if class[c]&of == 0 {
			return false
		}
	}
	return true
}

// line returns the length of the line at the beginning of some bytes, without its CRLF. It is Odd if it ends otherwise.
func line(b []byte) (n int, v Verdict) {
	lf := bytes.IndexByte(b, '\n')
	switch {
	case lf < 0:
		return 0, Incomplete
	case lf == 0 || b[lf-1] != '\r':
		return 0, Odd
	}
	return lf - 1, Whole
}

// next reads the field at a place. At the end of the head it is one without a name.
func next(b []byte, at int) (f Field, v Verdict) {
	n, v := line(b[at:])
	if v != Whole || n == 0 {
		return Field{Start: at, NameEnd: at, End: at + 2}, v
	}
	f, ok := field(b, at, at+n)
	if !ok {
		return f, Odd
	}
	return f, Whole
}

// field reads the line of a field: a name, a colon right after it, and a value.
func field(b []byte, start, end int) (f Field, ok bool) {
	colon := bytes.IndexByte(b[start:end], ':')
	if colon <= 0 || !all(b[start:start+colon], token) {
		return f, false // a folded line among others
	}
	f = Field{Start: start, NameEnd: start + colon, ValueStart: start + colon + 1, ValueEnd: end, End: end + 2}
	for f.ValueStart < end && (b[f.ValueStart] == ' ' || b[f.ValueStart] == '\t') {
		f.ValueStart++
	}
	for f.ValueEnd > f.ValueStart && (b[f.ValueEnd-1] == ' ' || b[f.ValueEnd-1] == '\t') {
		f.ValueEnd--
	}
	f.Kind = kindOf(f.Name(b))
	return f, all(f.Value(b), value)
}

// length reads a Content-Length: digits, and not so many that sums of them overflow.
func length(text []byte) (n int64, ok bool) {
	if len(text) == 0 || len(text) > 17 || !all(text, digit) {
		return 0, false
	}
	for _, c := range text {
		n = n*10 + int64(c-'0')
	}
	return n, true
}

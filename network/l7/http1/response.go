package http1

import "bytes"

// How the end of an answer's body is found, where it is not a number of bytes.
const (
	UntilClose int64 = -1
	Chunked    int64 = -2
)

// Response is the head of an answer. It refers to the bytes that it was read from.
type Response struct {
	Status int
	Start  int // the length of the status line with its CRLF
	Fields []Field
	Length int64 // of the body: bytes, UntilClose or Chunked
	Close  bool  // no other answer follows on this connection
	Server bool  // it says which server it is from
	Date   bool
	old    bool // HTTP/1.0
	Size   int  // of the head, in bytes
}

// Parse reads the head of the answer to a request, which may have been a HEAD.
func (r *Response) Parse(b []byte, head bool) Verdict {
	*r = Response{Fields: r.Fields[:0], Length: UntilClose}
	n, v := line(b)
	if v != Whole {
		return v
	}
	if !r.start(b[:n]) {
		return Odd
	}
	r.Start = n + 2
	for at := r.Start; ; {
		f, v := next(b, at)
		switch {
		case v != Whole:
			return v
		case f.NameEnd == at:
			r.Size = f.End
			return r.framed(head)
		}
		kind, ok := r.note(f.Kind, f.Value(b))
		if !ok || len(r.Fields) == mostFields {
			return Odd
		}
		f.Kind, at = kind, f.End
		r.Fields = append(r.Fields, f)
	}
}

// framed decides how the body ends.
func (r *Response) framed(head bool) Verdict {
	switch {
	case r.Length == Chunked && r.old:
		return Odd
	case r.Status == 204 && r.Length != UntilClose:
		for i := range r.Fields {
			if f := &r.Fields[i]; f.Kind == Length || f.Kind == Encoding {
				f.Kind = Hop // it has no business there (RFC 9110, 8.6)
			}
		}
		r.Length = 0
	case head || r.Status < 200 || r.Status == 204 || r.Status == 304:
		r.Length = 0 // whatever it says (RFC 9112, 6.3)
	case r.Length == UntilClose:
		r.Close = true
	}
	return Whole
}

// start reads the status line: "HTTP/1.1 200 OK".
func (r *Response) start(b []byte) bool {
	const version = "HTTP/1.x "
	if len(b) < len(version)+3 || string(b[:7]) != version[:7] || b[8] != ' ' || !all(b[9:12], digit) || !all(b, value) {
		return false
	}
	switch b[7] {
	case '0':
		r.Close, r.old = true, true
	case '1':
	default:
		return false
	}
	r.Status = int(b[9]-'0')*100 + int(b[10]-'0')*10 + int(b[11]-'0')
	return r.Status >= 100 && (len(b) == 12 || b[12] == ' ')
}

// note looks at what a field says about the message, and returns its kind; false if it makes the answer none.
func (r *Response) note(kind Kind, text []byte) (Kind, bool) {
	switch kind {
	case Length:
		n, ok := length(text)
		if !ok || r.Length != UntilClose {
			return kind, false // two that say the same are left to nobody's reading
		}
		r.Length = n
	case Encoding:
		if r.Length != UntilClose || !EqualFold(text, "chunked") {
			return kind, false
		}
		r.Length = Chunked
	case connection:
		r.connection(text)
		return Hop, true
	case Server:
		r.Server = true
	case Date:
		r.Date = true
	case inAnswersOnly:
		return Hop, true
	case Host, ID, strange, claim:
		return EndToEnd, true
	}
	return kind, true
}

// connection reads the list of a Connection field.
func (r *Response) connection(list []byte) {
	for len(list) > 0 {
		var word []byte
		word, list, _ = bytes.Cut(list, []byte{','})
		if EqualFold(bytes.Trim(word, " \t"), "close") {
			r.Close = true
		}
	}
}

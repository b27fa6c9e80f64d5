package http1

import "bytes"

// Request is the head of a request. It refers to the bytes that it was read from.
type Request struct {
	Method, Path, Query []byte // Path and Query as they were sent
	HasQuery            bool   // there is a "?", with or without a query
	Host                []byte
	ID                  []byte // X-Request-Id, nil if there is none
	Fields              []Field
	Length              int64 // of the body
	Close               bool  // the client wants no other answer on this connection
	Size                int   // of the head, in bytes
}

// Parse reads the head of a request at the beginning of some bytes.
func (r *Request) Parse(b []byte) Verdict {
	*r = Request{Fields: r.Fields[:0], Length: -1}
	n, v := line(b)
	if v != Whole {
		if v == Incomplete && len(b) > 0 && !all(b[:1], token) {
			return Odd // a connection that speaks something else need not wait
		}
		return v
	}
	if !r.start(b[:n]) {
		return Odd
	}
	for at := n + 2; ; {
		f, v := next(b, at)
		switch {
		case v != Whole:
			return v
		case f.NameEnd == at:
			r.Size, r.Length = f.End, max(r.Length, 0)
			if r.Host == nil {
				return Odd
			}
			return Whole
		}
		kind, ok := r.note(f.Kind, f.Value(b))
		if !ok || len(r.Fields) == mostFields || bytes.IndexByte(f.Name(b), '_') >= 0 { // some programs read "_" as "-"
			return Odd
		}
		f.Kind, at = kind, f.End
		r.Fields = append(r.Fields, f)
	}
}

// start reads the request line.
func (r *Request) start(b []byte) bool {
	const version = " HTTP/1.1"
	if len(b) < len(version) || string(b[len(b)-len(version):]) != version {
		return false
	}
	rest := b[:len(b)-len(version)]
	space := bytes.IndexByte(rest, ' ')
	if space <= 0 {
		return false
	}
	r.Method = rest[:space]
	for _, c := range r.Method {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	place := rest[space+1:]
	if len(place) == 0 || place[0] != '/' || len(place) > 1 && place[1] == '/' || !all(place, target) || string(r.Method) == "CONNECT" {
		return false
	}
	r.Path = place
	if mark := bytes.IndexByte(place, '?'); mark >= 0 {
		r.Path, r.Query, r.HasQuery = place[:mark], place[mark+1:], true
	}
	return true
}

// note looks at what a field says about the message, and returns its kind; false if it makes the request odd.
func (r *Request) note(kind Kind, text []byte) (Kind, bool) {
	switch kind {
	case Host:
		if r.Host != nil || len(text) == 0 {
			return kind, false
		}
		r.Host = text
	case Length:
		n, ok := length(text)
		if !ok || r.Length >= 0 {
			return kind, false
		}
		r.Length = n
	case ID:
		if r.ID != nil {
			return kind, false
		}
		r.ID = text
	case connection:
		r.Close = r.Close || EqualFold(text, "close")
		return Hop, EqualFold(text, "close") || EqualFold(text, "keep-alive")
	case Encoding, strange, inAnswersOnly:
		return kind, false
	case claim:
		return Hop, true
	case Server, Date:
		return EndToEnd, true
	}
	return kind, true
}

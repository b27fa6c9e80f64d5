package zone

import "encoding/binary"

// Response is a message being written. Each socket's loop reuses one.
type Response struct {
	Buf   []byte
	limit int    // bytes the records may reach; an OPT record comes after
	Turn  uint32 // every response starts address sets one further on (rule N40)
	Alias Name   // outcome chase: the name to ask for

	answers, authority, extra uint16
	AA, truncated             bool
}

// Begin starts the response to r: room for the header, and the question exactly as it was asked. The
// copy keeps the case of every letter, which clients use to tell real answers from forged ones (0x20).
func (w *Response) Begin(r *Request, limit int) {
	*w = Response{Buf: w.Buf[:0], limit: limit, Turn: w.Turn + 1}
	if r.edns {
		w.limit -= OptSize
	}
	w.Buf = append(w.Buf, r.Msg[:HeaderSize]...)
	w.Buf = append(w.Buf, r.Question()...)
}

// Put appends a set whose owner name stands at offset owner. What does not fit goes: first the
// additional records, which no client needs (RFC 2181, section 9), then answers, with TC set.
func (w *Response) Put(s *RRSet, owner int) {
	start := len(w.Buf)
	whole := owner == HeaderSize && start+len(s.wire) <= w.limit
	switch {
	case start+int(s.split) > w.limit:
		w.part(s)
	case s.stride > 0 && s.count > 1:
		at := int(w.Turn%uint32(s.count)) * int(s.stride)
		w.Buf = append(append(w.Buf, s.wire[at:]...), s.wire[:at]...)
		w.answers += s.count
	case whole:
		w.Buf = append(w.Buf, s.wire...)
		w.answers += s.count
		w.extra += s.extra
	default:
		w.Buf = append(w.Buf, s.wire[:s.split]...)
		w.answers += s.count
	}
	if owner != HeaderSize {
		w.own(start, owner)
	}
}

// part appends the answers of s that fit, beginning at this response's turn.
func (w *Response) part(s *RRSet) {
	w.truncated = true
	off := 0
	if s.stride > 0 {
		off = int(w.Turn%uint32(s.count)) * int(s.stride)
	}
	for range s.count {
		n := rrFixed + int(binary.BigEndian.Uint16(s.wire[off+rrFixed-2:]))
		if len(w.Buf)+n > w.limit {
			return
		}
		w.Buf = append(w.Buf, s.wire[off:off+n]...)
		w.answers++
		if off += n; off == int(s.split) {
			off = 0
		}
	}
}

// own makes the name at offset owner the owner of the records from start on.
func (w *Response) own(start, owner int) {
	for start < len(w.Buf) {
		binary.BigEndian.PutUint16(w.Buf[start:], 0xc000|uint16(owner))
		start += rrFixed + int(binary.BigEndian.Uint16(w.Buf[start+rrFixed-2:]))
	}
}

// ptr appends a PTR record for the question's name.
func (w *Response) ptr(label string, service Name) {
	n := len(service)
	if label != "" {
		n += 1 + len(label)
	}
	if len(w.Buf)+rrFixed+n > w.limit {
		w.truncated = true
		return
	}
	w.Buf = appendRecord(w.Buf, HeaderSize, TypePTR, TTL, nil)
	binary.BigEndian.PutUint16(w.Buf[len(w.Buf)-2:], uint16(n))
	if label != "" {
		w.Buf = append(append(w.Buf, byte(len(label))), label...)
	}
	w.Buf = append(w.Buf, service...)
	w.answers++
}

// soa appends the SOA record that comes with every negative answer, owned by the name at offset owner.
// It is left out where it does not fit: a client that got none does not keep the denial.
func (w *Response) soa(owner int, data string) {
	if len(w.Buf)+rrFixed+len(data) > w.limit {
		return
	}
	w.Buf = appendRecord(w.Buf, owner, TypeSOA, TTL, nil)
	binary.BigEndian.PutUint16(w.Buf[len(w.Buf)-2:], uint16(len(data)))
	w.Buf = append(w.Buf, data...)
	w.authority++
}

// Minimal is the whole answer to a question for ANY about a name that is not ours: no other record is
// worth sending to an address that may be forged (RFC 8482, section 4.2).
func (w *Response) Minimal(r *Request) []byte {
	w.Buf = appendRecord(w.Buf, HeaderSize, TypeHINFO, 3600, []byte("\x07RFC8482\x00"))
	w.answers++
	w.Finish(r, RcodeSuccess)
	return w.Buf
}

// Finish writes the header and the OPT record.
func (w *Response) Finish(r *Request, rcode int) Outcome {
	flags := r.Flags()&(Opcodes|FlagRD|FlagCD) | FlagQR | flagRA | uint16(rcode)&0xf
	if w.AA {
		flags |= FlagAA
	}
	if w.truncated {
		flags |= FlagTC
	}
	if r.edns {
		w.Buf = AppendOPT(w.Buf, MaxUDP, rcode, r.DO)
		w.extra++
	}
	questions := uint16(0)
	if r.QuestionEnd > HeaderSize {
		questions = 1
	}
	for i, v := range []uint16{flags, questions, w.answers, w.authority, w.extra} {
		binary.BigEndian.PutUint16(w.Buf[2+2*i:], v)
	}
	return Reply
}

// AppendOPT appends the EDNS record: the largest UDP message its sender takes, the upper bits of the
// response code, version 0, and whether DNSSEC records are wanted.
func AppendOPT(b []byte, size uint16, rcode int, do bool) []byte {
	b = append(b, 0)
	b = binary.BigEndian.AppendUint16(b, TypeOPT)
	b = binary.BigEndian.AppendUint16(b, size)
	flags := uint32(rcode>>4) << 24
	if do {
		flags |= 1 << 15
	}
	b = binary.BigEndian.AppendUint32(b, flags)
	return binary.BigEndian.AppendUint16(b, 0)
}

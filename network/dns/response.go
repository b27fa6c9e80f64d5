package dns

import "encoding/binary"

// response is a message being written. Each socket's loop reuses one.
type response struct {
	buf   []byte
	limit int    // bytes the records may reach; an OPT record comes after
	turn  uint32 // every response starts address sets one further on (rule N40)
	alias name   // outcome chase: the name to ask for

	answers, authority, extra uint16
	aa, truncated             bool
}

// begin starts the response to r: room for the header, and the question exactly as it was asked. The
// copy keeps the case of every letter, which clients use to tell real answers from forged ones (0x20).
func (w *response) begin(r *request, limit int) {
	*w = response{buf: w.buf[:0], limit: limit, turn: w.turn + 1}
	if r.edns {
		w.limit -= optSize
	}
	w.buf = append(w.buf, r.msg[:headerSize]...)
	w.buf = append(w.buf, r.question()...)
}

// put appends a set whose owner name stands at offset owner. What does not fit goes: first the
// additional records, which no client needs (RFC 2181, section 9), then answers, with TC set.
func (w *response) put(s *rrset, owner int) {
	start := len(w.buf)
	whole := owner == headerSize && start+len(s.wire) <= w.limit
	switch {
	case start+int(s.split) > w.limit:
		w.part(s)
	case s.stride > 0 && s.count > 1:
		at := int(w.turn%uint32(s.count)) * int(s.stride)
		w.buf = append(append(w.buf, s.wire[at:]...), s.wire[:at]...)
		w.answers += s.count
	case whole:
		w.buf = append(w.buf, s.wire...)
		w.answers += s.count
		w.extra += s.extra
	default:
		w.buf = append(w.buf, s.wire[:s.split]...)
		w.answers += s.count
	}
	if owner != headerSize {
		w.own(start, owner)
	}
}

// part appends the answers of s that fit, beginning at this response's turn.
func (w *response) part(s *rrset) {
	w.truncated = true
	off := 0
	if s.stride > 0 {
		off = int(w.turn%uint32(s.count)) * int(s.stride)
	}
	for range s.count {
		n := rrFixed + int(binary.BigEndian.Uint16(s.wire[off+rrFixed-2:]))
		if len(w.buf)+n > w.limit {
			return
		}
		w.buf = append(w.buf, s.wire[off:off+n]...)
		w.answers++
		if off += n; off == int(s.split) {
			off = 0
		}
	}
}

// own makes the name at offset owner the owner of the records from start on.
func (w *response) own(start, owner int) {
	for start < len(w.buf) {
		binary.BigEndian.PutUint16(w.buf[start:], 0xc000|uint16(owner))
		start += rrFixed + int(binary.BigEndian.Uint16(w.buf[start+rrFixed-2:]))
	}
}

// ptr appends a PTR record for the question's name.
func (w *response) ptr(label string, service name) {
	n := len(service)
	if label != "" {
		n += 1 + len(label)
	}
	if len(w.buf)+rrFixed+n > w.limit {
		w.truncated = true
		return
	}
	w.buf = appendRecord(w.buf, headerSize, typePTR, ttl, nil)
	binary.BigEndian.PutUint16(w.buf[len(w.buf)-2:], uint16(n))
	if label != "" {
		w.buf = append(append(w.buf, byte(len(label))), label...)
	}
	w.buf = append(w.buf, service...)
	w.answers++
}

// soa appends the SOA record that comes with every negative answer, owned by the name at offset owner.
// It is left out where it does not fit: a client that got none does not keep the denial.
func (w *response) soa(owner int, data string) {
	if len(w.buf)+rrFixed+len(data) > w.limit {
		return
	}
	w.buf = appendRecord(w.buf, owner, typeSOA, ttl, nil)
	binary.BigEndian.PutUint16(w.buf[len(w.buf)-2:], uint16(len(data)))
	w.buf = append(w.buf, data...)
	w.authority++
}

// minimal is the whole answer to a question for ANY about a name that is not ours: no other record is
// worth sending to an address that may be forged (RFC 8482, section 4.2).
func (w *response) minimal(r *request) []byte {
	w.buf = appendRecord(w.buf, headerSize, typeHINFO, 3600, []byte("\x07RFC8482\x00"))
	w.answers++
	w.finish(r, rcodeSuccess)
	return w.buf
}

// finish writes the header and the OPT record.
func (w *response) finish(r *request, rcode int) outcome {
	flags := r.flags()&(opcodes|flagRD|flagCD) | flagQR | flagRA | uint16(rcode)&0xf
	if w.aa {
		flags |= flagAA
	}
	if w.truncated {
		flags |= flagTC
	}
	if r.edns {
		w.buf = appendOPT(w.buf, maxUDP, rcode, r.do)
		w.extra++
	}
	questions := uint16(0)
	if r.qend > headerSize {
		questions = 1
	}
	for i, v := range []uint16{flags, questions, w.answers, w.authority, w.extra} {
		binary.BigEndian.PutUint16(w.buf[2+2*i:], v)
	}
	return reply
}

// appendOPT appends the EDNS record: the largest UDP message its sender takes, the upper bits of the
// response code, version 0, and whether DNSSEC records are wanted.
func appendOPT(b []byte, size uint16, rcode int, do bool) []byte {
	b = append(b, 0)
	b = binary.BigEndian.AppendUint16(b, typeOPT)
	b = binary.BigEndian.AppendUint16(b, size)
	flags := uint32(rcode>>4) << 24
	if do {
		flags |= 1 << 15
	}
	b = binary.BigEndian.AppendUint32(b, flags)
	return binary.BigEndian.AppendUint16(b, 0)
}

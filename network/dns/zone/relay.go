package zone

import "encoding/binary"

// Relay turns b, a copy of an upstream answer, into the reply to r.
func (r *Request) Relay(b []byte, limit int) []byte {
	copy(b, r.Msg[:2])
	copy(b[HeaderSize:], r.Question())
	flags := binary.BigEndian.Uint16(b[2:])&^(FlagRD|FlagAA) | flagRA | r.Flags()&FlagRD
	binary.BigEndian.PutUint16(b[2:], flags)
	return r.Fit(b, limit)
}

// Fit makes of b, a message without OPT record, one of at most limit bytes with the OPT record that r asks for. Records that
// have no room go from the end: whole ones, and names in those that stay refer to what is before them only. TC tells of lost
// answers, and of a lost authority section where it says something by itself: that there is no such name, or who signed.
func (r *Request) Fit(b []byte, limit int) []byte {
	if r.edns {
		limit -= OptSize
	}
	if len(b) > limit {
		b = Cut(b, HeaderSize+len(r.Question()), limit, r.DO)
	}
	if r.edns {
		b = AppendOPT(b, MaxUDP, int(b[3]&0xf), r.DO)
		binary.BigEndian.PutUint16(b[10:], binary.BigEndian.Uint16(b[10:])+1)
	}
	return b
}

// Cut keeps of a message whose records begin at off those that end before limit.
func Cut(b []byte, off, limit int, signed bool) []byte {
	kept := 0
	for total := RecordCount(b); kept < total; kept++ {
		_, next, ok := ReadRecord(b, off)
		if !ok || next > limit {
			break
		}
		off = next
	}
	lost := [3]bool{}
	for section := range lost { // answers, authority, additional
		at := 6 + 2*section
		had := int(binary.BigEndian.Uint16(b[at:]))
		has := min(had, kept)
		lost[section] = has < had
		kept -= has
		binary.BigEndian.PutUint16(b[at:], uint16(has))
	}
	if answers := binary.BigEndian.Uint16(b[6:]); lost[0] || lost[1] && (answers == 0 || signed) {
		binary.BigEndian.PutUint16(b[2:], binary.BigEndian.Uint16(b[2:])|FlagTC)
	}
	return b[:off]
}

// RecordCount is the number of records after the question.
func RecordCount(msg []byte) int {
	n := 0
	for _, at := range []int{6, 8, 10} {
		n += int(binary.BigEndian.Uint16(msg[at:]))
	}
	return n
}

// WithoutOPT returns the answer without its OPT record, and false if it cannot be read or says by that
// record that the server did not understand. OPT is the last record of every server's answers; records
// behind it, which are additional and may refer to each other, go with it.
func WithoutOPT(b []byte) ([]byte, bool) {
	off, ok := SkipName(b, HeaderSize)
	off += 4
	if !ok || off > len(b) {
		return nil, false
	}
	extra := int(binary.BigEndian.Uint16(b[10:]))
	first := RecordCount(b) - extra // index of the first additional record
	for i := range first + extra {
		rr, next, ok := ReadRecord(b, off)
		switch {
		case !ok:
			return nil, false
		case rr.Type == TypeOPT && (i < first || rr.TTL>>24 != 0):
			return nil, false
		case rr.Type == TypeOPT:
			binary.BigEndian.PutUint16(b[10:], uint16(i-first))
			return b[:off], true
		}
		off = next
	}
	return b[:off], true // without what follows the last record
}

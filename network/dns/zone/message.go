package zone

import (
	"encoding/binary"
	"unsafe"
)

// Response codes (RFC 1035, 6891).
const (
	RcodeSuccess  = 0
	rcodeFormat   = 1
	RcodeServFail = 2
	RcodeNXDomain = 3
	rcodeNotImpl  = 4
	RcodeRefused  = 5
	rcodeBadVers  = 16 // the upper bits travel in the OPT record
)

// Header flag bits, as the 16-bit word at offset 2.
const (
	FlagQR  = 1 << 15
	FlagAA  = 1 << 10
	FlagTC  = 1 << 9
	FlagRD  = 1 << 8
	flagRA  = 1 << 7
	FlagCD  = 1 << 4
	Opcodes = 0xf << 11
)

// Message sizes.
const (
	MinUDP = 512  // what every client takes (RFC 1035)
	MaxUDP = 1232 // more would be fragmented on some path (DNS flag day 2020)
	MaxTCP = 65535
)

// Request is a query taken apart. Each socket's loop reuses one.
type Request struct {
	Msg         []byte // as received
	QuestionEnd int    // end of the question section in msg
	Name        []byte // the question's name, folded to lower case
	Type        uint16
	Class       uint16

	edns    bool
	DO      bool // DNSSEC OK, handed to upstream servers
	version byte
	size    uint16 // the client's UDP payload size

	fold [MaxName]byte
}

// header words of the request; msg has at least a header whenever parse did not ask to drop it.
func (r *Request) Flags() uint16 { return binary.BigEndian.Uint16(r.Msg[2:]) }

// Question is the question section as it was sent, its case included.
func (r *Request) Question() []byte { return r.Msg[HeaderSize:r.QuestionEnd] }

// Key is the question's name for looking it up. It shares the request's memory: it must not be kept.
func (r *Request) Key() Name { return Name(unsafe.String(unsafe.SliceData(r.Name), len(r.Name))) }

// Parse reads a query. ok is false for what deserves no reply at all: a message too short to have an
// identity, and a response (two servers answering each other's errors would never stop).
func (r *Request) Parse(msg []byte) (rcode int, ok bool) {
	r.Msg, r.QuestionEnd, r.Type, r.edns, r.DO, r.version, r.size = msg, HeaderSize, 0, false, false, 0, 0
	if len(msg) < HeaderSize || r.Flags()&FlagQR != 0 {
		return 0, false
	}
	if r.Flags()&Opcodes != 0 {
		return rcodeNotImpl, true
	}
	if binary.BigEndian.Uint16(msg[4:]) != 1 {
		return rcodeFormat, true
	}
	end, ok := FoldName(msg, HeaderSize, &r.fold)
	if !ok || end+4 > len(msg) {
		return rcodeFormat, true
	}
	r.Name = r.fold[:end-HeaderSize]
	r.Type, r.Class = binary.BigEndian.Uint16(msg[end:]), binary.BigEndian.Uint16(msg[end+2:])
	r.QuestionEnd = end + 4
	if !r.parseOPT() {
		return rcodeFormat, true
	}
	switch {
	case r.version != 0:
		return rcodeBadVers, true
	case r.Class != ClassIN && r.Class != classANY, r.Type == typeAXFR, r.Type == typeIXFR:
		return RcodeRefused, true // rule N36; other classes hold nothing
	}
	return RcodeSuccess, true
}

// FoldName copies the uncompressed name at off into fold, in lower case, and returns its end. A
// question's name has nothing before it to point to.
func FoldName(msg []byte, off int, fold *[MaxName]byte) (end int, ok bool) {
	for n := off; n < len(msg); {
		l := int(msg[n])
		if l > maxLabel || n+1-off > MaxName {
			return 0, false
		}
		n += 1 + l
		if l > 0 {
			continue
		}
		for i, c := range msg[off:n] {
			fold[i] = lower[c]
		}
		return n, true
	}
	return 0, false
}

// parseOPT finds the OPT record among the records after the question.
func (r *Request) parseOPT() bool {
	count := 0
	for _, at := range []int{6, 8, 10} {
		count += int(binary.BigEndian.Uint16(r.Msg[at:]))
	}
	off := r.QuestionEnd
	for range count {
		rr, next, ok := ReadRecord(r.Msg, off)
		if !ok {
			return false
		}
		if rr.Type == TypeOPT {
			if r.edns || rr.owner != 1 {
				return false // RFC 6891, 6.1.1: one, owned by the root
			}
			r.edns, r.size = true, rr.class
			r.version, r.DO = byte(rr.TTL>>16), rr.TTL&(1<<15) != 0
		}
		off = next
	}
	return true
}

// Record is a resource record's place and fixed part within a message.
type Record struct {
	owner       int // length of the owner name as written
	Type, class uint16
	TTL         uint32
	TTLAt       int
	Data        []byte
}

// ReadRecord reads the record at off and returns the offset after it.
func ReadRecord(msg []byte, off int) (rr Record, next int, ok bool) {
	end, ok := SkipName(msg, off)
	if !ok || end+10 > len(msg) {
		return Record{}, 0, false
	}
	rr = Record{
		owner: end - off,
		Type:  binary.BigEndian.Uint16(msg[end:]),
		class: binary.BigEndian.Uint16(msg[end+2:]),
		TTL:   binary.BigEndian.Uint32(msg[end+4:]),
		TTLAt: end + 4,
	}
	next = end + 10 + int(binary.BigEndian.Uint16(msg[end+8:]))
	if next > len(msg) {
		return Record{}, 0, false
	}
	rr.Data = msg[end+10 : next]
	return rr, next, true
}

// SkipName returns the offset after the possibly compressed name at off.
func SkipName(msg []byte, off int) (end int, ok bool) {
	for off < len(msg) {
		switch l := int(msg[off]); {
		case l == 0:
			return off + 1, true
		case l >= 0xc0:
			return off + 2, off+2 <= len(msg)
		case l > maxLabel:
			return 0, false
		default:
			off += 1 + l
		}
	}
	return 0, false
}

// Limit is the largest response the client takes over UDP (rule N37).
func (r *Request) Limit() int {
	if !r.edns {
		return MinUDP
	}
	return min(max(MinUDP, int(r.size)), MaxUDP)
}

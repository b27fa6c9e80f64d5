package dns

import (
	"encoding/binary"
	"unsafe"
)

// Response codes (RFC 1035, 6891).
const (
	rcodeSuccess  = 0
	rcodeFormat   = 1
	rcodeServFail = 2
	rcodeNXDomain = 3
	rcodeNotImpl  = 4
	rcodeRefused  = 5
	rcodeBadVers  = 16 // the upper bits travel in the OPT record
)

// Header flag bits, as the 16-bit word at offset 2.
const (
	flagQR  = 1 << 15
	flagAA  = 1 << 10
	flagTC  = 1 << 9
	flagRD  = 1 << 8
	flagRA  = 1 << 7
	flagCD  = 1 << 4
	opcodes = 0xf << 11
)

// Message sizes.
const (
	minUDP = 512  // what every client takes (RFC 1035)
	maxUDP = 1232 // more would be fragmented on some path (DNS flag day 2020)
	maxTCP = 65535
)

// request is a query taken apart. Each socket's loop reuses one.
type request struct {
	msg   []byte // as received
	qend  int    // end of the question section in msg
	name  []byte // the question's name, folded to lower case
	typ   uint16
	class uint16

	edns    bool
	do      bool // DNSSEC OK, handed to upstream servers
	version byte
	size    uint16 // the client's UDP payload size

	fold [maxName]byte
}

// header words of the request; msg has at least a header whenever parse did not ask to drop it.
func (r *request) flags() uint16 { return binary.BigEndian.Uint16(r.msg[2:]) }

// question is the question section as it was sent, its case included.
func (r *request) question() []byte { return r.msg[headerSize:r.qend] }

// key is the question's name for looking it up. It shares the request's memory: it must not be kept.
func (r *request) key() name { return name(unsafe.String(unsafe.SliceData(r.name), len(r.name))) }

// parse reads a query. ok is false for what deserves no reply at all: a message too short to have an
// identity, and a response (two servers answering each other's errors would never stop).
func (r *request) parse(msg []byte) (rcode int, ok bool) {
	r.msg, r.qend, r.typ, r.edns, r.do, r.version, r.size = msg, headerSize, 0, false, false, 0, 0
	if len(msg) < headerSize || r.flags()&flagQR != 0 {
		return 0, false
	}
	if r.flags()&opcodes != 0 {
		return rcodeNotImpl, true
	}
	if binary.BigEndian.Uint16(msg[4:]) != 1 {
		return rcodeFormat, true
	}
	end, ok := foldName(msg, headerSize, &r.fold)
	if !ok || end+4 > len(msg) {
		return rcodeFormat, true
	}
	r.name = r.fold[:end-headerSize]
	r.typ, r.class = binary.BigEndian.Uint16(msg[end:]), binary.BigEndian.Uint16(msg[end+2:])
	r.qend = end + 4
	if !r.parseOPT() {
		return rcodeFormat, true
	}
	switch {
	case r.version != 0:
		return rcodeBadVers, true
	case r.class != classIN && r.class != classANY, r.typ == typeAXFR, r.typ == typeIXFR:
		return rcodeRefused, true // rule N36; other classes hold nothing
	}
	return rcodeSuccess, true
}

// foldName copies the uncompressed name at off into fold, in lower case, and returns its end. A
// question's name has nothing before it to point to.
func foldName(msg []byte, off int, fold *[maxName]byte) (end int, ok bool) {
	for n := off; n < len(msg); {
		l := int(msg[n])
		if l > maxLabel || n+1-off > maxName {
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
func (r *request) parseOPT() bool {
	count := 0
	for _, at := range []int{6, 8, 10} {
		count += int(binary.BigEndian.Uint16(r.msg[at:]))
	}
	off := r.qend
	for range count {
		rr, next, ok := readRecord(r.msg, off)
		if !ok {
			return false
		}
		if rr.typ == typeOPT {
			if r.edns || rr.owner != 1 {
				return false // RFC 6891, 6.1.1: one, owned by the root
			}
			r.edns, r.size = true, rr.class
			r.version, r.do = byte(rr.ttl>>16), rr.ttl&(1<<15) != 0
		}
		off = next
	}
	return true
}

// record is a resource record's place and fixed part within a message.
type record struct {
	owner      int // length of the owner name as written
	typ, class uint16
	ttl        uint32
	ttlAt      int
	data       []byte
}

// readRecord reads the record at off and returns the offset after it.
func readRecord(msg []byte, off int) (rr record, next int, ok bool) {
	end, ok := skipName(msg, off)
	if !ok || end+10 > len(msg) {
		return record{}, 0, false
	}
	rr = record{
		owner: end - off,
		typ:   binary.BigEndian.Uint16(msg[end:]),
		class: binary.BigEndian.Uint16(msg[end+2:]),
		ttl:   binary.BigEndian.Uint32(msg[end+4:]),
		ttlAt: end + 4,
	}
	next = end + 10 + int(binary.BigEndian.Uint16(msg[end+8:]))
	if next > len(msg) {
		return record{}, 0, false
	}
	rr.data = msg[end+10 : next]
	return rr, next, true
}

// skipName returns the offset after the possibly compressed name at off.
func skipName(msg []byte, off int) (end int, ok bool) {
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

// limit is the largest response the client takes over UDP (rule N37).
func (r *request) limit() int {
	if !r.edns {
		return minUDP
	}
	return min(max(minUDP, int(r.size)), maxUDP)
}

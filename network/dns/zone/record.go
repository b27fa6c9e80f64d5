package zone

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
)

// Record types and the class this server knows (RFC 1035, 2782, 3596, 6891, 8482).
const (
	TypeA     = 1
	TypeNS    = 2
	TypeCNAME = 5
	TypeSOA   = 6
	TypePTR   = 12
	TypeHINFO = 13
	TypeTXT   = 16
	TypeAAAA  = 28
	TypeSRV   = 33
	TypeOPT   = 41
	typeIXFR  = 251
	typeAXFR  = 252
	TypeANY   = 255

	ClassIN  = 1
	classANY = 255
)

// Times to live, in seconds. Five seconds is the default of CoreDNS's kubernetes plugin (rule N34) and
// bounds how long a client may believe an endpoint that is gone; the schema version never changes (N1).
const (
	TTL        = 5
	ttlVersion = 28800
)

const (
	HeaderSize = 12 // bytes before the question
	rrFixed    = 12 // a record before its data: owner pointer, type, class, TTL, data length
	OptSize    = 11 // an OPT record without options

	// maxAnswer is what every response leaves for records: a message ends at 65535 bytes, and the
	// longest question and an OPT record must fit too. Records beyond it are left out; a name
	// with four thousand addresses is answered with the first ones.
	maxAnswer = 65535 - HeaderSize - MaxName - 4 - OptSize

	// maxPointer is the last offset a compression pointer can name.
	maxPointer = 0x3fff
)

// RRSet is all records of one type at one owner name, finished: each answer record's owner is a
// pointer to the question at offset 12, and no record data is compressed, so that a chased alias can
// copy the answers below another owner by writing that pointer alone.
type RRSet struct {
	typ    uint16
	count  uint16 // records in the answer section
	extra  uint16 // records in the additional section, after the answers
	split  uint16 // where in wire the additional section begins
	stride uint16 // size of one record when their order may rotate, else 0
	wire   []byte
}

// full reports whether n more bytes of answers do not fit in any message.
func (s *RRSet) full(n int) bool { return len(s.wire)+n > maxAnswer }

// add appends one answer record.
func (s *RRSet) add(ttl uint32, data []byte) {
	if s.full(rrFixed + len(data)) {
		return
	}
	s.wire = appendRecord(s.wire, HeaderSize, s.typ, ttl, data)
	s.count++
	s.split = uint16(len(s.wire))
}

func appendRecord(b []byte, owner int, typ uint16, ttl uint32, data []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, 0xc000|uint16(owner))
	b = binary.BigEndian.AppendUint16(b, typ)
	b = binary.BigEndian.AppendUint16(b, ClassIN)
	b = binary.BigEndian.AppendUint32(b, ttl)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}

// addrSets returns the A and AAAA sets of addrs; a family without an address has none.
func addrSets(addrs []netip.Addr) []RRSet {
	var sets []RRSet
	for _, family := range []RRSet{{typ: TypeA, stride: rrFixed + 4}, {typ: TypeAAAA, stride: rrFixed + 16}} {
		for _, ip := range addrs {
			if ip.Is4() == (family.typ == TypeA) {
				family.add(TTL, ip.AsSlice())
			}
		}
		if family.count > 0 {
			family.wire = slices.Clip(family.wire)
			sets = append(sets, family)
		}
	}
	return sets
}

// DataSet returns a set of one record.
func DataSet(typ uint16, ttl uint32, data string) RRSet {
	s := RRSet{typ: typ}
	s.add(ttl, []byte(data))
	return s
}

// target is one SRV record and the addresses of the host it names.
type target struct {
	port  uint16
	host  Name
	addrs []netip.Addr
}

// srvSet returns the SRV records at owner with their targets' addresses as additional records. The
// same host and port is said once. Priority and weight are CoreDNS's: all alike, sharing 100.
func srvSet(owner Name, targets []target) RRSet {
	slices.SortFunc(targets, func(a, b target) int {
		if c := strings.Compare(string(a.host), string(b.host)); c != 0 {
			return c
		}
		return int(a.port) - int(b.port)
	})
	targets = slices.CompactFunc(targets, func(a, b target) bool { return a.host == b.host && a.port == b.port })
	weight := uint16(max(1, 100/max(1, len(targets))))
	s := RRSet{typ: TypeSRV}
	hosts := make([]int, len(targets)) // where each target's name stands in the message
	for i, t := range targets {
		data := make([]byte, 6, 6+len(t.host))
		binary.BigEndian.PutUint16(data[2:], weight)
		binary.BigEndian.PutUint16(data[4:], t.port)
		hosts[i] = HeaderSize + len(owner) + 4 + len(s.wire) + rrFixed + 6
		s.add(TTL, append(data, t.host...))
	}
	s.addGlue(targets, hosts)
	s.wire = slices.Clip(s.wire)
	return s
}

// addGlue appends the targets' addresses, each host once, as far as pointers reach.
func (s *RRSet) addGlue(targets []target, hosts []int) {
	var last Name
	for i, t := range targets[:s.count] {
		if t.host == last || hosts[i] > maxPointer {
			continue
		}
		last = t.host
		for _, ip := range t.addrs {
			typ := uint16(TypeA)
			if ip.Is6() {
				typ = TypeAAAA
			}
			if !s.full(rrFixed + 16) {
				s.wire = appendRecord(s.wire, hosts[i], typ, TTL, ip.AsSlice())
				s.extra++
			}
		}
	}
}

// Node is everything said about one name. A node without sets is a name that exists and has no
// record of any type: NODATA, not NXDOMAIN (rules N30, N32; RFC 8020 for the names between).
type Node struct {
	Sets  []RRSet
	Alias Name   // target of the CNAME record, which is then the only record
	hosts []host // a ClusterIP Service's endpoints: names below it that are not stored one by one
	pods  bool   // <namespace>.pod.<zone>: every address below it is a name (rule N17)
}

// host is an endpoint's label below its Service and one of its addresses.
type host struct {
	label string
	addr  netip.Addr
}

// set returns the records of a type. ANY gets one set, as RFC 8482 (section 4.1) permits.
func (n *Node) set(typ uint16) *RRSet {
	for i := range n.Sets {
		if n.Sets[i].typ == typ || typ == TypeANY {
			return &n.Sets[i]
		}
	}
	return nil
}

package table

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/nft/rule"
	"fairlead.dev/fairlead/network/nft/wire"
)

// part is what a part of a key is.
type part uint8

const (
	address part = iota
	number       // in the host's byte order, as marks are
	protocol
	port
)

func (p part) typeOf(f *rule.Family) uint32 {
	return [...]uint32{f.AddrType, rule.TypeMark, rule.TypeProto, rule.TypePort}[p]
}

func (p part) size(f *rule.Family) uint32 { return [...]uint32{f.AddrLen, 4, 1, 2}[p] }

func (p part) name(f *rule.Family) string {
	return [...]string{f.AddrTypeName(), "mark", "inet_proto", "inet_service"}[p]
}

// set is a set, or a map whose values are numbers.
type set struct {
	name    string
	key     []part
	valued  bool
	ranges  bool // elements go from one key to another
	counted bool // elements count the packets that met them
}

// The sets. Those of which there are two are by policy.Direction.
var (
	selected = [2]*set{{name: "selected-in", key: []part{address}}, {name: "selected-out", key: []part{address}}}
	refused  = [2]*set{{name: "refused-in", key: []part{address}, counted: true}, {name: "refused-out", key: []part{address}, counted: true}}
	some     = [2]*set{{name: "from", key: []part{number, address}, valued: true}, {name: "to", key: []part{number, address}, valued: true}}
	anybody  = [2]*set{{name: "from-any", key: []part{address}, valued: true}, {name: "to-any", key: []part{address}, valued: true}}
	self     = &set{name: "self", key: []part{address, address}}
	peers    = &set{name: "peers", key: []part{address}, valued: true}
	// The second part of blocks is every address: the kernel has ranges that do not slow down as they grow only for keys of several parts.
	blocks = &set{name: "blocks", key: []part{address, address}, valued: true, ranges: true}
	open   = &set{name: "open", key: []part{number}} // port sets that are everything
	ports  = &set{name: "ports", key: []part{number, protocol, port}, ranges: true}

	sets = []*set{selected[0], selected[1], refused[0], refused[1], some[0], some[1], anybody[0], anybody[1], self, peers, blocks, open, ports}
)

// message adds the set to a transaction.
func (s *set) message(tx *rule.Transaction, f *rule.Family) {
	flags, keyType, keyLen := uint32(0), uint32(0), uint32(0)
	fields := wire.Nest(setDescConcat)
	for _, p := range s.key {
		keyType = keyType<<6 | p.typeOf(f)
		keyLen += (p.size(f) + 3) &^ 3
		fields.Nested = append(fields.Nested, wire.Nest(unix.NFTA_LIST_ELEM, wire.U32(setFieldLen, p.size(f))))
	}
	attrs := []wire.Attr{wire.Text(unix.NFTA_SET_TABLE, Name), wire.Text(unix.NFTA_SET_NAME, s.name),
		wire.U32(unix.NFTA_SET_KEY_TYPE, keyType), wire.U32(unix.NFTA_SET_KEY_LEN, keyLen), tx.NextSetID()}
	if s.valued {
		flags |= unix.NFT_SET_MAP
		attrs = append(attrs, wire.U32(unix.NFTA_SET_DATA_TYPE, rule.TypeMark), wire.U32(unix.NFTA_SET_DATA_LEN, 4))
	}
	if s.ranges {
		const concat = 0x80 // NFT_SET_CONCAT
		flags |= unix.NFT_SET_INTERVAL | concat
		attrs = append(attrs, wire.Nest(unix.NFTA_SET_DESC, fields))
	}
	if s.counted {
		const setExpr = 17 // NFTA_SET_EXPR
		attrs = append(attrs, wire.Nest(setExpr, wire.Text(unix.NFTA_EXPR_NAME, "counter"), wire.Nest(unix.NFTA_EXPR_DATA)))
	}
	attrs = append(attrs, wire.U32(unix.NFTA_SET_FLAGS, flags), wire.Raw(unix.NFTA_SET_USERDATA, rule.Unhex(s.userdata())))
	tx.Message(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, "set "+s.name, attrs...)
}

// Of NFTA_SET_DESC, and of an entry of its list of fields.
const (
	setDescConcat = 2
	setFieldLen   = 1
)

// userdata is the byte orders of key and value, in nft's encoding.
func (s *set) userdata() string {
	switch {
	case len(s.key) > 1 && s.valued:
		return rule.ConcatKey
	case len(s.key) > 1:
		return rule.ConcatSet
	case s.key[0] == number:
		return rule.HostSet
	case s.valued:
		return networkKey
	}
	return rule.PlainSet
}

// networkKey is a key in network order with a value in the host's.
const networkKey = "000402000000010401000000"

// element is an element of a set. Its parts are addresses, uint32 numbers, protocols and uint16 ports.
type element struct {
	in    *set
	key   []any
	last  []any // of a range; nil: the key alone
	value uint32
}

func encode(parts []any) []byte {
	var to []byte
	for _, p := range parts {
		switch p := p.(type) {
		case netip.Addr:
			to = append(to, p.AsSlice()...)
		case uint32:
			to = binary.NativeEndian.AppendUint32(to, p)
		case lb.Protocol:
			to = append(to, byte(p), 0, 0, 0)
		case uint16:
			to = append(binary.BigEndian.AppendUint16(to, p), 0, 0)
		}
	}
	return to
}

// write adds or deletes the element.
func (e *element) write(w *rule.ElementWriter, adding bool) {
	var last, data []byte
	if e.in.ranges {
		last = encode(e.last)
	}
	if adding && e.in.valued {
		data = rule.Native(e.value)
	}
	w.Add(encode(e.key), last, data, "", "")
}

// text is the element as nft prints it.
func (e *element) text() string {
	var parts []string
	for i, p := range e.key {
		text := partText(p)
		if n, ok := p.(uint32); ok && e.in.ranges {
			text = partText(bits.ReverseBytes32(n)) // nft 1.0.6 prints numbers so in keys with ranges
		}
		if e.in.ranges && e.last[i] != p {
			text = rangeText(p, e.last[i])
		}
		parts = append(parts, text)
	}
	text := strings.Join(parts, " . ")
	if e.in.valued {
		text += fmt.Sprintf(" : 0x%08x", e.value)
	}
	return text
}

func partText(p any) string {
	if n, ok := p.(uint32); ok {
		return fmt.Sprintf("0x%08x", n)
	}
	return fmt.Sprint(p)
}

// rangeText is a range; one of addresses that is a prefix is printed so.
func rangeText(first, last any) string {
	if a, ok := first.(netip.Addr); ok {
		for length := range a.BitLen() + 1 {
			if p := netip.PrefixFrom(a, length); p.Masked().Addr() == a && api.LastAddr(p) == last.(netip.Addr) {
				return p.String()
			}
		}
	}
	return partText(first) + "-" + partText(last)
}

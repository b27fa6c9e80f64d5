package plan

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/nft/rule"
	"fairlead.dev/fairlead/network/nft/wire"
)

// TableName is the one nf_tables table everything of a family lives in.
const TableName = "fairlead"

// Map is one of the table's maps and sets.
type Map uint8

const (
	MapServices      Map = iota // address . protocol . port -> packed verdict
	MapShortcuts                // the same, first choice of clients on this node
	MapEndpoints                // set id . slot -> address . port
	MapStickySlots              // set id . slot -> endpoint id
	MapStickyTargets            // endpoint id -> address . port
	MapSticky                   // the endpoint ids that exist
	MapStickyTwins              // set id, or endpoint id -> that of the port's other set
	MapClusterIPs               // the cluster addresses in use
	MapHairpins                 // local pod . the same
	MapNodes                    // the addresses of all nodes
	MapRestricted               // address . protocol . port open to some sources only
	MapAllowed                  // address . protocol . port . source prefix
	MapCount                    // how many there are
)

// FrontendMaps are those of which the elements of one address belong to one Service.
var FrontendMaps = [...]Map{MapServices, MapShortcuts, MapRestricted}

// String is the map's name.
func (m Map) String() string {
	return [...]string{"services", "shortcuts", "endpoints", "sticky-slots", "sticky-targets", "sticky", "sticky-twins",
		"cluster-ips", "hairpins", "nodes", "restricted", "allowed"}[m]
}

// form is how the kernel has a key or a value as bytes.
type form uint8

const (
	formNone     form = iota // of a set: no value
	formNumber               // four bytes
	formSlot                 // set id . slot
	formAddr                 // address
	formPair                 // address . the same address
	formFrontend             // address . protocol . port
	formSource               // address . protocol . port . client's address, with an end
	formBackend              // address . port
)

// mapShape describes a map or set for the kernel and for those who list it.
type mapShape struct {
	key      form
	keyType  uint32
	keyLen   uint32
	value    form
	dataType uint32 // zero for a set
	dataLen  uint32
	userdata string // hexadecimal; how nft prints keys and values, see below
	parts    []uint32
}

// How nft prints keys and values that have no type of their own.
const (
	// typeof ct mark . numgen random mod 65536
	slotKey = "033a00040d00000001320014" + "00040c000000010c00040300000001" + "04ffffffff" +
		"011a00041700000001120004010000000104000001000204" + "00000000"
	// : ip daddr . th dport, and with ip6 daddr
	backendValue4 = "043400040d000000012c001400040700000001" + "0c00040c00000001040c00000001" + backendPort
	backendValue6 = "043400040d000000012c001400040700000001" + "0c00040d00000001040900000001" + backendPort
	backendPort   = "140004070000000" + "10c00040b000000010402000000" + "060400000000"
	// : meta mark
	markValue = "040e00040900000001060004030000000" + "60400000000"
)

func (f *Family) makeShapes() [MapCount]mapShape {
	addr := f.AddrLen
	typeFrontend := f.AddrType<<12 | rule.TypeProto<<6 | rule.TypePort
	typeBackend := f.AddrType<<6 | rule.TypePort
	backend := backendValue4
	if f.V6 {
		backend = backendValue6
	}
	words := func() mapShape {
		return mapShape{key: formFrontend, keyType: typeFrontend, keyLen: addr + 8,
			value: formNumber, dataType: rule.TypeMark, dataLen: 4, userdata: rule.ConcatKey}
	}
	slots := func(s mapShape) mapShape {
		s.key, s.keyType, s.keyLen = formSlot, rule.TypeMark<<6|rule.TypeInteger, 8
		return s
	}
	return [MapCount]mapShape{
		MapServices:      words(),
		MapShortcuts:     words(),
		MapEndpoints:     slots(mapShape{value: formBackend, dataType: typeBackend, dataLen: addr + 4, userdata: "000400000000010400000000" + slotKey + backend}),
		MapStickySlots:   slots(mapShape{value: formNumber, dataType: rule.TypeMark, dataLen: 4, userdata: rule.ConcatKey + slotKey + markValue}),
		MapStickyTargets: {key: formNumber, keyType: rule.TypeMark, keyLen: 4, value: formBackend, dataType: typeBackend, dataLen: addr + 4, userdata: rule.HostKey},
		MapSticky:        {key: formNumber, keyType: rule.TypeMark, keyLen: 4, userdata: rule.HostSet},
		MapStickyTwins:   {key: formNumber, keyType: rule.TypeMark, keyLen: 4, value: formNumber, dataType: rule.TypeMark, dataLen: 4, userdata: rule.HostBoth},
		MapClusterIPs:    {key: formAddr, keyType: f.AddrType, keyLen: addr, userdata: rule.PlainSet},
		MapHairpins:      {key: formPair, keyType: f.AddrType<<6 | f.AddrType, keyLen: 2 * addr, userdata: rule.ConcatSet},
		MapNodes:         {key: formAddr, keyType: f.AddrType, keyLen: addr, userdata: rule.PlainSet},
		MapRestricted:    {key: formFrontend, keyType: typeFrontend, keyLen: addr + 8, userdata: rule.ConcatSet},
		MapAllowed:       {key: formSource, keyType: typeFrontend<<6 | f.AddrType, keyLen: 2*addr + 8, userdata: rule.ConcatSet, parts: []uint32{addr, 1, 2, addr}},
	}
}

// AffinityMap is filled by the packet path: set id . client -> endpoint id. The
// set id goes first because nft 1.0.6 cannot read a statement that begins with
// an IPv6 address.
const AffinityMap = "affinity"

// affinitySize bounds the clients remembered at a time, over all Services. A
// client beyond it is balanced like a new one each time.
const affinitySize = 1 << 17

// dispatchMap leads from the class bits of a verdict to the chain of the class.
const dispatchMap = "dispatch"

func (tx *Transaction) mapMessage(m Map, size uint32) {
	flags, s := uint32(0), &tx.family.shapes[m]
	attrs := []wire.Attr{wire.Text(unix.NFTA_SET_TABLE, TableName), wire.Text(unix.NFTA_SET_NAME, m.String()),
		wire.U32(unix.NFTA_SET_KEY_TYPE, s.keyType), wire.U32(unix.NFTA_SET_KEY_LEN, s.keyLen)}
	if s.dataType != 0 {
		flags |= unix.NFT_SET_MAP
		attrs = append(attrs, wire.U32(unix.NFTA_SET_DATA_TYPE, s.dataType), wire.U32(unix.NFTA_SET_DATA_LEN, s.dataLen))
	}
	desc := []wire.Attr{wire.U32(unix.NFTA_SET_DESC_SIZE, size)}
	if s.parts != nil {
		const setConcat, descConcat, fieldLen = 0x80, 2, 1
		flags |= unix.NFT_SET_INTERVAL | setConcat
		list := wire.Nest(descConcat)
		for _, n := range s.parts {
			list.Nested = append(list.Nested, wire.Nest(unix.NFTA_LIST_ELEM, wire.U32(fieldLen, n)))
		}
		desc = append(desc, list)
	}
	if tx.counters && (m == MapEndpoints || m == MapStickyTargets) {
		const setExpr = 17 // NFTA_SET_EXPR
		attrs = append(attrs, wire.Nest(setExpr, wire.Text(unix.NFTA_EXPR_NAME, "counter"), wire.Nest(unix.NFTA_EXPR_DATA)))
	}
	attrs = append(attrs, wire.U32(unix.NFTA_SET_FLAGS, flags), tx.NextSetID(), wire.Nest(unix.NFTA_SET_DESC, desc...))
	if s.userdata != "" {
		attrs = append(attrs, wire.Raw(unix.NFTA_SET_USERDATA, rule.Unhex(s.userdata)))
	}
	tx.Message(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, "map "+m.String(), attrs...)
}

// affinityMessage adds the map that the packet path writes. Its timeout is only
// a default: the rules give every entry its own.
func (tx *Transaction) affinityMessage() {
	tx.Message(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, "map "+AffinityMap,
		wire.Text(unix.NFTA_SET_TABLE, TableName), wire.Text(unix.NFTA_SET_NAME, AffinityMap),
		wire.U32(unix.NFTA_SET_FLAGS, unix.NFT_SET_MAP|unix.NFT_SET_EVAL|unix.NFT_SET_TIMEOUT),
		wire.U32(unix.NFTA_SET_KEY_TYPE, rule.TypeMark<<6|tx.family.AddrType), wire.U32(unix.NFTA_SET_KEY_LEN, 4+tx.family.AddrLen),
		wire.U32(unix.NFTA_SET_DATA_TYPE, rule.TypeMark), wire.U32(unix.NFTA_SET_DATA_LEN, 4), tx.NextSetID(),
		wire.U64(unix.NFTA_SET_TIMEOUT, uint64(affinityDefault.Milliseconds())),
		wire.Nest(unix.NFTA_SET_DESC, wire.U32(unix.NFTA_SET_DESC_SIZE, affinitySize)),
		wire.Raw(unix.NFTA_SET_USERDATA, rule.Unhex(rule.ConcatKey)))
}

// dispatchMessage adds the only map with verdicts. It has an element per class
// in use, a few dozen, because the kernel checks all of them whenever a rule or
// a verdict is added.
func (tx *Transaction) dispatchMessage() {
	const verdictType = 0xffffff00
	tx.Message(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, "map "+dispatchMap,
		wire.Text(unix.NFTA_SET_TABLE, TableName), wire.Text(unix.NFTA_SET_NAME, dispatchMap),
		wire.U32(unix.NFTA_SET_FLAGS, unix.NFT_SET_MAP), wire.U32(unix.NFTA_SET_KEY_TYPE, rule.TypeMark), wire.U32(unix.NFTA_SET_KEY_LEN, 4),
		wire.U32(unix.NFTA_SET_DATA_TYPE, verdictType), wire.U32(unix.NFTA_SET_DATA_LEN, 0), tx.NextSetID(),
		wire.Raw(unix.NFTA_SET_USERDATA, rule.Unhex(rule.HostKey)))
}

// Key identifies an element, whatever the family.
type Key struct {
	in    Map
	proto lb.Protocol
	port  uint16
	// addr is an address as sixteen bytes, or one or two numbers, largest byte
	// first: keys made in order are in order.
	addr [16]byte
}

// value is an element's data.
type value struct {
	addr   [16]byte
	number uint32 // or a port
}

// FrontendKey is the key of an address, port and protocol in one of the FrontendMaps.
func FrontendKey(in Map, at netip.AddrPort, proto lb.Protocol) Key {
	return Key{in: in, proto: proto, port: at.Port(), addr: at.Addr().As16()}
}

func slotOf(in Map, set uint32, slot int) Key {
	k := numberKey(in, set)
	binary.BigEndian.PutUint32(k.addr[4:], uint32(slot))
	return k
}

func numberKey(in Map, n uint32) Key {
	k := Key{in: in}
	binary.BigEndian.PutUint32(k.addr[:], n)
	return k
}

// AddrKey is the key of an address in a set of addresses.
func AddrKey(in Map, a netip.Addr) Key { return Key{in: in, addr: a.As16()} }

func numberValue(n uint32) value { return value{number: n} }

func backendValueOf(at netip.AddrPort) value {
	return value{addr: at.Addr().As16(), number: uint32(at.Port())}
}

// Map is the map that the key is of.
func (k *Key) Map() Map { return k.in }

// Key is a key as the kernel has it.
func (f *Family) Key(k *Key) []byte { return f.appendKey(nil, k) }

// appendKey appends a key as the kernel has it: every part of a concatenation
// fills a multiple of four bytes; addresses and ports are in network order,
// numbers in the host's. The part of a source is left to the caller.
func (f *Family) appendKey(to []byte, k *Key) []byte {
	switch f.shapes[k.in].key {
	case formNumber:
		return appendNumber(to, k.addr[:4])
	case formSlot:
		return appendNumber(appendNumber(to, k.addr[:4]), k.addr[4:8])
	case formAddr:
		return append(to, f.Bytes(&k.addr)...)
	case formPair:
		return append(append(to, f.Bytes(&k.addr)...), f.Bytes(&k.addr)...)
	}
	to = append(to, f.Bytes(&k.addr)...)
	return append(to, byte(k.proto), 0, 0, 0, byte(k.port>>8), byte(k.port), 0, 0)
}

// appendNumber appends a number of a key.
func appendNumber(to, number []byte) []byte {
	return binary.NativeEndian.AppendUint32(to, wire.Number(number))
}

// appendValue appends the value of an element of the map as the kernel has it.
func (f *Family) appendValue(to []byte, in Map, v *value) []byte {
	if f.shapes[in].value == formNumber {
		return binary.NativeEndian.AppendUint32(to, v.number)
	}
	return append(append(to, f.Bytes(&v.addr)...), byte(v.number>>8), byte(v.number), 0, 0)
}

package nft

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/network/lb"
)

// tableName is the one nf_tables table everything of a family lives in.
const tableName = "fairlead"

// mapID is one of the table's maps and sets.
type mapID uint8

const (
	services      mapID = iota // address . protocol . port -> word
	shortcuts                  // the same, first choice of clients on this node
	endpoints                  // set id . slot -> address . port
	stickySlots                // set id . slot -> endpoint id
	stickyTargets              // endpoint id -> address . port
	sticky                     // the endpoint ids that exist
	stickyTwins                // set id, or endpoint id -> that of the port's other set
	clusterIPs                 // the cluster addresses in use
	hairpins                   // local pod . the same
	nodes                      // the addresses of all nodes
	restricted                 // address . protocol . port open to some sources only
	allowed                    // address . protocol . port . source prefix
	mapCount
)

// String is the map's name.
func (m mapID) String() string {
	return [...]string{"services", "shortcuts", "endpoints", "sticky-slots", "sticky-targets", "sticky", "sticky-twins",
		"cluster-ips", "hairpins", "nodes", "restricted", "allowed"}[m]
}

// nf_tables data types as the nft command numbers them; a concatenation is its
// parts in groups of six bits. That of an address is its family's.
const (
	typeInteger = 4
	typeProto   = 12
	typePort    = 13
	typeMark    = 19
)

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

// The user data says in nft's own encoding how to print an element. The slot
// keys need it: a number without a type has no other way to be printed.
// concatKey, hostKey and hostBoth give just the byte order of key and value.
const (
	concatKey = "000400000000010401000000"
	hostKey   = "000401000000010400000000"
	hostBoth  = "000401000000010401000000"
	plainSet  = "000402000000"
	hostSet   = "000401000000"
	concatSet = "000400000000"
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

func (f *family) makeShapes() [mapCount]mapShape {
	addr := f.addrLen
	typeFrontend := f.addrType<<12 | typeProto<<6 | typePort
	typeBackend := f.addrType<<6 | typePort
	backend := backendValue4
	if f.v6 {
		backend = backendValue6
	}
	words := func() mapShape {
		return mapShape{key: formFrontend, keyType: typeFrontend, keyLen: addr + 8,
			value: formNumber, dataType: typeMark, dataLen: 4, userdata: concatKey}
	}
	slots := func(s mapShape) mapShape {
		s.key, s.keyType, s.keyLen = formSlot, typeMark<<6|typeInteger, 8
		return s
	}
	return [mapCount]mapShape{
		services:      words(),
		shortcuts:     words(),
		endpoints:     slots(mapShape{value: formBackend, dataType: typeBackend, dataLen: addr + 4, userdata: "000400000000010400000000" + slotKey + backend}),
		stickySlots:   slots(mapShape{value: formNumber, dataType: typeMark, dataLen: 4, userdata: concatKey + slotKey + markValue}),
		stickyTargets: {key: formNumber, keyType: typeMark, keyLen: 4, value: formBackend, dataType: typeBackend, dataLen: addr + 4, userdata: hostKey},
		sticky:        {key: formNumber, keyType: typeMark, keyLen: 4, userdata: hostSet},
		stickyTwins:   {key: formNumber, keyType: typeMark, keyLen: 4, value: formNumber, dataType: typeMark, dataLen: 4, userdata: hostBoth},
		clusterIPs:    {key: formAddr, keyType: f.addrType, keyLen: addr, userdata: plainSet},
		hairpins:      {key: formPair, keyType: f.addrType<<6 | f.addrType, keyLen: 2 * addr, userdata: concatSet},
		nodes:         {key: formAddr, keyType: f.addrType, keyLen: addr, userdata: plainSet},
		restricted:    {key: formFrontend, keyType: typeFrontend, keyLen: addr + 8, userdata: concatSet},
		allowed:       {key: formSource, keyType: typeFrontend<<6 | f.addrType, keyLen: 2*addr + 8, userdata: concatSet, parts: []uint32{addr, 1, 2, addr}},
	}
}

// affinityMap is filled by the packet path: set id . client -> endpoint id. The
// set id goes first because nft 1.0.6 cannot read a statement that begins with
// an IPv6 address.
const affinityMap = "affinity"

// affinitySize bounds the clients remembered at a time, over all Services. A
// client beyond it is balanced like a new one each time.
const affinitySize = 1 << 17

// dispatchMap leads from the class bits of a word to the chain of the class.
const dispatchMap = "dispatch"

func (b *batch) mapMessage(m mapID, size uint32) {
	flags, s := uint32(0), &b.family.shapes[m]
	attrs := []attr{text(unix.NFTA_SET_TABLE, tableName), text(unix.NFTA_SET_NAME, m.String()),
		be32(unix.NFTA_SET_KEY_TYPE, s.keyType), be32(unix.NFTA_SET_KEY_LEN, s.keyLen)}
	if s.dataType != 0 {
		flags |= unix.NFT_SET_MAP
		attrs = append(attrs, be32(unix.NFTA_SET_DATA_TYPE, s.dataType), be32(unix.NFTA_SET_DATA_LEN, s.dataLen))
	}
	desc := []attr{be32(unix.NFTA_SET_DESC_SIZE, size)}
	if s.parts != nil {
		const setConcat, descConcat, fieldLen = 0x80, 2, 1
		flags |= unix.NFT_SET_INTERVAL | setConcat
		list := nest(descConcat)
		for _, n := range s.parts {
			list.nested = append(list.nested, nest(unix.NFTA_LIST_ELEM, be32(fieldLen, n)))
		}
		desc = append(desc, list)
	}
	if b.counters && (m == endpoints || m == stickyTargets) {
		const setExpr = 17 // NFTA_SET_EXPR
		attrs = append(attrs, nest(setExpr, text(unix.NFTA_EXPR_NAME, "counter"), nest(unix.NFTA_EXPR_DATA)))
	}
	attrs = append(attrs, be32(unix.NFTA_SET_FLAGS, flags), b.nextSetID(), nest(unix.NFTA_SET_DESC, desc...))
	if s.userdata != "" {
		attrs = append(attrs, raw(unix.NFTA_SET_USERDATA, unhex(s.userdata)))
	}
	b.message(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, "map "+m.String(), attrs...)
}

// affinityMessage adds the map that the packet path writes. Its timeout is only
// a default: the rules give every entry its own.
func (b *batch) affinityMessage() {
	b.message(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, "map "+affinityMap,
		text(unix.NFTA_SET_TABLE, tableName), text(unix.NFTA_SET_NAME, affinityMap),
		be32(unix.NFTA_SET_FLAGS, unix.NFT_SET_MAP|unix.NFT_SET_EVAL|unix.NFT_SET_TIMEOUT),
		be32(unix.NFTA_SET_KEY_TYPE, typeMark<<6|b.family.addrType), be32(unix.NFTA_SET_KEY_LEN, 4+b.family.addrLen),
		be32(unix.NFTA_SET_DATA_TYPE, typeMark), be32(unix.NFTA_SET_DATA_LEN, 4), b.nextSetID(),
		be64(unix.NFTA_SET_TIMEOUT, uint64((3*time.Hour).Milliseconds())),
		nest(unix.NFTA_SET_DESC, be32(unix.NFTA_SET_DESC_SIZE, affinitySize)),
		raw(unix.NFTA_SET_USERDATA, unhex(concatKey)))
}

// dispatchMessage adds the only map with verdicts. It has an element per class
// in use, a few dozen, because the kernel checks all of them whenever a rule or
// a verdict is added.
func (b *batch) dispatchMessage() {
	const verdictType = 0xffffff00
	b.message(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, "map "+dispatchMap,
		text(unix.NFTA_SET_TABLE, tableName), text(unix.NFTA_SET_NAME, dispatchMap),
		be32(unix.NFTA_SET_FLAGS, unix.NFT_SET_MAP), be32(unix.NFTA_SET_KEY_TYPE, typeMark), be32(unix.NFTA_SET_KEY_LEN, 4),
		be32(unix.NFTA_SET_DATA_TYPE, verdictType), be32(unix.NFTA_SET_DATA_LEN, 0), b.nextSetID(),
		raw(unix.NFTA_SET_USERDATA, unhex(hostKey)))
}

func (b *batch) nextSetID() attr {
	b.setIDs++
	return be32(unix.NFTA_SET_ID, b.setIDs)
}

// protocolLookup adds an anonymous set of protocols and returns the lookup.
func (b *batch) protocolLookup(protocols []lb.Protocol) expr {
	const anonymous = "__set%d"
	id := b.nextSetID()
	b.message(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, "anonymous set",
		text(unix.NFTA_SET_TABLE, tableName), text(unix.NFTA_SET_NAME, anonymous),
		be32(unix.NFTA_SET_FLAGS, unix.NFT_SET_ANONYMOUS|unix.NFT_SET_CONSTANT),
		be32(unix.NFTA_SET_KEY_TYPE, typeProto), be32(unix.NFTA_SET_KEY_LEN, 1), id,
		nest(unix.NFTA_SET_DESC, be32(unix.NFTA_SET_DESC_SIZE, uint32(len(protocols)))),
		raw(unix.NFTA_SET_USERDATA, unhex(hostSet)))
	w := &elementWriter{b: b, kind: unix.NFT_MSG_NEWSETELEM, set: anonymous, id: b.setIDs}
	for _, p := range protocols {
		w.add([]byte{byte(p)}, nil, nil, "", "")
	}
	w.flush()
	return expr{name: "lookup", attrs: []attr{text(unix.NFTA_LOOKUP_SET, anonymous), be32(unix.NFTA_LOOKUP_SREG, reg1), be32(unix.NFTA_LOOKUP_SET_ID, b.setIDs)}}
}

func unhex(s string) []byte {
	p, err := hex.DecodeString(s)
	if err != nil {
		panic("BUG: user data constant: " + err.Error())
	}
	return p
}

// key identifies an element, whatever the family.
type key struct {
	in    mapID
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

func frontendKey(in mapID, at netip.AddrPort, proto lb.Protocol) key {
	return key{in: in, proto: proto, port: at.Port(), addr: at.Addr().As16()}
}

func slotOf(in mapID, set uint32, slot int) key {
	k := numberKey(in, set)
	binary.BigEndian.PutUint32(k.addr[4:], uint32(slot))
	return k
}

func numberKey(in mapID, n uint32) key {
	k := key{in: in}
	binary.BigEndian.PutUint32(k.addr[:], n)
	return k
}

func addrKey(in mapID, a netip.Addr) key { return key{in: in, addr: a.As16()} }

func numberValue(n uint32) value { return value{number: n} }

func backendValueOf(at netip.AddrPort) value {
	return value{addr: at.Addr().As16(), number: uint32(at.Port())}
}

// appendKey appends a key as the kernel has it: every part of a concatenation
// fills a multiple of four bytes; addresses and ports are in network order,
// numbers in the host's. The part of a source is left to the caller.
func (f *family) appendKey(to []byte, k *key) []byte {
	switch f.shapes[k.in].key {
	case formNumber:
		return appendNumber(to, k.addr[:4])
	case formSlot:
		return appendNumber(appendNumber(to, k.addr[:4]), k.addr[4:8])
	case formAddr:
		return append(to, f.bytes(&k.addr)...)
	case formPair:
		return append(append(to, f.bytes(&k.addr)...), f.bytes(&k.addr)...)
	}
	to = append(to, f.bytes(&k.addr)...)
	return append(to, byte(k.proto), 0, 0, 0, byte(k.port>>8), byte(k.port), 0, 0)
}

// appendNumber appends a number of a key.
func appendNumber(to, number []byte) []byte {
	return binary.NativeEndian.AppendUint32(to, be(number))
}

// appendValue appends the value of an element of the map as the kernel has it.
func (f *family) appendValue(to []byte, in mapID, v *value) []byte {
	if f.shapes[in].value == formNumber {
		return binary.NativeEndian.AppendUint32(to, v.number)
	}
	return append(append(to, f.bytes(&v.addr)...), byte(v.number>>8), byte(v.number), 0, 0)
}

// appendLast appends the last address of a prefix.
func (f *family) appendLast(to []byte, p netip.Prefix) []byte {
	last := p.Masked().Addr().AsSlice()
	for bit := p.Bits(); bit < len(last)*8; bit++ {
		last[bit/8] |= 0x80 >> (bit % 8)
	}
	return append(to, last...)
}

package nft

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/lb"
)

// tableName is the one nf_tables table everything lives in, of family ip.
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
	clusterIPs                 // the cluster addresses in use
	hairpins                   // local pod . local pod
	nodes                      // the addresses of all nodes
	restricted                 // address . protocol . port open to some sources only
	allowed                    // address . protocol . port . source prefix
	mapCount
)

// nf_tables data types as the nft command numbers them; a concatenation is its
// parts in groups of six bits.
const (
	typeAddr  = 7
	typeProto = 12
	typePort  = 13
	typeMark  = 19
)

const (
	typeFrontend = typeAddr<<12 | typeProto<<6 | typePort
	typeBackend  = typeAddr<<6 | typePort
)

// mapShape describes a map or set for the kernel and for those who list it.
type mapShape struct {
	name     string
	keyType  uint32
	keyLen   uint32
	dataType uint32 // zero for a set
	dataLen  uint32
	userdata string // hexadecimal; how nft prints keys and values, see below
	parts    []uint32
}

// The user data says in nft's own encoding how to print an element. The slot
// keys need it: a number without a type has no other way to be printed.
// bigKey, hostKey and concatKey give just the byte order of key and value.
const (
	hostToAddr = "0004010000000104000000000408" + "00040d00000001" + "00" + "060400000000"
	concatKey  = "000400000000010401000000"
	plainSet   = "000402000000"
	hostSet    = "000401000000"
	// typeof ct mark . numgen random mod 65536
	slotKey = "033a00040d00000001320014" + "00040c000000010c00040300000001" + "04ffffffff" +
		"011a00041700000001120004010000000104000001000204" + "00000000"
	// : ip daddr . th dport
	backendValue = "043400040d000000012c001400040700000001" + "0c00040c00000001040c00000001" +
		"140004070000000" + "10c00040b000000010402000000" + "060400000000"
	// : meta mark
	markValue = "040e00040900000001060004030000000" + "60400000000"
)

var shapes = [mapCount]mapShape{
	services:      {name: "services", keyType: typeFrontend, keyLen: 12, dataType: typeMark, dataLen: 4, userdata: concatKey},
	shortcuts:     {name: "shortcuts", keyType: typeFrontend, keyLen: 12, dataType: typeMark, dataLen: 4, userdata: concatKey},
	endpoints:     {name: "endpoints", keyLen: 8, keyType: typeMark<<6 | 4, dataType: typeBackend, dataLen: 8, userdata: "000400000000010400000000" + slotKey + backendValue},
	stickySlots:   {name: "sticky-slots", keyLen: 8, keyType: typeMark<<6 | 4, dataType: typeMark, dataLen: 4, userdata: "000400000000010401000000" + slotKey + markValue},
	stickyTargets: {name: "sticky-targets", keyType: typeMark, keyLen: 4, dataType: typeBackend, dataLen: 8, userdata: "000401000000010400000000"},
	sticky:        {name: "sticky", keyType: typeMark, keyLen: 4, userdata: hostSet},
	clusterIPs:    {name: "cluster-ips", keyType: typeAddr, keyLen: 4, userdata: plainSet},
	hairpins:      {name: "hairpins", keyType: typeAddr<<6 | typeAddr, keyLen: 8, userdata: "000400000000"},
	nodes:         {name: "nodes", keyType: typeAddr, keyLen: 4, userdata: plainSet},
	restricted:    {name: "restricted", keyType: typeFrontend, keyLen: 12, userdata: "000400000000"},
	allowed:       {name: "allowed", keyType: typeFrontend<<6 | typeAddr, keyLen: 16, userdata: "000400000000", parts: []uint32{4, 1, 2, 4}},
}

// affinityMap is filled by the packet path: client . set id -> endpoint id.
const affinityMap = "affinity"

// affinitySize bounds the clients remembered at a time, over all Services. A
// client beyond it is balanced like a new one each time.
const affinitySize = 1 << 17

// dispatchMap leads from the class bits of a word to the chain of the class.
const dispatchMap = "dispatch"

func (b *batch) mapMessage(s mapShape, size uint32) {
	flags := uint32(0)
	attrs := []attr{text(unix.NFTA_SET_TABLE, tableName), text(unix.NFTA_SET_NAME, s.name),
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
	attrs = append(attrs, be32(unix.NFTA_SET_FLAGS, flags), b.nextSetID(), nest(unix.NFTA_SET_DESC, desc...))
	if s.userdata != "" {
		attrs = append(attrs, raw(unix.NFTA_SET_USERDATA, unhex(s.userdata)))
	}
	b.message(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, "map "+s.name, attrs...)
}

// affinityMessage adds the map that the packet path writes. Its timeout is only
// a default: the rules give every entry its own.
func (b *batch) affinityMessage() {
	b.message(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, "map "+affinityMap,
		text(unix.NFTA_SET_TABLE, tableName), text(unix.NFTA_SET_NAME, affinityMap),
		be32(unix.NFTA_SET_FLAGS, unix.NFT_SET_MAP|unix.NFT_SET_EVAL|unix.NFT_SET_TIMEOUT),
		be32(unix.NFTA_SET_KEY_TYPE, typeAddr<<6|typeMark), be32(unix.NFTA_SET_KEY_LEN, 8),
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
		raw(unix.NFTA_SET_USERDATA, unhex("000401000000010400000000")))
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

// Keys and values. Every part of a concatenation fills a multiple of four
// bytes; addresses and ports are in network order, numbers in the host's.

// key identifies an element.
type key struct {
	in    mapID
	bytes [16]byte
}

// value is an element's data.
type value [8]byte

func (k *key) data() []byte { return k.bytes[:shapes[k.in].keyLen] }

func frontendKey(in mapID, at netip.AddrPort, proto lb.Protocol) key {
	k := key{in: in}
	a := at.Addr().As4()
	copy(k.bytes[:], a[:])
	k.bytes[4] = byte(proto)
	binary.BigEndian.PutUint16(k.bytes[8:], at.Port())
	return k
}

func slotOf(in mapID, set uint32, slot int) key {
	k := key{in: in}
	binary.NativeEndian.PutUint32(k.bytes[:], set)
	binary.NativeEndian.PutUint32(k.bytes[4:], uint32(slot))
	return k
}

func numberKey(in mapID, n uint32) key {
	k := key{in: in}
	binary.NativeEndian.PutUint32(k.bytes[:], n)
	return k
}

func addrKey(in mapID, addrs ...netip.Addr) key {
	k := key{in: in}
	for i, a := range addrs {
		p := a.As4()
		copy(k.bytes[4*i:], p[:])
	}
	return k
}

func numberValue(n uint32) (v value) {
	binary.NativeEndian.PutUint32(v[:], n)
	return v
}

func backendValueOf(at netip.AddrPort) (v value) {
	a := at.Addr().As4()
	copy(v[:], a[:])
	binary.BigEndian.PutUint16(v[4:], at.Port())
	return v
}

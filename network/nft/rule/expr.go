package rule

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/nft/wire"
)

// Expr is one expression of a rule: an instruction of the kernel's nf_tables
// machine. A lookup of the transport protocol in an anonymous set is kept as
// the protocols, because the set has to be made together with the rule.
type Expr struct {
	Name      string
	Attrs     []wire.Attr
	Protocols []lb.Protocol
}

// Rule is a list of expressions. It ends at the first that does not match.
type Rule []Expr

// Join makes one rule of several statements.
func Join(statements ...[]Expr) Rule {
	var r Rule
	for _, s := range statements {
		r = append(r, s...)
	}
	return r
}

// Registers. The nft command prints a rule only if keys begin in register 1 and
// continue in the 32-bit registers behind it; other choices make it abort.
const (
	Reg1  = unix.NFT_REG_1
	reg3  = unix.NFT_REG_3 // behind the longest key of a statement
	VerdR = unix.NFT_REG_VERDICT
)

// register returns the register that begins so many bytes behind register 1.
func register(offset uint32) uint32 {
	if offset%16 == 0 {
		return Reg1 + offset/16
	}
	return unix.NFT_REG32_00 + offset/4
}

// Field is something a packet carries, or a number made up for it, that can be
// loaded into a register.
type Field struct {
	Size uint32 // in bytes
	Load func(reg uint32) []Expr
}

// Payload is a part of a header: base, offset and size in bytes.
func Payload(base, offset, size uint32) Field {
	return Field{Size: size, Load: func(reg uint32) []Expr {
		return []Expr{{Name: "payload", Attrs: []wire.Attr{wire.U32(unix.NFTA_PAYLOAD_DREG, reg), wire.U32(unix.NFTA_PAYLOAD_BASE, base),
			wire.U32(unix.NFTA_PAYLOAD_OFFSET, offset), wire.U32(unix.NFTA_PAYLOAD_LEN, size)}}}
	}}
}

func networkField(offset, size uint32) Field {
	return Payload(unix.NFT_PAYLOAD_NETWORK_HEADER, offset, size)
}

// Saddr is the source address.
func (f *Family) Saddr() Field { return networkField(f.Source, f.AddrLen) }

// Daddr is the destination address.
func (f *Family) Daddr() Field { return networkField(f.Dest, f.AddrLen) }

// Sport is the source port.
func Sport() Field { return Payload(unix.NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2) }

// Dport is the destination port.
func Dport() Field { return Payload(unix.NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2) }

// L4proto is the transport protocol.
func L4proto() Field { return Meta(unix.NFT_META_L4PROTO, 1) }

// Mark is the packet mark.
func Mark() Field { return Meta(unix.NFT_META_MARK, 4) }

// CtMark is the conntrack mark.
func CtMark() Field { return ct(unix.NFT_CT_MARK) }

// CtState is the state of the connection.
func CtState() Field { return ct(unix.NFT_CT_STATE) }

// CtStatus is what became of the connection, in bits.
func CtStatus() Field { return ct(unix.NFT_CT_STATUS) }

// Meta is what the kernel knows of a packet besides: a key of NFT_META_* and its size.
func Meta(key, size uint32) Field {
	return Field{Size: size, Load: func(reg uint32) []Expr {
		return []Expr{{Name: "meta", Attrs: []wire.Attr{wire.U32(unix.NFTA_META_KEY, key), wire.U32(unix.NFTA_META_DREG, reg)}}}
	}}
}

func ct(key uint32) Field {
	return Field{Size: 4, Load: func(reg uint32) []Expr {
		return []Expr{{Name: "ct", Attrs: []wire.Attr{wire.U32(unix.NFTA_CT_KEY, key), wire.U32(unix.NFTA_CT_DREG, reg)}}}
	}}
}

// Numgen is a number smaller than n, at random or one more each time.
func Numgen(how uint32, n int) Field {
	return Field{Size: 4, Load: func(reg uint32) []Expr {
		return []Expr{{Name: "numgen", Attrs: []wire.Attr{wire.U32(unix.NFTA_NG_DREG, reg),
			wire.U32(unix.NFTA_NG_MODULUS, uint32(n)), wire.U32(unix.NFTA_NG_TYPE, how), wire.U32(unix.NFTA_NG_OFFSET, 0)}}}
	}}
}

// Hash is a number smaller than n that a field and the seed decide.
func Hash(of Field, n int, seed uint32) Field {
	return Field{Size: 4, Load: func(reg uint32) []Expr {
		return append(of.Load(unix.NFT_REG_2), Expr{Name: "hash", Attrs: []wire.Attr{wire.U32(unix.NFTA_HASH_SREG, unix.NFT_REG_2),
			wire.U32(unix.NFTA_HASH_DREG, reg), wire.U32(unix.NFTA_HASH_LEN, of.Size), wire.U32(unix.NFTA_HASH_MODULUS, uint32(n)),
			wire.U32(unix.NFTA_HASH_SEED, seed), wire.U32(unix.NFTA_HASH_OFFSET, 0), wire.U32(unix.NFTA_HASH_TYPE, unix.NFT_HASH_JENKINS)}})
	}}
}

// Load puts fields one after another, as the parts of a key.
func Load(fields ...Field) []Expr {
	var es []Expr
	offset := uint32(0)
	for _, f := range fields {
		es = append(es, f.Load(register(offset))...)
		offset += (f.Size + 3) &^ 3
	}
	return es
}

// Compare compares register 1.
func Compare(op uint32, data []byte) Expr {
	return Expr{Name: "cmp", Attrs: []wire.Attr{wire.U32(unix.NFTA_CMP_SREG, Reg1), wire.U32(unix.NFTA_CMP_OP, op),
		wire.Nest(unix.NFTA_CMP_DATA, wire.Raw(unix.NFTA_DATA_VALUE, data))}}
}

// And masks register 1.
func And(mask []byte) Expr {
	return Expr{Name: "bitwise", Attrs: []wire.Attr{wire.U32(unix.NFTA_BITWISE_SREG, Reg1), wire.U32(unix.NFTA_BITWISE_DREG, Reg1),
		wire.U32(unix.NFTA_BITWISE_LEN, uint32(len(mask))),
		wire.Nest(unix.NFTA_BITWISE_MASK, wire.Raw(unix.NFTA_DATA_VALUE, mask)),
		wire.Nest(unix.NFTA_BITWISE_XOR, wire.Raw(unix.NFTA_DATA_VALUE, make([]byte, len(mask))))}}
}

// Is matches a field with given bytes.
func Is(f Field, data []byte) []Expr { return append(Load(f), Compare(unix.NFT_CMP_EQ, data)) }

// HasBit matches a field that shares a bit with mask.
func HasBit(f Field, mask uint32) []Expr {
	return append(Load(f), And(Native(mask)), Compare(unix.NFT_CMP_NEQ, Native(0)))
}

// within matches an address in a prefix, or with op NFT_CMP_NEQ outside it. A
// prefix of whole bytes is a shorter read, as nft writes it. Every address is
// outside an invalid prefix; a rule for the inside of one does not exist.
func within(offset uint32, op uint32, p netip.Prefix) []Expr {
	if !p.IsValid() {
		return nil
	}
	bytes := p.Masked().Addr().AsSlice()
	if bits := p.Bits(); bits%8 == 0 && bits > 0 {
		return append(Load(networkField(offset, uint32(bits/8))), Compare(op, bytes[:bits/8]))
	}
	mask := make([]byte, len(bytes))
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return append(Load(networkField(offset, uint32(len(bytes)))), And(mask), Compare(op, bytes))
}

// SaddrIn matches sources in a prefix.
func (f *Family) SaddrIn(p netip.Prefix) []Expr { return within(f.Source, unix.NFT_CMP_EQ, p) }

// SaddrNotIn matches sources outside of a prefix.
func (f *Family) SaddrNotIn(p netip.Prefix) []Expr { return within(f.Source, unix.NFT_CMP_NEQ, p) }

// DaddrIn matches destinations in a prefix.
func (f *Family) DaddrIn(p netip.Prefix) []Expr { return within(f.Dest, unix.NFT_CMP_EQ, p) }

// DaddrNotIn matches destinations outside of a prefix.
func (f *Family) DaddrNotIn(p netip.Prefix) []Expr { return within(f.Dest, unix.NFT_CMP_NEQ, p) }

// InSet matches a key that is, or with invert is not, an element of a set.
func InSet(set string, invert bool, key ...Field) []Expr {
	attrs := []wire.Attr{wire.Text(unix.NFTA_LOOKUP_SET, set), wire.U32(unix.NFTA_LOOKUP_SREG, Reg1)}
	if invert {
		attrs = append(attrs, wire.U32(unix.NFTA_LOOKUP_FLAGS, unix.NFT_LOOKUP_F_INV))
	}
	return append(Load(key...), Expr{Name: "lookup", Attrs: attrs})
}

// Lookup replaces the key in register 1 by the value a map has for it, and
// ends the rule if it has none.
func Lookup(set string, dreg uint32, key ...Field) []Expr {
	return append(Load(key...), Expr{Name: "lookup", Attrs: []wire.Attr{wire.Text(unix.NFTA_LOOKUP_SET, set),
		wire.U32(unix.NFTA_LOOKUP_SREG, Reg1), wire.U32(unix.NFTA_LOOKUP_DREG, dreg)}})
}

// SetMark makes a value in register 1 the packet mark.
func SetMark(value []Expr) []Expr {
	return append(value, Expr{Name: "meta", Attrs: []wire.Attr{wire.U32(unix.NFTA_META_KEY, unix.NFT_META_MARK), wire.U32(unix.NFTA_META_SREG, Reg1)}})
}

// SetCtMark makes a value in register 1 the conntrack mark.
func SetCtMark(value []Expr) []Expr {
	return append(value, Expr{Name: "ct", Attrs: []wire.Attr{wire.U32(unix.NFTA_CT_KEY, unix.NFT_CT_MARK), wire.U32(unix.NFTA_CT_SREG, Reg1)}})
}

// Number is a constant in register 1, in the host's byte order.
func Number(v uint32) []Expr {
	return []Expr{{Name: "immediate", Attrs: []wire.Attr{wire.U32(unix.NFTA_IMMEDIATE_DREG, Reg1),
		wire.Nest(unix.NFTA_IMMEDIATE_DATA, wire.Raw(unix.NFTA_DATA_VALUE, Native(v)))}}}
}

func verdictData(code int32, chain string) wire.Attr {
	in := []wire.Attr{wire.U32(unix.NFTA_VERDICT_CODE, uint32(code))}
	if chain != "" {
		in = append(in, wire.Text(unix.NFTA_VERDICT_CHAIN, chain))
	}
	return wire.Nest(unix.NFTA_DATA_VERDICT, in...)
}

// Verdict ends the rule with a verdict; chain is for those that lead to one.
func Verdict(code int32, chain string) []Expr {
	return []Expr{{Name: "immediate", Attrs: []wire.Attr{wire.U32(unix.NFTA_IMMEDIATE_DREG, VerdR),
		wire.Nest(unix.NFTA_IMMEDIATE_DATA, verdictData(code, chain))}}}
}

// GotoChain goes to a chain for good.
func GotoChain(name string) []Expr { return Verdict(unix.NFT_GOTO, name) }

// Jump goes to a chain, and comes back if it returns.
func Jump(name string) []Expr { return Verdict(unix.NFT_JUMP, name) }

// Drop drops the packet.
func Drop() []Expr { return Verdict(0, "") }

// Transport matches packets with ports. nft wants it before any mapping to a
// port when it reads rules back from its own output.
func Transport(protocols ...lb.Protocol) []Expr {
	return append(Load(L4proto()), Expr{Protocols: protocols})
}

// Dnat sends the connection to the address in register 1 and the port behind it.
func (f *Family) Dnat() []Expr {
	return []Expr{{Name: "nat", Attrs: []wire.Attr{wire.U32(unix.NFTA_NAT_TYPE, unix.NFT_NAT_DNAT),
		wire.U32(unix.NFTA_NAT_FAMILY, uint32(f.Protocol)), wire.U32(unix.NFTA_NAT_REG_ADDR_MIN, Reg1),
		wire.U32(unix.NFTA_NAT_REG_PROTO_MIN, register(f.AddrLen))}}}
}

// Masquerade replaces the source by this node's address on the way out. The
// random port keeps two clients with the same port apart (rule P60).
func Masquerade() []Expr {
	const fullyRandom = 1 << 4 // NF_NAT_RANGE_PROTO_RANDOM_FULLY
	return []Expr{{Name: "masq", Attrs: []wire.Attr{wire.U32(unix.NFTA_MASQ_FLAGS, fullyRandom)}}}
}

// RejectTCP resets a TCP connection.
func RejectTCP() []Expr {
	return append(Is(L4proto(), []byte{byte(lb.TCP)}), Expr{Name: "reject",
		Attrs: []wire.Attr{wire.U32(unix.NFTA_REJECT_TYPE, unix.NFT_REJECT_TCP_RST), wire.Raw(unix.NFTA_REJECT_ICMP_CODE, []byte{0})}})
}

// RejectICMP says that nobody listens on the port.
func (f *Family) RejectICMP() []Expr {
	return []Expr{{Name: "reject", Attrs: []wire.Attr{wire.U32(unix.NFTA_REJECT_TYPE, unix.NFT_REJECT_ICMP_UNREACH),
		wire.Raw(unix.NFTA_REJECT_ICMP_CODE, []byte{f.unreachable})}}}
}

// Prohibited refuses a packet as a firewall tells it: ICMP, communication administratively prohibited.
func (f *Family) Prohibited() []Expr {
	return []Expr{{Name: "reject", Attrs: []wire.Attr{wire.U32(unix.NFTA_REJECT_TYPE, unix.NFT_REJECT_ICMP_UNREACH),
		wire.Raw(unix.NFTA_REJECT_ICMP_CODE, []byte{f.prohibited})}}}
}

// Notrack keeps a packet from conntrack.
func Notrack() []Expr { return []Expr{{Name: "notrack"}} }

// Dynset adds, refreshes or deletes an element (key in register 1, data in
// register 3) from the packet path.
func Dynset(op uint32, set string, timeout time.Duration, data Field, key ...Field) []Expr {
	attrs := []wire.Attr{wire.Text(unix.NFTA_DYNSET_SET_NAME, set), wire.U32(unix.NFTA_DYNSET_OP, op),
		wire.U32(unix.NFTA_DYNSET_SREG_KEY, Reg1), wire.U32(unix.NFTA_DYNSET_SREG_DATA, reg3)}
	if timeout > 0 {
		attrs = append(attrs, wire.U64(unix.NFTA_DYNSET_TIMEOUT, uint64(timeout.Milliseconds())))
	}
	return append(append(Load(key...), data.Load(reg3)...), Expr{Name: "dynset", Attrs: attrs})
}

// What can be asked about the socket that waits for a packet. Whether it is
// bound to all addresses is not known of a TCP connection that is just being
// opened, so of TCP something is asked that is never true.
const (
	SocketTransparent = 0
	SocketWildcard    = 2
)

// HasSocket matches a packet for which a socket waits that lacks the property.
func HasSocket(without uint32) []Expr {
	const attrKey, attrDreg = 1, 2
	property := Field{Size: 1, Load: func(reg uint32) []Expr {
		return []Expr{{Name: "socket", Attrs: []wire.Attr{wire.U32(attrKey, without), wire.U32(attrDreg, reg)}}}
	}}
	return Is(property, []byte{0})
}

// Touch adds the key in register 1 to a set or begins its time anew, or deletes
// it.
func Touch(op uint32, set string) Expr {
	return Expr{Name: "dynset", Attrs: []wire.Attr{wire.Text(unix.NFTA_DYNSET_SET_NAME, set),
		wire.U32(unix.NFTA_DYNSET_OP, op), wire.U32(unix.NFTA_DYNSET_SREG_KEY, Reg1)}}
}

// What is done with an element from the packet path.
const (
	DynsetUpdate = unix.NFT_DYNSET_OP_UPDATE
	DynsetDelete = 2 // NFT_DYNSET_OP_DELETE
)

package plan

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/nft/wire"
)

// expr is one expression of a rule: an instruction of the kernel's nf_tables
// machine. A lookup of the transport protocol in an anonymous set is kept as
// the protocols, because the set has to be made together with the rule.
type expr struct {
	name      string
	attrs     []wire.Attr
	protocols []lb.Protocol
}

// rule is a list of expressions. It ends at the first that does not match.
type rule []expr

// join makes one rule of several statements.
func join(statements ...[]expr) rule {
	var r rule
	for _, s := range statements {
		r = append(r, s...)
	}
	return r
}

// Registers. The nft command prints a rule only if keys begin in register 1 and
// continue in the 32-bit registers behind it; other choices make it abort.
const (
	reg1  = unix.NFT_REG_1
	reg3  = unix.NFT_REG_3 // behind the longest key of a statement
	verdR = unix.NFT_REG_VERDICT
)

// register returns the register that begins so many bytes behind register 1.
func register(offset uint32) uint32 {
	if offset%16 == 0 {
		return reg1 + offset/16
	}
	return unix.NFT_REG32_00 + offset/4
}

// field is something a packet carries, or a number made up for it, that can be
// loaded into a register.
type field struct {
	size uint32 // in bytes
	load func(reg uint32) []expr
}

func payload(base, offset, size uint32) field {
	return field{size: size, load: func(reg uint32) []expr {
		return []expr{{name: "payload", attrs: []wire.Attr{wire.U32(unix.NFTA_PAYLOAD_DREG, reg), wire.U32(unix.NFTA_PAYLOAD_BASE, base),
			wire.U32(unix.NFTA_PAYLOAD_OFFSET, offset), wire.U32(unix.NFTA_PAYLOAD_LEN, size)}}}
	}}
}

func networkField(offset, size uint32) field {
	return payload(unix.NFT_PAYLOAD_NETWORK_HEADER, offset, size)
}

func (f *Family) saddr() field { return networkField(f.source, f.addrLen) }
func (f *Family) daddr() field { return networkField(f.dest, f.addrLen) }
func sport() field             { return payload(unix.NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2) }
func dport() field             { return payload(unix.NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2) }
func l4proto() field           { return meta(unix.NFT_META_L4PROTO, 1) }
func mark() field              { return meta(unix.NFT_META_MARK, 4) }
func ctMark() field            { return ct(unix.NFT_CT_MARK) }
func ctState() field           { return ct(unix.NFT_CT_STATE) }
func ctStatus() field          { return ct(unix.NFT_CT_STATUS) }

func meta(key, size uint32) field {
	return field{size: size, load: func(reg uint32) []expr {
		return []expr{{name: "meta", attrs: []wire.Attr{wire.U32(unix.NFTA_META_KEY, key), wire.U32(unix.NFTA_META_DREG, reg)}}}
	}}
}

func ct(key uint32) field {
	return field{size: 4, load: func(reg uint32) []expr {
		return []expr{{name: "ct", attrs: []wire.Attr{wire.U32(unix.NFTA_CT_KEY, key), wire.U32(unix.NFTA_CT_DREG, reg)}}}
	}}
}

// numgen is a number smaller than n, at random or one more each time.
func numgen(how uint32, n int) field {
	return field{size: 4, load: func(reg uint32) []expr {
		return []expr{{name: "numgen", attrs: []wire.Attr{wire.U32(unix.NFTA_NG_DREG, reg),
			wire.U32(unix.NFTA_NG_MODULUS, uint32(n)), wire.U32(unix.NFTA_NG_TYPE, how), wire.U32(unix.NFTA_NG_OFFSET, 0)}}}
	}}
}

// hash is a number smaller than n that a field and the seed decide.
func hash(of field, n int, seed uint32) field {
	return field{size: 4, load: func(reg uint32) []expr {
		return append(of.load(unix.NFT_REG_2), expr{name: "hash", attrs: []wire.Attr{wire.U32(unix.NFTA_HASH_SREG, unix.NFT_REG_2),
			wire.U32(unix.NFTA_HASH_DREG, reg), wire.U32(unix.NFTA_HASH_LEN, of.size), wire.U32(unix.NFTA_HASH_MODULUS, uint32(n)),
			wire.U32(unix.NFTA_HASH_SEED, seed), wire.U32(unix.NFTA_HASH_OFFSET, 0), wire.U32(unix.NFTA_HASH_TYPE, unix.NFT_HASH_JENKINS)}})
	}}
}

// load puts fields one after another, as the parts of a key.
func load(fields ...field) []expr {
	var es []expr
	offset := uint32(0)
	for _, f := range fields {
		es = append(es, f.load(register(offset))...)
		offset += (f.size + 3) &^ 3
	}
	return es
}

// compare compares register 1.
func compare(op uint32, data []byte) expr {
	return expr{name: "cmp", attrs: []wire.Attr{wire.U32(unix.NFTA_CMP_SREG, reg1), wire.U32(unix.NFTA_CMP_OP, op),
		wire.Nest(unix.NFTA_CMP_DATA, wire.Raw(unix.NFTA_DATA_VALUE, data))}}
}

// and masks register 1.
func and(mask []byte) expr {
	return expr{name: "bitwise", attrs: []wire.Attr{wire.U32(unix.NFTA_BITWISE_SREG, reg1), wire.U32(unix.NFTA_BITWISE_DREG, reg1),
		wire.U32(unix.NFTA_BITWISE_LEN, uint32(len(mask))),
		wire.Nest(unix.NFTA_BITWISE_MASK, wire.Raw(unix.NFTA_DATA_VALUE, mask)),
		wire.Nest(unix.NFTA_BITWISE_XOR, wire.Raw(unix.NFTA_DATA_VALUE, make([]byte, len(mask))))}}
}

// is matches a field with given bytes.
func is(f field, data []byte) []expr { return append(load(f), compare(unix.NFT_CMP_EQ, data)) }

// hasBit matches a field that shares a bit with mask.
func hasBit(f field, mask uint32) []expr {
	return append(load(f), and(native(mask)), compare(unix.NFT_CMP_NEQ, native(0)))
}

// within matches an address in a prefix, or with op NFT_CMP_NEQ outside it. A
// prefix of whole bytes is a shorter read, as nft writes it. Every address is
// outside an invalid prefix; a rule for the inside of one does not exist.
func within(offset uint32, op uint32, p netip.Prefix) []expr {
	if !p.IsValid() {
		return nil
	}
	bytes := p.Masked().Addr().AsSlice()
	if bits := p.Bits(); bits%8 == 0 && bits > 0 {
		return append(load(networkField(offset, uint32(bits/8))), compare(op, bytes[:bits/8]))
	}
	mask := make([]byte, len(bytes))
	for i := range p.Bits() {
		mask[i/8] |= 0x80 >> (i % 8)
	}
	return append(load(networkField(offset, uint32(len(bytes)))), and(mask), compare(op, bytes))
}

func (f *Family) saddrIn(p netip.Prefix) []expr    { return within(f.source, unix.NFT_CMP_EQ, p) }
func (f *Family) saddrNotIn(p netip.Prefix) []expr { return within(f.source, unix.NFT_CMP_NEQ, p) }
func (f *Family) daddrIn(p netip.Prefix) []expr    { return within(f.dest, unix.NFT_CMP_EQ, p) }
func (f *Family) daddrNotIn(p netip.Prefix) []expr { return within(f.dest, unix.NFT_CMP_NEQ, p) }

// inSet matches a key that is, or with invert is not, an element of a set.
func inSet(set string, invert bool, key ...field) []expr {
	attrs := []wire.Attr{wire.Text(unix.NFTA_LOOKUP_SET, set), wire.U32(unix.NFTA_LOOKUP_SREG, reg1)}
	if invert {
		attrs = append(attrs, wire.U32(unix.NFTA_LOOKUP_FLAGS, unix.NFT_LOOKUP_F_INV))
	}
	return append(load(key...), expr{name: "lookup", attrs: attrs})
}

// lookup replaces the key in register 1 by the value a map has for it, and
// ends the rule if it has none.
func lookup(set string, dreg uint32, key ...field) []expr {
	return append(load(key...), expr{name: "lookup", attrs: []wire.Attr{wire.Text(unix.NFTA_LOOKUP_SET, set),
		wire.U32(unix.NFTA_LOOKUP_SREG, reg1), wire.U32(unix.NFTA_LOOKUP_DREG, dreg)}})
}

func setMark(value []expr) []expr {
	return append(value, expr{name: "meta", attrs: []wire.Attr{wire.U32(unix.NFTA_META_KEY, unix.NFT_META_MARK), wire.U32(unix.NFTA_META_SREG, reg1)}})
}

func setCtMark(value []expr) []expr {
	return append(value, expr{name: "ct", attrs: []wire.Attr{wire.U32(unix.NFTA_CT_KEY, unix.NFT_CT_MARK), wire.U32(unix.NFTA_CT_SREG, reg1)}})
}

// number is a constant in register 1, in the host's byte order.
func number(v uint32) []expr {
	return []expr{{name: "immediate", attrs: []wire.Attr{wire.U32(unix.NFTA_IMMEDIATE_DREG, reg1),
		wire.Nest(unix.NFTA_IMMEDIATE_DATA, wire.Raw(unix.NFTA_DATA_VALUE, native(v)))}}}
}

func verdictData(code int32, chain string) wire.Attr {
	in := []wire.Attr{wire.U32(unix.NFTA_VERDICT_CODE, uint32(code))}
	if chain != "" {
		in = append(in, wire.Text(unix.NFTA_VERDICT_CHAIN, chain))
	}
	return wire.Nest(unix.NFTA_DATA_VERDICT, in...)
}

func verdict(code int32, chain string) []expr {
	return []expr{{name: "immediate", attrs: []wire.Attr{wire.U32(unix.NFTA_IMMEDIATE_DREG, verdR),
		wire.Nest(unix.NFTA_IMMEDIATE_DATA, verdictData(code, chain))}}}
}

func gotoChain(name string) []expr { return verdict(unix.NFT_GOTO, name) }
func jump(name string) []expr      { return verdict(unix.NFT_JUMP, name) }
func drop() []expr                 { return verdict(0, "") }

// transport matches packets with ports. nft wants it before any mapping to a
// port when it reads rules back from its own output.
func transport(protocols ...lb.Protocol) []expr {
	return append(load(l4proto()), expr{protocols: protocols})
}

// dnat sends the connection to the address in register 1 and the port behind it.
func (f *Family) dnat() []expr {
	return []expr{{name: "nat", attrs: []wire.Attr{wire.U32(unix.NFTA_NAT_TYPE, unix.NFT_NAT_DNAT),
		wire.U32(unix.NFTA_NAT_FAMILY, uint32(f.Protocol)), wire.U32(unix.NFTA_NAT_REG_ADDR_MIN, reg1),
		wire.U32(unix.NFTA_NAT_REG_PROTO_MIN, register(f.addrLen))}}}
}

// masquerade replaces the source by this node's address on the way out. The
// random port keeps two clients with the same port apart (rule P60).
func masquerade() []expr {
	const fullyRandom = 1 << 4 // NF_NAT_RANGE_PROTO_RANDOM_FULLY
	return []expr{{name: "masq", attrs: []wire.Attr{wire.U32(unix.NFTA_MASQ_FLAGS, fullyRandom)}}}
}

func rejectTCP() []expr {
	return append(is(l4proto(), []byte{byte(lb.TCP)}), expr{name: "reject",
		attrs: []wire.Attr{wire.U32(unix.NFTA_REJECT_TYPE, unix.NFT_REJECT_TCP_RST), wire.Raw(unix.NFTA_REJECT_ICMP_CODE, []byte{0})}})
}

func (f *Family) rejectICMP() []expr {
	return []expr{{name: "reject", attrs: []wire.Attr{wire.U32(unix.NFTA_REJECT_TYPE, unix.NFT_REJECT_ICMP_UNREACH),
		wire.Raw(unix.NFTA_REJECT_ICMP_CODE, []byte{f.unreachable})}}}
}

func notrack() []expr { return []expr{{name: "notrack"}} }

// dynset adds, refreshes or deletes an element (key in register 1, data in
// register 3) from the packet path.
func dynset(op uint32, set string, timeout time.Duration, data field, key ...field) []expr {
	attrs := []wire.Attr{wire.Text(unix.NFTA_DYNSET_SET_NAME, set), wire.U32(unix.NFTA_DYNSET_OP, op),
		wire.U32(unix.NFTA_DYNSET_SREG_KEY, reg1), wire.U32(unix.NFTA_DYNSET_SREG_DATA, reg3)}
	if timeout > 0 {
		attrs = append(attrs, wire.U64(unix.NFTA_DYNSET_TIMEOUT, uint64(timeout.Milliseconds())))
	}
	return append(append(load(key...), data.load(reg3)...), expr{name: "dynset", attrs: attrs})
}

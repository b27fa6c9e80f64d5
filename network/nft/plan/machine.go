package plan

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/nft/rule"
	"fairlead.dev/fairlead/network/nft/wire"
)

// machine carries out rules for one packet as the kernel's nf_tables does:
// sixteen registers of four bytes, and expressions that load, change and compare
// them, of which any can end its rule.
type machine struct {
	tracer *Tracer
	packet Packet
	hook   uint32

	mark, ctMark uint32
	translated   bool // conntrack's status says that the destination is another

	file    [80]byte // the registers
	verdict int32
	target  string // the chain of a verdict that has one
	then    string // where the packet goes that the rule does not say
	trace   Trace
}

// Verdicts besides those of nf_tables' own.
const (
	verdictContinue = unix.NFT_CONTINUE
	verdictDecided  = 1 // accepted, translated, refused or dropped
)

func (m *machine) load(register uint32, p []byte) bool {
	at := rule.Place(register)
	clear(m.file[at : (at+uint32(len(p))+3)&^3])
	copy(m.file[at:], p)
	return true
}

func (m *machine) register(register uint32, size int) []byte {
	at := rule.Place(register)
	return m.file[at : int(at)+size]
}

// run carries out a rule until an expression does not match or decides.
func (m *machine) run(r rule.Rule) (matched bool) {
	for i := range r {
		if !m.step(&r[i]) {
			return false
		}
	}
	return true
}

func (m *machine) step(e *rule.Expr) bool {
	if e.Protocols != nil {
		return slices.Contains(e.Protocols, lb.Protocol(m.file[0]))
	}
	switch e.Name {
	case "payload":
		return m.payload(e)
	case "meta":
		return m.meta(e)
	case "ct":
		return m.ct(e)
	case "socket":
		return m.packet.Socket && m.load(e.Number(2), []byte{0})
	case "numgen":
		return m.load(e.Number(unix.NFTA_NG_DREG), rule.Native(m.draw(e)+e.Number(unix.NFTA_NG_OFFSET)))
	case "hash":
		of := m.register(e.Number(unix.NFTA_HASH_SREG), int(e.Number(unix.NFTA_HASH_LEN)))
		n := scale(jhash(of, e.Number(unix.NFTA_HASH_SEED)), e.Number(unix.NFTA_HASH_MODULUS))
		return m.load(e.Number(unix.NFTA_HASH_DREG), rule.Native(n+e.Number(unix.NFTA_HASH_OFFSET)))
	case "bitwise":
		return m.bitwise(e)
	case "cmp":
		data := e.Data(unix.NFTA_CMP_DATA)
		equal := bytes.Equal(m.register(e.Number(unix.NFTA_CMP_SREG), len(data)), data)
		return equal == (e.Number(unix.NFTA_CMP_OP) == unix.NFT_CMP_EQ)
	case "immediate":
		return m.immediate(e)
	case "lookup":
		return m.lookup(e)
	case "dynset":
		return m.dynset(e)
	}
	return m.decide(e)
}

// payload loads a part of the packet's headers, made up of what there is to them.
func (m *machine) payload(e *rule.Expr) bool {
	f := m.tracer.table.Family
	header := make([]byte, f.Dest+f.AddrLen)
	copy(header[f.Source:], m.packet.Source.AsSlice())
	copy(header[f.Dest:], m.trace.Dest.Addr().AsSlice())
	if e.Number(unix.NFTA_PAYLOAD_BASE) == unix.NFT_PAYLOAD_TRANSPORT_HEADER {
		header = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, m.packet.SourcePort), m.trace.Dest.Port())
		if m.packet.ICMP != 0 {
			header = []byte{m.packet.ICMP, 0, 0, 0}
		}
	}
	at, size := e.Number(unix.NFTA_PAYLOAD_OFFSET), e.Number(unix.NFTA_PAYLOAD_LEN)
	if int(at+size) > len(header) {
		return false
	}
	return m.load(e.Number(unix.NFTA_PAYLOAD_DREG), header[at:at+size])
}

func (m *machine) meta(e *rule.Expr) bool {
	key := e.Number(unix.NFTA_META_KEY)
	if from := e.Data(unix.NFTA_META_SREG); from != nil {
		m.mark = binary.NativeEndian.Uint32(m.register(wire.Number(from), 4))
		return key == unix.NFT_META_MARK
	}
	name := func(link string) []byte { return append([]byte(link), make([]byte, 16-len(link))...) }
	var p []byte
	switch key {
	case unix.NFT_META_MARK:
		p = rule.Native(m.mark)
	case unix.NFT_META_L4PROTO:
		p = []byte{byte(m.packet.Proto)}
	case unix.NFT_META_IIFNAME:
		p = name(m.packet.In)
	case unix.NFT_META_OIFNAME:
		p = name(m.packet.Out)
	case unix.NFT_META_OIF:
		p = rule.Native(0) // not known before routing
		if m.hook == unix.NF_INET_LOCAL_OUT && m.tracer.local[m.trace.Dest.Addr()] {
			p = rule.Native(1) // lo
		}
	default:
		panic(fmt.Sprintf("BUG: rules ask for meta %d, which a trace does not know", key))
	}
	return m.load(e.Number(unix.NFTA_META_DREG), p)
}

func (m *machine) ct(e *rule.Expr) bool {
	const untracked = 1 << 6
	key := e.Number(unix.NFTA_CT_KEY)
	if from := e.Data(unix.NFTA_CT_SREG); from != nil {
		if !m.trace.Untracked {
			m.ctMark = binary.NativeEndian.Uint32(m.register(wire.Number(from), 4))
		}
		return true
	}
	v := m.ctMark
	switch {
	case key == unix.NFT_CT_STATE && m.trace.Untracked:
		v = untracked
	case m.trace.Untracked:
		return false
	case key == unix.NFT_CT_STATE:
		v = uint32(m.packet.State)
	case key == unix.NFT_CT_STATUS:
		v = 0
		if m.translated {
			v = 1 << 5
		}
	}
	return m.load(e.Number(unix.NFTA_CT_DREG), rule.Native(v))
}

// draw makes up a number: what Choose says, or the next in turn.
func (m *machine) draw(e *rule.Expr) uint32 {
	n := e.Number(unix.NFTA_NG_MODULUS)
	if m.tracer.all || e.Number(unix.NFTA_NG_TYPE) == unix.NFT_NG_RANDOM {
		return uint32(m.tracer.Choose(int(n)))
	}
	next := m.tracer.turns[e] % n
	m.tracer.turns[e] = next + 1
	return next
}

func (m *machine) bitwise(e *rule.Expr) bool {
	p := slices.Clone(m.register(e.Number(unix.NFTA_BITWISE_SREG), int(e.Number(unix.NFTA_BITWISE_LEN))))
	mask, xor := e.Data(unix.NFTA_BITWISE_MASK), e.Data(unix.NFTA_BITWISE_XOR)
	for i := range p {
		p[i] = p[i]&mask[i] ^ xor[i]
	}
	return m.load(e.Number(unix.NFTA_BITWISE_DREG), p)
}

func (m *machine) immediate(e *rule.Expr) bool {
	code, chain, ok := e.Verdict()
	if !ok {
		return m.load(e.Number(unix.NFTA_IMMEDIATE_DREG), e.Data(unix.NFTA_IMMEDIATE_DATA))
	}
	if code == 0 {
		return m.end(lb.Drop, "")
	}
	m.verdict, m.target = code, chain
	return true
}

// end makes a verdict about the packet.
func (m *machine) end(v lb.Verdict, then string) bool {
	m.verdict, m.then = verdictDecided, then
	m.trace.Verdict, m.trace.Served = v, true
	return true
}

// keyLen is how many bytes a key of a map has.
func (tr *Tracer) keyLen(name string) int {
	f := tr.table.Family
	for m := range MapCount {
		if m.String() == name {
			return int(f.shapes[m].keyLen)
		}
	}
	return map[string]int{AffinityMap: 4 + int(f.AddrLen), AnsweringSet: int(f.AddrLen), dispatchMap: 4}[name]
}

func (m *machine) lookup(e *rule.Expr) bool {
	name := e.Text(unix.NFTA_LOOKUP_SET)
	key := string(m.register(e.Number(unix.NFTA_LOOKUP_SREG), m.tracer.keyLen(name)))
	value, there := m.tracer.maps[name][key]
	if name == MapAllowed.String() {
		at := len(key) - int(m.tracer.table.Family.AddrLen)
		there = slices.ContainsFunc(m.tracer.spans[key[:at]], func(s span) bool { return s.first <= key[at:] && key[at:] <= s.last })
	}
	if there == (e.Number(unix.NFTA_LOOKUP_FLAGS) == unix.NFT_LOOKUP_F_INV) {
		return false
	}
	to := e.Data(unix.NFTA_LOOKUP_DREG)
	switch {
	case to == nil:
		return true
	case wire.Number(to) == rule.VerdR:
		m.verdict, m.target = unix.NFT_GOTO, string(value)
		m.then = rule.VerdictText(m.verdict, m.target)
		return true
	}
	return m.load(wire.Number(to), value)
}

func (m *machine) dynset(e *rule.Expr) bool {
	name := e.Text(unix.NFTA_DYNSET_SET_NAME)
	key, in := string(m.register(e.Number(unix.NFTA_DYNSET_SREG_KEY), m.tracer.keyLen(name))), m.tracer.maps[name]
	_, there := in[key]
	switch {
	case e.Number(unix.NFTA_DYNSET_OP) == rule.DynsetDelete:
		delete(in, key)
	case !there: // an update never changes a value
		in[key] = nil
		if from := e.Data(unix.NFTA_DYNSET_SREG_DATA); from != nil {
			in[key] = slices.Clone(m.register(wire.Number(from), 4))
		}
	}
	return true
}

// decide carries out what ends the way of a packet.
func (m *machine) decide(e *rule.Expr) bool {
	switch e.Name {
	case "nat":
		f := m.tracer.table.Family
		a, _ := netip.AddrFromSlice(m.register(e.Number(unix.NFTA_NAT_REG_ADDR_MIN), int(f.AddrLen)))
		m.trace.Dest = netip.AddrPortFrom(a, binary.BigEndian.Uint16(m.register(e.Number(unix.NFTA_NAT_REG_PROTO_MIN), 2)))
		m.translated = true
		return m.end(lb.Forward, m.trace.Dest.String())
	case "masq":
		m.trace.Masquerade = true
		m.verdict = verdictDecided
		return true
	case "notrack":
		m.trace.Untracked = true
		return true
	case "reject":
		return m.end(lb.Refuse, "")
	}
	panic("BUG: rules have an expression that a trace does not know: " + e.Name)
}

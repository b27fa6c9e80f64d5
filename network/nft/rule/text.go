package rule

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/nft/wire"
)

// Number reads an attribute of an expression as a number, zero if it lacks it.
func (e *Expr) Number(kind uint16) uint32 {
	if p := e.Data(kind); len(p) == 4 {
		return wire.Number(p)
	}
	return 0
}

// Data returns an attribute of an expression, or the value within it.
func (e *Expr) Data(kind uint16) []byte {
	for _, a := range e.Attrs {
		if a.Kind != kind {
			continue
		}
		if a.Nested != nil {
			return a.Nested[0].Data
		}
		return a.Data
	}
	return nil
}

// Text returns an attribute of an expression as a name.
func (e *Expr) Text(kind uint16) string { return strings.TrimSuffix(string(e.Data(kind)), "\x00") }

// Verdict returns the verdict of an expression that has one.
func (e *Expr) Verdict() (code int32, chain string, ok bool) {
	for _, a := range e.Attrs {
		if a.Kind != unix.NFTA_IMMEDIATE_DATA || len(a.Nested) != 1 || a.Nested[0].Kind != unix.NFTA_DATA_VERDICT {
			continue
		}
		in := Expr{Attrs: a.Nested[0].Nested}
		return int32(in.Number(unix.NFTA_VERDICT_CODE)), in.Text(unix.NFTA_VERDICT_CHAIN), true
	}
	return 0, "", false
}

// Place is where in the register file a register begins, in bytes.
func Place(register uint32) uint32 {
	if register >= unix.NFT_REG32_00 {
		return (register - unix.NFT_REG32_00) * 4
	}
	return (register - Reg1) * 16
}

// ruleText makes a rule's text of its expressions, as the nft command does: it
// notes what each register holds, and writes a statement when one is used.
type ruleText struct {
	family *Family
	words  []string
	held   map[uint32]operand // by place
	proto  lb.Protocol        // that the rule has matched, zero for none
	unsaid bool               // that is not among the words
}

// operand is what a register holds.
type operand struct {
	text string
	size uint32
	addr bool   // an address, or its first bytes
	mask []byte // that was applied; nil for none
}

// Text is the rule as nft writes it.
func (r Rule) Text(f *Family) string {
	t := ruleText{family: f, held: map[uint32]operand{}}
	for i := range r {
		t.add(&r[i])
	}
	t.sayProtocol()
	return strings.Join(t.words, " ")
}

func (t *ruleText) say(format string, args ...any) {
	t.words = append(t.words, fmt.Sprintf(format, args...))
}

func (t *ruleText) hold(register uint32, o operand) {
	at := Place(register)
	if at == 0 { // a statement begins
		clear(t.held)
	}
	t.held[at] = o
}

// key is the parts of a key from register 1 on.
func (t *ruleText) key() string {
	var parts []string
	for at := uint32(0); ; {
		o, ok := t.held[at]
		if !ok {
			return strings.Join(parts, " . ")
		}
		parts = append(parts, o.value())
		at += (o.size + 3) &^ 3
	}
}

func (o operand) value() string {
	if o.mask == nil {
		return o.text
	}
	return fmt.Sprintf("%s & %s", o.text, mark32(o.mask))
}

func mark32(p []byte) string { return fmt.Sprintf("0x%08x", binary.NativeEndian.Uint32(p)) }

func (t *ruleText) add(e *Expr) {
	if e.Protocols == nil && e.Name != "cmp" && e.Name != "payload" && e.Name != "reject" {
		t.sayProtocol()
	}
	switch e.Name {
	case "payload":
		t.payload(e)
	case "meta", "ct":
		t.metaOrCt(e)
	case "numgen":
		how := map[uint32]string{unix.NFT_NG_RANDOM: "random", unix.NFT_NG_INCREMENTAL: "inc"}[e.Number(unix.NFTA_NG_TYPE)]
		t.hold(e.Number(unix.NFTA_NG_DREG), operand{text: fmt.Sprintf("numgen %s mod %d", how, e.Number(unix.NFTA_NG_MODULUS)), size: 4})
	case "hash":
		from := Place(e.Number(unix.NFTA_HASH_SREG))
		o := operand{text: fmt.Sprintf("jhash %s mod %d seed 0x%x", t.held[from].text, e.Number(unix.NFTA_HASH_MODULUS), e.Number(unix.NFTA_HASH_SEED)), size: 4}
		delete(t.held, from)
		t.hold(e.Number(unix.NFTA_HASH_DREG), o)
	case "socket":
		t.hold(e.Number(2), operand{text: map[uint32]string{SocketWildcard: "socket wildcard", SocketTransparent: "socket transparent"}[e.Number(1)], size: 1})
	case "bitwise":
		o := t.held[0]
		o.mask = e.Data(unix.NFTA_BITWISE_MASK)
		t.held[0] = o
	case "cmp":
		t.compare(e)
	case "immediate":
		t.immediate(e)
	default:
		t.statement(e)
	}
}

func (t *ruleText) payload(e *Expr) {
	base, offset, size := e.Number(unix.NFTA_PAYLOAD_BASE), e.Number(unix.NFTA_PAYLOAD_OFFSET), e.Number(unix.NFTA_PAYLOAD_LEN)
	o := operand{size: size}
	switch {
	case base == unix.NFT_PAYLOAD_NETWORK_HEADER && offset == t.family.Source:
		o.text, o.addr = t.family.String()+" saddr", true
	case base == unix.NFT_PAYLOAD_NETWORK_HEADER && offset == t.family.Dest:
		o.text, o.addr = t.family.String()+" daddr", true
	case size == 1:
		o.text = "icmpv6 type"
	default:
		o.text = map[uint32]string{0: " sport", 2: " dport"}[offset]
		if protocol := "th"; t.proto == 0 {
			o.text = protocol + o.text
		} else {
			o.text = t.proto.String() + o.text
		}
	}
	if Place(e.Number(unix.NFTA_PAYLOAD_DREG)) == 0 && o.addr {
		t.sayProtocol()
	}
	t.hold(e.Number(unix.NFTA_PAYLOAD_DREG), o)
}

func (t *ruleText) metaOrCt(e *Expr) {
	if e.Name == "meta" {
		name := map[uint32]operand{unix.NFT_META_MARK: {text: "meta mark", size: 4}, unix.NFT_META_L4PROTO: {text: "meta l4proto", size: 1},
			unix.NFT_META_IIFNAME: {text: "iifname", size: 16}, unix.NFT_META_OIFNAME: {text: "oifname", size: 16}, unix.NFT_META_OIF: {text: "oif", size: 4}}[e.Number(unix.NFTA_META_KEY)]
		if e.Data(unix.NFTA_META_SREG) != nil {
			t.say("meta mark set %s", t.key())
			return
		}
		t.hold(e.Number(unix.NFTA_META_DREG), name)
		return
	}
	if e.Data(unix.NFTA_CT_SREG) != nil {
		t.say("ct mark set %s", t.key())
		return
	}
	t.hold(e.Number(unix.NFTA_CT_DREG), map[uint32]operand{unix.NFT_CT_MARK: {text: "ct mark", size: 4}, unix.NFT_CT_STATE: {text: "ct state", size: 4},
		unix.NFT_CT_STATUS: {text: "ct status", size: 4}}[e.Number(unix.NFTA_CT_KEY)])
}

// compare writes a match. Names of bits are those of the rules there are.
func (t *ruleText) compare(e *Expr) {
	o, data := t.held[0], e.Data(unix.NFTA_CMP_DATA)
	op := ""
	if e.Number(unix.NFTA_CMP_OP) == unix.NFT_CMP_NEQ {
		op = "!= "
	}
	switch {
	case o.addr:
		t.say("%s %s%s", o.text, op, t.addresses(o, data))
	case o.text == "meta l4proto":
		t.proto, t.unsaid = lb.Protocol(data[0]), true
	case o.text == "icmpv6 type":
		t.unsaid = false
		t.say("icmpv6 type %s", map[byte]string{135: "nd-neighbor-solicit", 136: "nd-neighbor-advert"}[data[0]])
	case o.size == 2:
		t.unsaid = false
		t.say("%s %d", o.text, binary.BigEndian.Uint16(data))
	case o.text == "ct state" || o.text == "ct status":
		t.say("%s %s", o.text, map[uint32]string{1: "invalid", 2 | 4: "established,related", 1 << 5: "dnat"}[binary.NativeEndian.Uint32(o.mask)])
	case o.size == 16:
		t.say("%s \"%s*\"", o.text, data)
	case o.text == "oif":
		t.say("oif \"lo\"")
	case o.size == 1:
		t.say("%s %d", o.text, data[0])
	default:
		t.say("%s %s%s", o.value(), op, mark32(data))
	}
}

// addresses is what an address is compared with: an address or a prefix.
func (t *ruleText) addresses(o operand, data []byte) string {
	bits := len(data) * 8
	if o.mask != nil {
		bits = 0
		for _, b := range o.mask {
			for ; b != 0; b <<= 1 {
				bits++
			}
		}
	}
	a, _ := netip.AddrFromSlice(append(slices.Clone(data), make([]byte, int(t.family.AddrLen)-len(data))...))
	if bits == a.BitLen() {
		return a.String()
	}
	return netip.PrefixFrom(a, bits).String()
}

// sayProtocol writes the match of the protocol, unless what comes implies it.
func (t *ruleText) sayProtocol() {
	if t.unsaid {
		t.say("meta l4proto %s", t.proto)
		t.unsaid = false
	}
}

func (t *ruleText) immediate(e *Expr) {
	code, chain, ok := e.Verdict()
	if !ok {
		t.hold(e.Number(unix.NFTA_IMMEDIATE_DREG), operand{text: mark32(e.Data(unix.NFTA_IMMEDIATE_DATA)), size: 4})
		return
	}
	t.words = append(t.words, VerdictText(code, chain))
}

// VerdictText is a verdict as nft writes it.
func VerdictText(code int32, chain string) string {
	switch code {
	case unix.NFT_GOTO:
		return "goto " + chain
	case unix.NFT_JUMP:
		return "jump " + chain
	case unix.NFT_RETURN:
		return "return"
	}
	return "drop"
}

func (t *ruleText) statement(e *Expr) {
	switch {
	case e.Protocols != nil:
		names := make([]string, len(e.Protocols))
		for i, p := range e.Protocols {
			names[i] = p.String()
		}
		t.say("meta l4proto { %s }", strings.Join(names, ", "))
	case e.Name == "lookup":
		t.lookup(e)
	case e.Name == "dynset":
		t.dynset(e)
	case e.Name == "nat":
		t.say("dnat %s to %s", t.family, t.key())
	case e.Name == "masq":
		t.say("masquerade fully-random")
	case e.Name == "reject" && e.Number(unix.NFTA_REJECT_TYPE) == unix.NFT_REJECT_TCP_RST:
		t.unsaid = false
		t.say("reject with tcp reset")
	case e.Name == "reject" && e.Data(unix.NFTA_REJECT_ICMP_CODE)[0] == t.family.prohibited:
		t.say("reject with %s admin-prohibited", map[bool]string{false: "icmp", true: "icmpv6"}[t.family.V6])
	default:
		t.words = append(t.words, e.Name)
	}
}

func (t *ruleText) lookup(e *Expr) {
	set := e.Text(unix.NFTA_LOOKUP_SET)
	switch to := e.Data(unix.NFTA_LOOKUP_DREG); {
	case to == nil && e.Number(unix.NFTA_LOOKUP_FLAGS) != 0:
		t.say("%s != @%s", t.key(), set)
	case to == nil:
		t.say("%s @%s", t.key(), set)
	case wire.Number(to) == VerdR:
		t.say("%s vmap @%s", t.key(), set)
	default:
		t.hold(wire.Number(to), operand{text: t.key() + " map @" + set, size: 4})
	}
}

func (t *ruleText) dynset(e *Expr) {
	data, hasData := t.held[Place(reg3)]
	verb := map[uint32]string{DynsetUpdate: "update", DynsetDelete: "delete"}[e.Number(unix.NFTA_DYNSET_OP)]
	key := t.key()
	if p := e.Data(unix.NFTA_DYNSET_TIMEOUT); p != nil {
		key += " timeout " + Spelled(time.Duration(binary.BigEndian.Uint64(p))*time.Millisecond)
	}
	if hasData && e.Data(unix.NFTA_DYNSET_SREG_DATA) != nil {
		key += " : " + data.text
	}
	t.say("%s @%s { %s }", verb, e.Text(unix.NFTA_DYNSET_SET_NAME), key)
}

// Spelled is a time as nft writes it.
func Spelled(d time.Duration) string {
	text := ""
	for _, unit := range []struct {
		Is   time.Duration
		Name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if n := d / unit.Is; n > 0 {
			text += fmt.Sprintf("%d%s", n, unit.Name)
			d %= unit.Is
		}
	}
	return text
}

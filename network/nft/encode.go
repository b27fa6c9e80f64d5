package nft

import (
	"encoding/binary"
	"fmt"
	"iter"

	"golang.org/x/sys/unix"
)

// attr is a netlink attribute: a type and either its bytes or, if nested is
// not nil, the attributes inside it.
type attr struct {
	kind   uint16
	data   []byte
	nested []attr
}

func be32(kind uint16, v uint32) attr {
	return attr{kind: kind, data: binary.BigEndian.AppendUint32(nil, v)}
}
func be64(kind uint16, v uint64) attr {
	return attr{kind: kind, data: binary.BigEndian.AppendUint64(nil, v)}
}
func text(kind uint16, s string) attr { return attr{kind: kind, data: append([]byte(s), 0)} }
func raw(kind uint16, p []byte) attr  { return attr{kind: kind, data: p} }
func nest(kind uint16, in ...attr) attr {
	return attr{kind: kind, nested: append([]attr{}, in...)}
}

// native is a number as registers hold marks: in the byte order of the host.
func native(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

// batch collects the messages of one transaction about a table, or is a single
// message.
type batch struct {
	family   *family
	buf      []byte
	starts   []int // of the messages between the batch's begin and end
	names    []string
	open     int  // start of the message being written
	rules    int  // added so far
	counters bool // elements of endpoints count the connections they get
	setIDs   uint32
}

func (b *batch) isEmpty() bool { return len(b.starts) == 0 }

// begin starts a message; put and nested writers follow, then end.
func (b *batch) begin(kind, flags uint16, family uint8, resource uint16) {
	b.open = len(b.buf)
	b.buf = binary.NativeEndian.AppendUint32(b.buf, 0) // length, set by end
	b.buf = binary.NativeEndian.AppendUint16(b.buf, kind)
	b.buf = binary.NativeEndian.AppendUint16(b.buf, flags)
	b.buf = append(b.buf, make([]byte, 8)...) // sequence number, set by finish; port
	b.buf = append(b.buf, family, unix.NFNETLINK_V0)
	b.buf = binary.BigEndian.AppendUint16(b.buf, resource)
}

func (b *batch) end() {
	binary.NativeEndian.PutUint32(b.buf[b.open:], uint32(len(b.buf)-b.open))
}

// message adds a complete nf_tables message. what says for error messages
// which object it is about.
func (b *batch) message(kind, flags uint16, what string, attrs ...attr) {
	b.start(kind, flags, what)
	b.put(attrs...)
	b.end()
}

func (b *batch) start(kind, flags uint16, what string) {
	b.begin(unix.NFNL_SUBSYS_NFTABLES<<8|kind, unix.NLM_F_REQUEST|flags, b.family.protocol, 0)
	b.starts = append(b.starts, b.open)
	b.names = append(b.names, what)
}

func (b *batch) put(attrs ...attr) {
	for _, a := range attrs {
		if a.nested != nil {
			at := b.nest(a.kind)
			b.put(a.nested...)
			b.unnest(at)
			continue
		}
		b.bytes(a.kind, a.data)
	}
}

func (b *batch) bytes(kind uint16, p []byte) {
	b.buf = binary.NativeEndian.AppendUint16(b.buf, uint16(4+len(p)))
	b.buf = binary.NativeEndian.AppendUint16(b.buf, kind)
	b.buf = append(b.buf, p...)
	b.pad()
}

// nest opens a nested attribute and returns where; unnest closes it.
func (b *batch) nest(kind uint16) int {
	at := len(b.buf)
	b.buf = binary.NativeEndian.AppendUint16(b.buf, 0)
	b.buf = binary.NativeEndian.AppendUint16(b.buf, kind|unix.NLA_F_NESTED)
	return at
}

func (b *batch) unnest(at int) {
	binary.NativeEndian.PutUint16(b.buf[at:], uint16(len(b.buf)-at))
}

// newTransaction returns a batch with room for about n elements.
func newTransaction(f *family, n int) *batch {
	b := &batch{family: f, buf: make([]byte, 0, 4096+128*n)}
	b.frame(unix.NFNL_MSG_BATCH_BEGIN)
	return b
}

func (b *batch) frame(kind uint16) {
	b.begin(kind, unix.NLM_F_REQUEST, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)
	b.end()
}

// finish closes the transaction, numbers its messages from first and returns
// the number of the last but the end. Only that one asks to be acknowledged, and
// the kernel acknowledges after the commit; errors come unasked.
func (b *batch) finish(first uint32) (last uint32) {
	b.frame(unix.NFNL_MSG_BATCH_END)
	number := func(at int, seq uint32) { binary.NativeEndian.PutUint32(b.buf[at+8:], seq) }
	number(0, first)
	last = first
	for _, at := range b.starts {
		last++
		number(at, last)
	}
	number(b.open, last+1)
	at := b.starts[len(b.starts)-1] + 6
	binary.NativeEndian.PutUint16(b.buf[at:], binary.NativeEndian.Uint16(b.buf[at:])|unix.NLM_F_ACK)
	return last
}

// describe names the message with the given offset from the batch's begin.
func (b *batch) describe(offset uint32) string {
	if offset == 0 || int(offset) > len(b.names) {
		return "commit"
	}
	return b.names[offset-1]
}

// elementKeyEnd is NFTA_SET_ELEM_KEY_END.
const elementKeyEnd = 10

// maxElements is how many bytes of elements one message carries. The list is
// one attribute, and an attribute's length is a 16-bit number.
const maxElements = 60000

// elementWriter writes elements into as many messages as they need.
type elementWriter struct {
	b       *batch
	kind    uint16 // NFT_MSG_NEWSETELEM or NFT_MSG_DELSETELEM
	set     string
	id      uint32 // for an anonymous set
	list    int
	started bool
}

// add writes one element. An element of a set has no data. A verdict has a
// chain instead, and a range an end.
func (w *elementWriter) add(key, end, data []byte, chain, comment string) {
	if w.started && len(w.b.buf)-w.list > maxElements {
		w.flush()
	}
	if !w.started {
		w.begin()
	}
	b := w.b
	element := b.nest(unix.NFTA_LIST_ELEM)
	at := b.nest(unix.NFTA_SET_ELEM_KEY)
	b.bytes(unix.NFTA_DATA_VALUE, key)
	b.unnest(at)
	if end != nil {
		at := b.nest(elementKeyEnd)
		b.bytes(unix.NFTA_DATA_VALUE, end)
		b.unnest(at)
	}
	switch {
	case chain != "":
		b.put(nest(unix.NFTA_SET_ELEM_DATA, verdictData(unix.NFT_GOTO, chain)))
	case data != nil:
		at := b.nest(unix.NFTA_SET_ELEM_DATA)
		b.bytes(unix.NFTA_DATA_VALUE, data)
		b.unnest(at)
	}
	if comment != "" {
		b.comment(comment)
	}
	b.unnest(element)
}

func (w *elementWriter) begin() {
	flags := uint16(0)
	verb := "delete elements of "
	if w.kind == unix.NFT_MSG_NEWSETELEM {
		flags, verb = unix.NLM_F_CREATE|unix.NLM_F_EXCL, "add elements to "
	}
	w.b.start(w.kind, flags, verb+w.set)
	w.b.put(text(unix.NFTA_SET_ELEM_LIST_TABLE, tableName), text(unix.NFTA_SET_ELEM_LIST_SET, w.set))
	if w.id != 0 {
		w.b.put(be32(unix.NFTA_SET_ELEM_LIST_SET_ID, w.id))
	}
	w.list = w.b.nest(unix.NFTA_SET_ELEM_LIST_ELEMENTS)
	w.started = true
}

// flush completes the message being written, if any.
func (w *elementWriter) flush() {
	if w.started {
		w.b.unnest(w.list)
		w.b.end()
		w.started = false
	}
}

// comment writes an element's comment as nft stores it: type 0, length, text, NUL.
func (b *batch) comment(s string) {
	s = s[:min(len(s), 127)] // what nft accepts
	b.buf = binary.NativeEndian.AppendUint16(b.buf, uint16(4+2+len(s)+1))
	b.buf = binary.NativeEndian.AppendUint16(b.buf, unix.NFTA_SET_ELEM_USERDATA)
	b.buf = append(b.buf, 0, byte(len(s)+1))
	b.buf = append(b.buf, s...)
	b.buf = append(b.buf, 0)
	b.pad()
}

// pad fills up to where the next attribute may begin.
func (b *batch) pad() {
	const most = "\x00\x00\x00"
	b.buf = append(b.buf, most[:-len(b.buf)&3]...)
}

// chainMessage adds a chain, or nothing if it is there already.
func (b *batch) chainMessage(c chain) {
	attrs := []attr{text(unix.NFTA_CHAIN_TABLE, tableName), text(unix.NFTA_CHAIN_NAME, c.name)}
	if c.kind != "" {
		attrs = append(attrs, text(unix.NFTA_CHAIN_TYPE, c.kind), be32(unix.NFTA_CHAIN_POLICY, 1),
			nest(unix.NFTA_CHAIN_HOOK, be32(unix.NFTA_HOOK_HOOKNUM, c.hook), be32(unix.NFTA_HOOK_PRIORITY, uint32(c.priority))))
	}
	b.message(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, "chain "+c.name, attrs...)
}

// ruleMessage appends a rule to a chain, with the anonymous sets it uses.
func (b *batch) ruleMessage(chainName string, r rule) {
	list := nest(unix.NFTA_RULE_EXPRESSIONS)
	for _, e := range r {
		if e.protocols != nil {
			e = b.protocolLookup(e.protocols)
		}
		list.nested = append(list.nested, nest(unix.NFTA_LIST_ELEM,
			text(unix.NFTA_EXPR_NAME, e.name), nest(unix.NFTA_EXPR_DATA, e.attrs...)))
	}
	b.rules++
	b.message(unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, fmt.Sprintf("rule of chain %s", chainName),
		text(unix.NFTA_RULE_TABLE, tableName), text(unix.NFTA_RULE_CHAIN, chainName), list)
}

// attributes yields the attributes of a received message's body, which begins
// with the netfilter header; nested ones are opened with nestedAttributes.
func attributes(body []byte) iter.Seq[attr] {
	const header = 4
	if len(body) < header {
		return func(func(attr) bool) {}
	}
	return nestedAttributes(body[header:])
}

func nestedAttributes(p []byte) iter.Seq[attr] {
	return func(yield func(attr) bool) {
		for len(p) >= 4 {
			size := int(binary.NativeEndian.Uint16(p))
			if size < 4 || size > len(p) {
				return
			}
			kind := binary.NativeEndian.Uint16(p[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
			if !yield(attr{kind: kind, data: p[4:size]}) {
				return
			}
			p = p[min((size+3)&^3, len(p)):]
		}
	}
}

func be(p []byte) uint32 { return binary.BigEndian.Uint32(p) }

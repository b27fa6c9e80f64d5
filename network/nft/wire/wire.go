// Package wire writes and reads netfilter's netlink messages: attributes, which
// may hold others, and batches of messages that the kernel takes as one
// transaction. It knows nothing of what they say, and sends nothing.
package wire

import (
	"encoding/binary"
	"iter"
	"slices"

	"golang.org/x/sys/unix"
)

// Attr is a netlink attribute: a type and either its bytes or, if Nested is not
// nil, the attributes inside it.
type Attr struct {
	Kind   uint16
	Data   []byte
	Nested []Attr
}

// U32 is an attribute with a number in network order.
func U32(kind uint16, v uint32) Attr {
	return Attr{Kind: kind, Data: binary.BigEndian.AppendUint32(nil, v)}
}

// U64 is an attribute with a long number in network order.
func U64(kind uint16, v uint64) Attr {
	return Attr{Kind: kind, Data: binary.BigEndian.AppendUint64(nil, v)}
}

// Text is an attribute with a name, which ends in a zero.
func Text(kind uint16, s string) Attr { return Attr{Kind: kind, Data: append([]byte(s), 0)} }

// Raw is an attribute with bytes as they are.
func Raw(kind uint16, p []byte) Attr { return Attr{Kind: kind, Data: p} }

// Nest is an attribute that holds others.
func Nest(kind uint16, in ...Attr) Attr {
	return Attr{Kind: kind, Nested: append([]Attr{}, in...)}
}

// Number reads a number in network order.
func Number(p []byte) uint32 { return binary.BigEndian.Uint32(p) }

// Batch collects the messages of one transaction, or is a single message. The
// zero value is empty.
type Batch struct {
	buf    []byte
	starts []int // of the messages between the batch's begin and end
	names  []string
	open   int // start of the message being written
}

// NewBatch returns a batch that begins as a transaction, with room for n bytes.
func NewBatch(n int) Batch {
	b := Batch{buf: make([]byte, 0, n)}
	b.frame(unix.NFNL_MSG_BATCH_BEGIN)
	return b
}

// NewPart returns a batch to be joined to another, with room for n bytes.
func NewPart(n int) Batch { return Batch{buf: make([]byte, 0, n)} }

// IsEmpty reports whether the transaction has no message.
func (b *Batch) IsEmpty() bool { return len(b.starts) == 0 }

// Bytes is what was written so far.
func (b *Batch) Bytes() []byte { return b.buf }

// Len is how many bytes were written so far.
func (b *Batch) Len() int { return len(b.buf) }

// Grow makes room for n more bytes.
func (b *Batch) Grow(n int) { b.buf = slices.Grow(b.buf, n) }

// Begin starts a message; attributes follow, then End.
func (b *Batch) Begin(kind, flags uint16, family uint8, resource uint16) {
	b.open = len(b.buf)
	b.buf = binary.NativeEndian.AppendUint32(b.buf, 0) // length, set by End
	b.buf = binary.NativeEndian.AppendUint16(b.buf, kind)
	b.buf = binary.NativeEndian.AppendUint16(b.buf, flags)
	b.buf = append(b.buf, make([]byte, 8)...) // sequence number, set by Finish; port
	b.buf = append(b.buf, family, unix.NFNETLINK_V0)
	b.buf = binary.BigEndian.AppendUint16(b.buf, resource)
}

// End completes the message that Begin started.
func (b *Batch) End() {
	binary.NativeEndian.PutUint32(b.buf[b.open:], uint32(len(b.buf)-b.open))
}

// Start starts an nf_tables message of the transaction. what says for error
// messages which object it is about.
func (b *Batch) Start(kind, flags uint16, family uint8, what string) {
	b.Begin(unix.NFNL_SUBSYS_NFTABLES<<8|kind, unix.NLM_F_REQUEST|flags, family, 0)
	b.starts = append(b.starts, b.open)
	b.names = append(b.names, what)
}

// Put writes attributes.
func (b *Batch) Put(attrs ...Attr) {
	for _, a := range attrs {
		if a.Nested != nil {
			at := b.Open(a.Kind)
			b.Put(a.Nested...)
			b.Close(at)
			continue
		}
		b.PutBytes(a.Kind, a.Data)
	}
}

// PutBytes writes an attribute.
func (b *Batch) PutBytes(kind uint16, p []byte) {
	b.buf = binary.NativeEndian.AppendUint16(b.buf, uint16(4+len(p)))
	b.buf = binary.NativeEndian.AppendUint16(b.buf, kind)
	b.buf = append(b.buf, p...)
	const most = "\x00\x00\x00" // up to where the next attribute may begin
	b.buf = append(b.buf, most[:-len(b.buf)&3]...)
}

// Open opens a nested attribute and returns where; Close closes it.
func (b *Batch) Open(kind uint16) int {
	at := len(b.buf)
	b.buf = binary.NativeEndian.AppendUint16(b.buf, 0)
	b.buf = binary.NativeEndian.AppendUint16(b.buf, kind|unix.NLA_F_NESTED)
	return at
}

// Close closes the nested attribute that was opened at a place.
func (b *Batch) Close(at int) {
	binary.NativeEndian.PutUint16(b.buf[at:], uint16(len(b.buf)-at))
}

func (b *Batch) frame(kind uint16) {
	b.Begin(kind, unix.NLM_F_REQUEST, unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES)
	b.End()
}

// Join appends the messages of another batch.
func (b *Batch) Join(part *Batch) {
	for _, at := range part.starts {
		b.starts = append(b.starts, len(b.buf)+at)
	}
	b.names = append(b.names, part.names...)
	b.buf = append(b.buf, part.buf...)
}

// Finish closes the transaction, numbers its messages from first and returns
// the number of the last but the end. Only that one asks to be acknowledged, and
// the kernel acknowledges after the commit; errors come unasked.
func (b *Batch) Finish(first uint32) (last uint32) {
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

// SetSequence numbers a single message.
func (b *Batch) SetSequence(seq uint32) { binary.NativeEndian.PutUint32(b.buf[8:], seq) }

// Describe names the message with the given offset from the batch's begin.
func (b *Batch) Describe(offset uint32) string {
	if offset == 0 || int(offset) > len(b.names) {
		return "commit"
	}
	return b.names[offset-1]
}

// Attributes yields the attributes of a received message's body, which begins
// with the netfilter header; nested ones are opened with Nested.
func Attributes(body []byte) iter.Seq[Attr] {
	const header = 4
	if len(body) < header {
		return func(func(Attr) bool) {}
	}
	return Nested(body[header:])
}

// Nested yields the attributes within one. It ends at the first that is cut short.
func Nested(p []byte) iter.Seq[Attr] {
	return func(yield func(Attr) bool) {
		for len(p) >= 4 {
			size := int(binary.NativeEndian.Uint16(p))
			if size < 4 || size > len(p) {
				return
			}
			kind := binary.NativeEndian.Uint16(p[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
			if !yield(Attr{Kind: kind, Data: p[4:size]}) {
				return
			}
			p = p[min((size+3)&^3, len(p)):]
		}
	}
}

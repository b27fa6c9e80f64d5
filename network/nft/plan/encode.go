package plan

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/network/nft/wire"
)

// native is a number as registers hold marks: in the byte order of the host.
func native(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

// Transaction is the messages that change a table, which the kernel carries out
// all together or not at all.
type Transaction struct {
	wire.Batch
	Rules    int // that it adds
	family   *Family
	counters bool // elements of endpoints count the connections they get
	setIDs   uint32
}

// newTransaction returns a transaction with room for about n elements.
func newTransaction(f *Family, n int) *Transaction {
	return &Transaction{Batch: wire.NewBatch(4096 + 128*n), family: f}
}

// message adds a complete nf_tables message. what says for error messages
// which object it is about.
func (tx *Transaction) message(kind, flags uint16, what string, attrs ...wire.Attr) {
	tx.Start(kind, flags, tx.family.Protocol, what)
	tx.Put(attrs...)
	tx.End()
}

// elementKeyEnd is NFTA_SET_ELEM_KEY_END.
const elementKeyEnd = 10

// maxElements is how many bytes of elements one message carries. The list is
// one attribute, and an attribute's length is a 16-bit number.
const maxElements = 60000

// elementWriter writes elements into as many messages as they need.
type elementWriter struct {
	tx      *Transaction
	kind    uint16 // NFT_MSG_NEWSETELEM or NFT_MSG_DELSETELEM
	set     string
	id      uint32 // for an anonymous set
	list    int
	started bool
}

// add writes one element. An element of a set has no data. A verdict has a
// chain instead, and a range an end.
func (w *elementWriter) add(key, end, data []byte, chain, comment string) {
	if w.started && w.tx.Len()-w.list > maxElements {
		w.flush()
	}
	if !w.started {
		w.begin()
	}
	tx := w.tx
	element := tx.Open(unix.NFTA_LIST_ELEM)
	at := tx.Open(unix.NFTA_SET_ELEM_KEY)
	tx.PutBytes(unix.NFTA_DATA_VALUE, key)
	tx.Close(at)
	if end != nil {
		at := tx.Open(elementKeyEnd)
		tx.PutBytes(unix.NFTA_DATA_VALUE, end)
		tx.Close(at)
	}
	switch {
	case chain != "":
		tx.Put(wire.Nest(unix.NFTA_SET_ELEM_DATA, verdictData(unix.NFT_GOTO, chain)))
	case data != nil:
		at := tx.Open(unix.NFTA_SET_ELEM_DATA)
		tx.PutBytes(unix.NFTA_DATA_VALUE, data)
		tx.Close(at)
	}
	if comment != "" {
		w.comment(comment)
	}
	tx.Close(element)
}

func (w *elementWriter) begin() {
	flags := uint16(0)
	verb := "delete elements of "
	if w.kind == unix.NFT_MSG_NEWSETELEM {
		flags, verb = unix.NLM_F_CREATE|unix.NLM_F_EXCL, "add elements to "
	}
	w.tx.Start(w.kind, flags, w.tx.family.Protocol, verb+w.set)
	w.tx.Put(wire.Text(unix.NFTA_SET_ELEM_LIST_TABLE, TableName), wire.Text(unix.NFTA_SET_ELEM_LIST_SET, w.set))
	if w.id != 0 {
		w.tx.Put(wire.U32(unix.NFTA_SET_ELEM_LIST_SET_ID, w.id))
	}
	w.list = w.tx.Open(unix.NFTA_SET_ELEM_LIST_ELEMENTS)
	w.started = true
}

// flush completes the message being written, if any.
func (w *elementWriter) flush() {
	if w.started {
		w.tx.Close(w.list)
		w.tx.End()
		w.started = false
	}
}

// comment writes an element's comment as nft stores it: type 0, length, text, NUL.
func (w *elementWriter) comment(s string) {
	s = s[:min(len(s), maxComment)]
	var room [maxComment + 3]byte
	p := append(append(room[:0], 0, byte(len(s)+1)), s...)
	w.tx.PutBytes(unix.NFTA_SET_ELEM_USERDATA, append(p, 0))
}

// maxComment is how many bytes of a comment nft accepts.
const maxComment = 127

// chainMessage adds a chain, or nothing if it is there already.
func (tx *Transaction) chainMessage(c chain) {
	attrs := []wire.Attr{wire.Text(unix.NFTA_CHAIN_TABLE, TableName), wire.Text(unix.NFTA_CHAIN_NAME, c.name)}
	if c.kind != "" {
		attrs = append(attrs, wire.Text(unix.NFTA_CHAIN_TYPE, c.kind), wire.U32(unix.NFTA_CHAIN_POLICY, 1),
			wire.Nest(unix.NFTA_CHAIN_HOOK, wire.U32(unix.NFTA_HOOK_HOOKNUM, c.hook), wire.U32(unix.NFTA_HOOK_PRIORITY, uint32(c.priority))))
	}
	tx.message(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, "chain "+c.name, attrs...)
}

// ruleMessage appends a rule to a chain, with the anonymous sets it uses.
func (tx *Transaction) ruleMessage(chainName string, r rule) {
	list := wire.Nest(unix.NFTA_RULE_EXPRESSIONS)
	for _, e := range r {
		if e.protocols != nil {
			e = tx.protocolLookup(e.protocols)
		}
		list.Nested = append(list.Nested, wire.Nest(unix.NFTA_LIST_ELEM,
			wire.Text(unix.NFTA_EXPR_NAME, e.name), wire.Nest(unix.NFTA_EXPR_DATA, e.attrs...)))
	}
	tx.Rules++
	tx.message(unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, fmt.Sprintf("rule of chain %s", chainName),
		wire.Text(unix.NFTA_RULE_TABLE, TableName), wire.Text(unix.NFTA_RULE_CHAIN, chainName), list)
}

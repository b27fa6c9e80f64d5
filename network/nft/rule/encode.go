package rule

import (
	"encoding/binary"
	"fmt"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/nft/wire"
)

// Native is a number as registers hold marks: in the byte order of the host.
func Native(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }

// Table flags. The owner of a table is the only one who can change it; a
// persistent table stays when its owner's socket closes and can then be taken
// over. Kernels before 6.9 know no persistence, and there the table has
// neither flag.
const (
	TableOwner   = 2 // NFT_TABLE_F_OWNER
	TablePersist = 4 // NFT_TABLE_F_PERSIST
)

// Transaction is the messages that change a table, which the kernel carries out
// all together or not at all.
type Transaction struct {
	wire.Batch
	Rules  int // that it adds
	in     *Family
	table  string
	setIDs uint32
}

// NewTransaction returns a transaction for a table, with room for about n elements.
func NewTransaction(f *Family, table string, n int) Transaction {
	return Transaction{Batch: wire.NewBatch(4096 + 128*n), in: f, table: table}
}

// NewPart returns messages to be joined to a transaction for the same table, with room for n bytes.
func NewPart(f *Family, table string, n int) Transaction {
	return Transaction{Batch: wire.NewPart(n), in: f, table: table}
}

// Message adds a complete nf_tables message. what says for error messages
// which object it is about.
func (tx *Transaction) Message(kind, flags uint16, what string, attrs ...wire.Attr) {
	tx.Start(kind, flags, tx.in.Protocol, what)
	tx.Put(attrs...)
	tx.End()
}

// elementKeyEnd is NFTA_SET_ELEM_KEY_END.
const elementKeyEnd = 10

// maxElements is how many bytes of elements one message carries. The list is
// one attribute, and an attribute's length is a 16-bit number.
const maxElements = 60000

// ElementWriter writes elements into as many messages as they need.
type ElementWriter struct {
	tx      *Transaction
	kind    uint16
	set     string
	id      uint32 // for an anonymous set
	list    int
	started bool
}

// Writer returns a writer of elements of a set; kind is NFT_MSG_NEWSETELEM or NFT_MSG_DELSETELEM.
func (tx *Transaction) Writer(kind uint16, set string) *ElementWriter {
	return &ElementWriter{tx: tx, kind: kind, set: set}
}

// Add writes one element. An element of a set has no data. A verdict has a
// chain instead, and a range an end.
func (w *ElementWriter) Add(key, end, data []byte, chain, comment string) {
	if w.started && w.tx.Len()-w.list > maxElements {
		w.Flush()
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

func (w *ElementWriter) begin() {
	flags := uint16(0)
	verb := "delete elements of "
	if w.kind == unix.NFT_MSG_NEWSETELEM {
		flags, verb = unix.NLM_F_CREATE|unix.NLM_F_EXCL, "add elements to "
	}
	w.tx.Start(w.kind, flags, w.tx.in.Protocol, verb+w.set)
	w.tx.Put(wire.Text(unix.NFTA_SET_ELEM_LIST_TABLE, w.tx.table), wire.Text(unix.NFTA_SET_ELEM_LIST_SET, w.set))
	if w.id != 0 {
		w.tx.Put(wire.U32(unix.NFTA_SET_ELEM_LIST_SET_ID, w.id))
	}
	w.list = w.tx.Open(unix.NFTA_SET_ELEM_LIST_ELEMENTS)
	w.started = true
}

// Flush completes the message being written, if any.
func (w *ElementWriter) Flush() {
	if w.started {
		w.tx.Close(w.list)
		w.tx.End()
		w.started = false
	}
}

// comment writes an element's comment as nft stores it: type 0, length, text, NUL.
func (w *ElementWriter) comment(s string) {
	s = s[:min(len(s), MaxComment)]
	var room [MaxComment + 3]byte
	p := append(append(room[:0], 0, byte(len(s)+1)), s...)
	w.tx.PutBytes(unix.NFTA_SET_ELEM_USERDATA, append(p, 0))
}

// MaxComment is how many bytes of a comment nft accepts.
const MaxComment = 127

// ChainMessage adds a chain, or nothing if it is there already.
func (tx *Transaction) ChainMessage(c Chain) {
	attrs := []wire.Attr{wire.Text(unix.NFTA_CHAIN_TABLE, tx.table), wire.Text(unix.NFTA_CHAIN_NAME, c.Name)}
	if c.Kind != "" {
		attrs = append(attrs, wire.Text(unix.NFTA_CHAIN_TYPE, c.Kind), wire.U32(unix.NFTA_CHAIN_POLICY, 1),
			wire.Nest(unix.NFTA_CHAIN_HOOK, wire.U32(unix.NFTA_HOOK_HOOKNUM, c.Hook), wire.U32(unix.NFTA_HOOK_PRIORITY, uint32(c.Priority))))
	}
	tx.Message(unix.NFT_MSG_NEWCHAIN, unix.NLM_F_CREATE, "chain "+c.Name, attrs...)
}

// RuleMessage appends a rule to a chain, with the anonymous sets it uses.
func (tx *Transaction) RuleMessage(chainName string, r Rule) {
	list := wire.Nest(unix.NFTA_RULE_EXPRESSIONS)
	for _, e := range r {
		if e.Protocols != nil {
			e = tx.protocolLookup(e.Protocols)
		}
		list.Nested = append(list.Nested, wire.Nest(unix.NFTA_LIST_ELEM,
			wire.Text(unix.NFTA_EXPR_NAME, e.Name), wire.Nest(unix.NFTA_EXPR_DATA, e.Attrs...)))
	}
	tx.Rules++
	tx.Message(unix.NFT_MSG_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_APPEND, fmt.Sprintf("rule of chain %s", chainName),
		wire.Text(unix.NFTA_RULE_TABLE, tx.table), wire.Text(unix.NFTA_RULE_CHAIN, chainName), list)
}

// NextSetID numbers a set that the transaction makes.
func (tx *Transaction) NextSetID() wire.Attr {
	tx.setIDs++
	return wire.U32(unix.NFTA_SET_ID, tx.setIDs)
}

// protocolLookup adds an anonymous set of protocols and returns the lookup.
func (tx *Transaction) protocolLookup(protocols []lb.Protocol) Expr {
	const anonymous = "__set%d"
	id := tx.NextSetID()
	tx.Message(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, "anonymous set",
		wire.Text(unix.NFTA_SET_TABLE, tx.table), wire.Text(unix.NFTA_SET_NAME, anonymous),
		wire.U32(unix.NFTA_SET_FLAGS, unix.NFT_SET_ANONYMOUS|unix.NFT_SET_CONSTANT),
		wire.U32(unix.NFTA_SET_KEY_TYPE, TypeProto), wire.U32(unix.NFTA_SET_KEY_LEN, 1), id,
		wire.Nest(unix.NFTA_SET_DESC, wire.U32(unix.NFTA_SET_DESC_SIZE, uint32(len(protocols)))),
		wire.Raw(unix.NFTA_SET_USERDATA, Unhex(HostSet)))
	w := tx.Writer(unix.NFT_MSG_NEWSETELEM, anonymous)
	w.id = tx.setIDs
	for _, p := range protocols {
		w.Add([]byte{byte(p)}, nil, nil, "", "")
	}
	w.Flush()
	return Expr{Name: "lookup", Attrs: []wire.Attr{wire.Text(unix.NFTA_LOOKUP_SET, anonymous), wire.U32(unix.NFTA_LOOKUP_SREG, Reg1), wire.U32(unix.NFTA_LOOKUP_SET_ID, tx.setIDs)}}
}

// DeleteTable deletes the table.
func (tx *Transaction) DeleteTable() {
	tx.Message(unix.NFT_MSG_DELTABLE, 0, "delete table "+tx.table, wire.Text(unix.NFTA_TABLE_NAME, tx.table))
}

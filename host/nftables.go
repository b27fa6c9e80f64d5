package host

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// nftMessage is one request to nf_tables: its type, flags and attributes.
type nftMessage struct {
	kind  uint16
	flags netlink.HeaderFlags
	attrs func(*netlink.AttributeEncoder)
}

// nfGenHeader is struct nfgenmsg: family, version 0, resource id.
func nfGenHeader(family uint8, resource uint16) []byte {
	return binary.BigEndian.AppendUint16([]byte{family, unix.NFNETLINK_V0}, resource)
}

func (m nftMessage) encode(family uint8) (netlink.Message, error) {
	ae := netlink.NewAttributeEncoder()
	ae.ByteOrder = binary.BigEndian
	if m.attrs != nil {
		m.attrs(ae)
	}
	data, err := ae.Encode()
	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | m.kind), Flags: netlink.Request | m.flags},
		Data:   append(nfGenHeader(family, 0), data...),
	}, err
}

// transact sends messages to nf_tables as one transaction: all or nothing.
func transact(family uint8, messages ...nftMessage) error {
	answers, err := exchange(family, messages)
	if err != nil {
		return err
	}
	for _, err := range answers {
		if err != nil {
			return fmt.Errorf("nf_tables: %w", err)
		}
	}
	return nil
}

// exchange sends messages as one transaction and returns the kernel's answer
// to each: the kernel looks at all of them, also after one that it refuses.
func exchange(family uint8, messages []nftMessage) ([]error, error) {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return nil, fmt.Errorf("nf_tables: %w", err)
	}
	defer func() { _ = c.Close() }()
	mark := func(kind netlink.HeaderType) netlink.Message {
		return netlink.Message{
			Header: netlink.Header{Type: kind, Flags: netlink.Request},
			Data:   nfGenHeader(unix.AF_UNSPEC, unix.NFNL_SUBSYS_NFTABLES),
		}
	}
	batch := []netlink.Message{mark(unix.NFNL_MSG_BATCH_BEGIN)}
	for _, m := range messages {
		m.flags |= netlink.Acknowledge
		msg, err := m.encode(family)
		if err != nil {
			return nil, fmt.Errorf("nf_tables: %w", err)
		}
		batch = append(batch, msg)
	}
	batch = append(batch, mark(unix.NFNL_MSG_BATCH_END))
	if _, err := c.SendMessages(batch); err != nil {
		return nil, fmt.Errorf("nf_tables: %w", err)
	}
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return nil, fmt.Errorf("nf_tables: %w", err)
	}
	answers := make([]error, len(messages))
	for i := range answers { // one datagram for each message, in their order
		_, err := c.Receive()
		var errno unix.Errno
		if err != nil && !errors.As(err, &errno) {
			return nil, fmt.Errorf("nf_tables: %w", err)
		}
		answers[i] = err
	}
	return answers, nil
}

// hasTable tells whether the network namespace has an nf_tables table.
func hasTable(family uint8, table string) (bool, error) {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return false, fmt.Errorf("nf_tables: %w", err)
	}
	defer func() { _ = c.Close() }()
	msg, err := nftMessage{kind: unix.NFT_MSG_GETTABLE, attrs: tableName(table)}.encode(family)
	if err != nil {
		return false, fmt.Errorf("nf_tables: %w", err)
	}
	_, err = c.Execute(msg)
	if errors.Is(err, unix.ENOENT) {
		return false, nil
	}
	return err == nil, err
}

// deleteTable removes a table with everything in it; unix.ENOENT when there is none.
func deleteTable(family uint8, table string) error {
	return transact(family, nftMessage{kind: unix.NFT_MSG_DELTABLE, attrs: tableName(table)})
}

func tableName(table string) func(*netlink.AttributeEncoder) {
	return func(ae *netlink.AttributeEncoder) { ae.String(unix.NFTA_TABLE_NAME, table) }
}

// probe names used inside a throw-away network namespace only.
const (
	probeTable = "probe"
	probeChain = "probe"
)

// newTable and newChain are the messages that make the probe's table, and in
// it a base chain of the given type ("filter", "nat") at prerouting.
func newTable() nftMessage {
	return nftMessage{kind: unix.NFT_MSG_NEWTABLE, flags: netlink.Create, attrs: tableName(probeTable)}
}

func newChain(kind string) nftMessage {
	return nftMessage{kind: unix.NFT_MSG_NEWCHAIN, flags: netlink.Create, attrs: func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_CHAIN_TABLE, probeTable)
		ae.String(unix.NFTA_CHAIN_NAME, probeChain)
		ae.String(unix.NFTA_CHAIN_TYPE, kind)
		ae.Nested(unix.NFTA_CHAIN_HOOK, func(ae *netlink.AttributeEncoder) error {
			ae.Uint32(unix.NFTA_HOOK_HOOKNUM, unix.NF_INET_PRE_ROUTING)
			ae.Uint32(unix.NFTA_HOOK_PRIORITY, 0)
			return nil
		})
	}}
}

// newRule adds a rule of one expression without attributes.
func newRule(expression string) nftMessage {
	return nftMessage{kind: unix.NFT_MSG_NEWRULE, flags: netlink.Create | netlink.Append, attrs: func(ae *netlink.AttributeEncoder) {
		ae.String(unix.NFTA_RULE_TABLE, probeTable)
		ae.String(unix.NFTA_RULE_CHAIN, probeChain)
		ae.Nested(unix.NFTA_RULE_EXPRESSIONS, func(ae *netlink.AttributeEncoder) error {
			ae.Nested(unix.NFTA_LIST_ELEM, func(ae *netlink.AttributeEncoder) error {
				ae.String(unix.NFTA_EXPR_NAME, expression)
				ae.Nested(unix.NFTA_EXPR_DATA, func(*netlink.AttributeEncoder) error { return nil })
				return nil
			})
			return nil
		})
	}}
}

// unknownExpressions returns those nf_tables expressions that the kernel does
// not have. A kernel that does not know a name says ENOENT; one that does
// finds that the attributes are wanting. The transaction never takes effect:
// its last rule names an expression that no kernel has.
func unknownExpressions(names ...string) ([]string, error) {
	messages := []nftMessage{newTable(), newChain("filter")}
	for _, name := range names {
		messages = append(messages, newRule(name))
	}
	answers, err := exchange(unix.NFPROTO_IPV4, append(messages, newRule("none")))
	if err != nil {
		return nil, err
	}
	if err := errors.Join(answers[:2]...); err != nil {
		return nil, fmt.Errorf("nf_tables: %w", err)
	}
	var unknown []string
	for i, name := range names {
		if errors.Is(answers[2+i], unix.ENOENT) {
			unknown = append(unknown, name)
		}
	}
	return unknown, nil
}

package plan

import (
	"time"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/nft/wire"
)

// Queries to the cluster DNS address are for this node's own server as long as
// it lives, and are then kept out of conntrack: there is nothing to translate,
// and without an entry per query there is no insertion race and no full table.
// When the server does not live they are an ordinary Service's connections, to
// the servers of the other nodes. Nobody has to notice that a process died:
//
//   - a query that arrives from a pod is the server's if the kernel finds a
//     socket bound to the address, and a dead process has none;
//   - the node's own queries leave through a hook where the kernel knows the
//     client's socket only. They are the server's for as long as it was heard
//     lately: it sends itself a datagram every quarter of a second, and each
//     renews the element of this set, which else runs out. A server that stops
//     in good order sends one to another port.
const (
	AnsweringSet  = "answering"
	answeringLast = 2 * time.Second
)

func dnsPort() []byte { return []byte{0, 53} }

// farewellPort is that of the discard service: the server's last datagram.
func farewellPort() []byte { return []byte{0, 9} }

// untrackedIn is about what arrives.
func (l Layout) untrackedIn() []rule {
	dns := l.DNS
	saddr, daddr := l.Family.saddr(), l.Family.daddr()
	if !dns.IsValid() {
		return nil
	}
	both := transport(lb.TCP, lb.UDP)
	return []rule{
		join(is(daddr, dns.AsSlice()), is(l4proto(), []byte{byte(lb.UDP)}), is(dport(), dnsPort()), hasSocket(socketWildcard), notrack()),
		join(is(daddr, dns.AsSlice()), is(l4proto(), []byte{byte(lb.TCP)}), is(dport(), dnsPort()), hasSocket(socketTransparent), notrack()),
		join(is(saddr, dns.AsSlice()), both, is(sport(), dnsPort()), notrack()),
	}
}

// untrackedOut is about what this node sends.
func (l Layout) untrackedOut() []rule {
	dns := l.DNS
	saddr, daddr := l.Family.saddr(), l.Family.daddr()
	if !dns.IsValid() {
		return nil
	}
	both := transport(lb.TCP, lb.UDP)
	toItself := join(is(saddr, dns.AsSlice()), is(daddr, dns.AsSlice()), is(l4proto(), []byte{byte(lb.UDP)}), is(sport(), dnsPort()))
	return []rule{
		join(toItself, is(dport(), farewellPort()), append(load(saddr), touch(dynsetDelete, AnsweringSet))),
		join(toItself, is(dport(), dnsPort()), append(load(saddr), touch(dynsetUpdate, AnsweringSet))),
		join(is(saddr, dns.AsSlice()), both, is(sport(), dnsPort()), notrack()),
		join(inSet(AnsweringSet, false, daddr), both, is(dport(), dnsPort()), notrack()),
	}
}

// dnsUnanswered says what becomes of a packet to the DNS address that no class
// took, because there is no other node. The node's own go where the address is,
// to the server if it lives; a pod's query gets no reply rather than a refusal,
// so that the pod asks again when the server is back, a moment later.
func (l Layout) dnsUnanswered() []rule {
	dns, daddr := l.DNS, l.Family.daddr()
	if !dns.IsValid() {
		return nil
	}
	const loopback = 1 // the index of lo in every network namespace
	lo := meta(unix.NFT_META_OIF, 4)
	return []rule{
		join(is(daddr, dns.AsSlice()), is(lo, native(loopback)), verdict(unix.NFT_RETURN, "")),
		join(is(daddr, dns.AsSlice()), transport(lb.TCP, lb.UDP), is(dport(), dnsPort()), drop()),
		join(is(daddr, dns.AsSlice()), gotoChain(chainRefuse)),
	}
}

// What can be asked about the socket that waits for a packet. Whether it is
// bound to all addresses is not known of a TCP connection that is just being
// opened, so of TCP something is asked that is never true.
const (
	socketTransparent = 0
	socketWildcard    = 2
)

// hasSocket matches a packet for which a socket waits that lacks the property.
func hasSocket(without uint32) []expr {
	const attrKey, attrDreg = 1, 2
	property := field{size: 1, load: func(reg uint32) []expr {
		return []expr{{name: "socket", attrs: []wire.Attr{wire.U32(attrKey, without), wire.U32(attrDreg, reg)}}}
	}}
	return is(property, []byte{0})
}

// touch adds the key in register 1 to a set or begins its time anew, or deletes
// it.
func touch(op uint32, set string) expr {
	return expr{name: "dynset", attrs: []wire.Attr{wire.Text(unix.NFTA_DYNSET_SET_NAME, set),
		wire.U32(unix.NFTA_DYNSET_OP, op), wire.U32(unix.NFTA_DYNSET_SREG_KEY, reg1)}}
}

// answeringMessage adds the set that the server's datagrams keep filled.
func (tx *Transaction) answeringMessage() {
	tx.message(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, "set "+AnsweringSet,
		wire.Text(unix.NFTA_SET_TABLE, TableName), wire.Text(unix.NFTA_SET_NAME, AnsweringSet),
		wire.U32(unix.NFTA_SET_FLAGS, unix.NFT_SET_EVAL|unix.NFT_SET_TIMEOUT),
		wire.U32(unix.NFTA_SET_KEY_TYPE, tx.family.addrType), wire.U32(unix.NFTA_SET_KEY_LEN, tx.family.addrLen), tx.nextSetID(),
		wire.U64(unix.NFTA_SET_TIMEOUT, uint64(answeringLast.Milliseconds())),
		wire.Nest(unix.NFTA_SET_DESC, wire.U32(unix.NFTA_SET_DESC_SIZE, answeringSize)),
		wire.Raw(unix.NFTA_SET_USERDATA, unhex(plainSet)))
}

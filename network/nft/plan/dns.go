package plan

import (
	"time"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/nft/rule"
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
func (l Layout) untrackedIn() []rule.Rule {
	dns := l.DNS
	saddr, daddr := l.Family.Saddr(), l.Family.Daddr()
	if !dns.IsValid() {
		return nil
	}
	both := rule.Transport(lb.TCP, lb.UDP)
	return []rule.Rule{
		rule.Join(rule.Is(daddr, dns.AsSlice()), rule.Is(rule.L4proto(), []byte{byte(lb.UDP)}), rule.Is(rule.Dport(), dnsPort()), rule.HasSocket(rule.SocketWildcard), rule.Notrack()),
		rule.Join(rule.Is(daddr, dns.AsSlice()), rule.Is(rule.L4proto(), []byte{byte(lb.TCP)}), rule.Is(rule.Dport(), dnsPort()), rule.HasSocket(rule.SocketTransparent), rule.Notrack()),
		rule.Join(rule.Is(saddr, dns.AsSlice()), both, rule.Is(rule.Sport(), dnsPort()), rule.Notrack()),
	}
}

// untrackedOut is about what this node sends.
func (l Layout) untrackedOut() []rule.Rule {
	dns := l.DNS
	saddr, daddr := l.Family.Saddr(), l.Family.Daddr()
	if !dns.IsValid() {
		return nil
	}
	both := rule.Transport(lb.TCP, lb.UDP)
	toItself := rule.Join(rule.Is(saddr, dns.AsSlice()), rule.Is(daddr, dns.AsSlice()), rule.Is(rule.L4proto(), []byte{byte(lb.UDP)}), rule.Is(rule.Sport(), dnsPort()))
	return []rule.Rule{
		rule.Join(toItself, rule.Is(rule.Dport(), farewellPort()), append(rule.Load(saddr), rule.Touch(rule.DynsetDelete, AnsweringSet))),
		rule.Join(toItself, rule.Is(rule.Dport(), dnsPort()), append(rule.Load(saddr), rule.Touch(rule.DynsetUpdate, AnsweringSet))),
		rule.Join(rule.Is(saddr, dns.AsSlice()), both, rule.Is(rule.Sport(), dnsPort()), rule.Notrack()),
		rule.Join(rule.InSet(AnsweringSet, false, daddr), both, rule.Is(rule.Dport(), dnsPort()), rule.Notrack()),
	}
}

// dnsUnanswered says what becomes of a packet to the DNS address that no class
// took, because there is no other node. The node's own go where the address is,
// to the server if it lives; a pod's query gets no reply rather than a refusal,
// so that the pod asks again when the server is back, a moment later.
func (l Layout) dnsUnanswered() []rule.Rule {
	dns, daddr := l.DNS, l.Family.Daddr()
	if !dns.IsValid() {
		return nil
	}
	const loopback = 1 // the index of lo in every network namespace
	lo := rule.Meta(unix.NFT_META_OIF, 4)
	return []rule.Rule{
		rule.Join(rule.Is(daddr, dns.AsSlice()), rule.Is(lo, rule.Native(loopback)), rule.Verdict(unix.NFT_RETURN, "")),
		rule.Join(rule.Is(daddr, dns.AsSlice()), rule.Transport(lb.TCP, lb.UDP), rule.Is(rule.Dport(), dnsPort()), rule.Drop()),
		rule.Join(rule.Is(daddr, dns.AsSlice()), rule.GotoChain(chainRefuse)),
	}
}

// answeringMessage adds the set that the server's datagrams keep filled.
func (tx *Transaction) answeringMessage() {
	tx.Message(unix.NFT_MSG_NEWSET, unix.NLM_F_CREATE, "set "+AnsweringSet,
		wire.Text(unix.NFTA_SET_TABLE, TableName), wire.Text(unix.NFTA_SET_NAME, AnsweringSet),
		wire.U32(unix.NFTA_SET_FLAGS, unix.NFT_SET_EVAL|unix.NFT_SET_TIMEOUT),
		wire.U32(unix.NFTA_SET_KEY_TYPE, tx.family.AddrType), wire.U32(unix.NFTA_SET_KEY_LEN, tx.family.AddrLen), tx.NextSetID(),
		wire.U64(unix.NFTA_SET_TIMEOUT, uint64(answeringLast.Milliseconds())),
		wire.Nest(unix.NFTA_SET_DESC, wire.U32(unix.NFTA_SET_DESC_SIZE, answeringSize)),
		wire.Raw(unix.NFTA_SET_USERDATA, rule.Unhex(rule.PlainSet)))
}

package plan

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/nft/rule"
)

// Bits of the packet mark. Between the hook that translates the destination
// and postrouting or input, the first packet of a connection to a Service
// carries one of the two; both are gone when it leaves. While a packet is in
// the services chain the whole mark serves as a register.
const (
	markOther = 0x4000 // masquerade unless the client is a pod of this node
	markKeep  = 0x1000 // leave the source alone
	markOurs  = markOther | markKeep
)

// MaxSetID is the largest set id. Those of endpoints are larger.
const MaxSetID = 1<<setBits - 1

// A packed verdict is what the services map says about a frontend: the class in
// the upper bits, the set id in the lower ones.
const (
	setBits   = 20
	setMask   = MaxSetID
	classMask = ^uint32(setMask)
)

// Layout is what the fixed rules depend on. It changes when a node gets its pod
// range, and then the table is written anew.
type Layout struct {
	Family      *Family
	ClusterCIDR netip.Prefix   // all pods; may be invalid
	LocalPods   netip.Prefix   // the pods of this node; may be invalid
	ServiceCIDR netip.Prefix   // invalid if not known
	Further     []netip.Prefix // of Services that were added later
	CountUpTo   int            // how many endpoints' connections are counted
	Outbound    bool           // pods leave the cluster with this node's address
	Masquerade  bool           // rule P51: no client's address is kept where a policy does not demand it
	Host        netip.Addr     // shut but for the API server; may be invalid
	API         uint16         // its port there
	DNS         netip.Addr     // where the node's own DNS server listens; may be invalid
	Engine      netip.Addr     // where the node's L7 engine takes connections to Services; may be invalid
}

const (
	chainServices   = "services"
	chainShortcuts  = "local-clients"
	chainRefuse     = "refuse"
	chainDrop       = "ignore"
	chainReturn     = "leaving"
	chainMasquerade = "masquerade-source"
)

// frontend is the key under which a Service is looked up.
func (f *Family) frontend() []rule.Field {
	return []rule.Field{f.Daddr(), rule.L4proto(), rule.Dport()}
}

// fixedChains returns every chain except those of the classes.
func fixedChains(l Layout) []rule.Chain {
	const (
		raw         = -300
		dstnat      = -100
		filter      = 0
		srcnat      = 100
		tableNat    = "nat"
		tableFilter = "filter"
	)
	f := l.Family
	// Load balancer addresses that are open to some sources only (rule P45).
	closed := rule.Join(rule.InSet(MapRestricted.String(), false, f.frontend()...),
		rule.InSet(MapAllowed.String(), true, append(f.frontend(), f.Saddr())...), rule.Drop())
	return append([]rule.Chain{
		{Name: "untracked-in", Kind: tableFilter, Hook: unix.NF_INET_PRE_ROUTING, Priority: raw, Rules: l.untrackedIn()},
		{Name: "untracked-out", Kind: tableFilter, Hook: unix.NF_INET_LOCAL_OUT, Priority: raw, Rules: l.untrackedOut()},
		{Name: "prerouting", Kind: tableNat, Hook: unix.NF_INET_PRE_ROUTING, Priority: dstnat, Rules: slices.Concat(
			[]rule.Rule{closed},
			where(l.LocalPods.IsValid(), f.SaddrIn(l.LocalPods), rule.Jump(chainShortcuts)),
			[]rule.Rule{rule.Join(rule.Jump(chainServices))},
		)},
		{Name: "output", Kind: tableNat, Hook: unix.NF_INET_LOCAL_OUT, Priority: dstnat, Rules: []rule.Rule{
			closed,
			rule.Join(rule.Jump(chainShortcuts)),
			rule.Join(rule.Jump(chainServices)),
		}},
		{Name: "forward", Kind: tableFilter, Hook: unix.NF_INET_FORWARD, Priority: filter, Rules: slices.Concat(l.misplaced(), l.shut(), l.labs())},
		{Name: "input", Kind: tableNat, Hook: unix.NF_INET_LOCAL_IN, Priority: srcnat, Rules: append([]rule.Rule{
			rule.Join(isOurs(), rule.SetCtMark(rule.Number(0)), clearMark(), rule.Verdict(unix.NFT_RETURN, "")),
		}, l.engineOnly()...)},
		{Name: "postrouting", Kind: tableNat, Hook: unix.NF_INET_POST_ROUTING, Priority: srcnat, Rules: append([]rule.Rule{
			rule.Join(isOurs(), rule.GotoChain(chainReturn)),
		}, l.leavesCluster(rule.Masquerade())...)},
	}, slices.Concat(l.outgoing(), regularChains(l))...)
}

// outgoing is where what the node itself begins is refused, if it is to be.
func (l Layout) outgoing() []rule.Chain {
	if !l.Host.IsValid() {
		return nil
	}
	return []rule.Chain{{Name: "outgoing", Kind: "filter", Hook: unix.NF_INET_LOCAL_OUT, Rules: l.shut()}}
}

func regularChains(l Layout) []rule.Chain {
	f := l.Family
	foreign := f.SaddrNotIn(l.LocalPods)
	if l.Masquerade {
		foreign = nil
	}
	return []rule.Chain{
		{Name: chainShortcuts, Rules: []rule.Rule{f.dispatchBy(MapShortcuts)}},
		{Name: chainServices, Rules: slices.Concat([]rule.Rule{f.dispatchBy(MapServices)}, l.dnsUnanswered(), []rule.Rule{
			// An address that is a Service's, but not on this port (rules P48, P50).
			rule.Join(rule.InSet(MapClusterIPs.String(), false, f.Daddr()), rule.GotoChain(chainRefuse)),
		},
			// An address that could be a Service's and is nobody's (rule P49).
			where(l.ServiceCIDR.IsValid(), f.DaddrIn(l.ServiceCIDR), rule.Drop()),
			l.nobodys(),
		)},
		{Name: chainRefuse, Rules: []rule.Rule{rule.Join(rule.RejectTCP()), rule.Join(f.RejectICMP())}},
		{Name: chainDrop, Rules: []rule.Rule{rule.Join(rule.Drop())}},
		{Name: chainReturn, Rules: slices.Concat([]rule.Rule{
			rule.Join(rule.SetCtMark(rule.Number(0))),
			// A pod that was balanced to itself has to see an answer from
			// somewhere else (rule P33).
			rule.Join(rule.InSet(MapHairpins.String(), false, f.Saddr(), f.Daddr()), rule.GotoChain(chainMasquerade)),
			rule.Join(rule.HasBit(rule.Mark(), markOther), foreign, rule.GotoChain(chainMasquerade)),
		},
			l.leavesCluster(rule.GotoChain(chainMasquerade)),
			[]rule.Rule{rule.Join(clearMark())},
		)},
		{Name: chainMasquerade, Rules: []rule.Rule{rule.Join(clearMark()), rule.Join(rule.Masquerade())}},
	}
}

// nobodys drops what goes to an address of a further range that is no Service's (rule P49).
func (l Layout) nobodys() []rule.Rule {
	var rules []rule.Rule
	for _, further := range l.Further {
		rules = append(rules, rule.Join(l.Family.DaddrIn(further), rule.Drop()))
	}
	return rules
}

// Equal says whether the fixed rules are the same.
func (l Layout) Equal(other Layout) bool { return reflect.DeepEqual(l, other) }

// misplaced drops what conntrack cannot place of a pod's TCP connection: it
// would leave with the pod's own address, and the client would reset a healthy
// connection (rule P62). ICMP is never touched.
func (l Layout) misplaced() []rule.Rule {
	const invalidBit = 1
	return where(l.ClusterCIDR.IsValid(), l.Family.SaddrIn(l.ClusterCIDR), rule.Is(rule.L4proto(), []byte{byte(lb.TCP)}), rule.HasBit(rule.CtState(), invalidBit), rule.Drop())
}

// shut refuses what nodes and pods begin towards a host that they are to be kept
// from. The host may begin what it likes, and its API server is for everybody.
func (l Layout) shut() []rule.Rule {
	if !l.Host.IsValid() {
		return nil
	}
	const known = 2 | 4 // established, related
	there := func() []rule.Expr { return rule.Is(l.Family.Daddr(), l.Host.AsSlice()) }
	leave := func() []rule.Expr { return rule.Verdict(unix.NFT_RETURN, "") }
	rules := []rule.Rule{rule.Join(there(), rule.HasBit(rule.CtState(), known), leave())}
	if l.API != 0 {
		rules = append(rules, rule.Join(there(), rule.Is(rule.L4proto(), []byte{byte(lb.TCP)}), rule.Is(rule.Dport(), binary.BigEndian.AppendUint16(nil, l.API)), leave()))
	}
	if l.Family.V6 { // neighbours ask for each other's link addresses
		const icmp, solicitation, advertisement = 58, 135, 136
		for _, kind := range []byte{solicitation, advertisement} {
			rules = append(rules, rule.Join(there(), rule.Is(rule.L4proto(), []byte{icmp}), rule.Is(rule.Payload(unix.NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1), []byte{kind}), leave()))
		}
	}
	return append(rules, rule.Join(there(), rule.GotoChain(chainRefuse)))
}

// engineOnly keeps from the L7 engine's address what was not sent there for a Service (rule P113): it means nothing on the wire.
// What the node itself begins does not pass here; the engine sees that it was not translated.
func (l Layout) engineOnly() []rule.Rule {
	return where(l.Engine.IsValid(), rule.Is(l.Family.Daddr(), l.Engine.AsSlice()), rule.Drop())
}

// labLinks is how the names of the host's links into labs begin.
const labLinks = "fl-"

// labs keeps the pods of this node and the labs on its host apart: neither
// side's connections are passed on to the other.
func (l Layout) labs() []rule.Rule {
	if !l.Outbound || !l.ClusterCIDR.IsValid() {
		return nil
	}
	in, out := rule.Meta(unix.NFT_META_IIFNAME, 16), rule.Meta(unix.NFT_META_OIFNAME, 16)
	begins := func(f rule.Field) []rule.Expr {
		return append(rule.Load(f), rule.Compare(unix.NFT_CMP_EQ, []byte(labLinks)))
	}
	return []rule.Rule{rule.Join(begins(in), rule.GotoChain(chainRefuse)), rule.Join(begins(out), rule.GotoChain(chainRefuse))}
}

// where is a rule that exists under a condition.
func where(is bool, parts ...[]rule.Expr) []rule.Rule {
	if !is {
		return nil
	}
	return []rule.Rule{rule.Join(parts...)}
}

// isOurs matches the first packet of a connection that a class has translated.
func isOurs() []rule.Expr {
	const statusDNAT = 1 << 5
	return append(rule.HasBit(rule.CtStatus(), statusDNAT), rule.HasBit(rule.Mark(), markOurs)...)
}

func clearMark() []rule.Expr {
	return rule.SetMark(append(rule.Load(rule.Mark()), rule.And(rule.Native(^uint32(markOurs)))))
}

// leavesCluster does something to pods' connections to the world, where pod
// addresses mean nothing.
func (l Layout) leavesCluster(do []rule.Expr) []rule.Rule {
	f := l.Family
	return where(l.Outbound && l.ClusterCIDR.IsValid(),
		f.SaddrIn(l.ClusterCIDR), f.DaddrNotIn(l.ClusterCIDR), rule.InSet(MapNodes.String(), true, f.Daddr()), do)
}

// dispatchBy finds the frontend's packed verdict, keeps its set id in the conntrack mark
// and goes to the chain of its class. It does nothing for an address that is in
// no Service.
func (f *Family) dispatchBy(m Map) rule.Rule {
	return rule.Join(
		rule.SetMark(rule.Lookup(m.String(), rule.Reg1, f.frontend()...)),
		rule.SetCtMark(append(rule.Load(rule.Mark()), rule.And(rule.Native(setMask)))),
		append(rule.Load(rule.Mark()), rule.And(rule.Native(classMask))), rule.Lookup(dispatchMap, rule.VerdR),
	)
}

// class is a way to treat connections: a chain that many sets share. There are
// as many as there are different combinations in use, not as many as Services.
type class struct {
	verdict  lb.Verdict
	size     int           // number of slots: that of backends, or more if the client chooses
	affinity time.Duration // zero for none
	keep     bool          // leave the source alone
	turns    uint32        // id of the one set that goes round; zero for at random
	byClient bool          // the client's address chooses the slot
}

// chainName is the name of the class's chain.
func (c class) chainName() string {
	switch c.verdict {
	case lb.Refuse:
		return chainRefuse
	case lb.Drop:
		return chainDrop
	}
	name := fmt.Sprintf("lb-%d", c.size)
	if c.affinity > 0 {
		name += fmt.Sprintf("-sticky-%ds", int(c.affinity.Seconds()))
	}
	if c.keep {
		name += "-keep-source"
	}
	if c.turns > 0 {
		name += fmt.Sprintf("-in-turn-%d", c.turns)
	}
	if c.byClient {
		name += "-by-client"
	}
	return name
}

// rules returns the class's chain. The set id arrives in the conntrack mark.
func (c class) rules(f *Family) []rule.Rule {
	leave := uint32(markOther)
	if c.keep {
		leave = markKeep
	}
	anyPort := rule.Transport(lb.TCP, lb.UDP, lb.SCTP)
	// A packet may find a verdict from before a transaction and endpoints from
	// after it. The first slot is there as long as the set has any backend.
	sizes := []int{c.size, 1}
	if c.size == 1 {
		sizes = sizes[1:]
	}
	var rules []rule.Rule
	if c.affinity > 0 {
		remember := func(op uint32, timeout time.Duration) []rule.Expr {
			return rule.Dynset(op, AffinityMap, timeout, rule.Mark(), rule.CtMark(), f.Saddr())
		}
		exists := rule.InSet(MapSticky.String(), false, rule.Mark())
		goThere := rule.Join(rule.SetCtMark(rule.Load(rule.Mark())), rule.SetMark(rule.Number(leave)), anyPort,
			rule.Lookup(MapStickyTargets.String(), rule.Reg1, rule.CtMark()), f.Dnat())
		// An update never changes the value of an entry that exists, so an
		// entry for an endpoint that is gone has to be deleted first.
		replace := rule.Join(remember(rule.DynsetDelete, 0), remember(rule.DynsetUpdate, c.affinity))
		twin := func(of rule.Field) []rule.Expr {
			return rule.SetMark(rule.Lookup(MapStickyTwins.String(), rule.Reg1, of))
		}
		rules = append(rules,
			// The endpoint this client had, if it still exists (rules P70-P72).
			rule.Join(rule.SetMark(rule.Lookup(AffinityMap, rule.Reg1, rule.CtMark(), f.Saddr())), exists, remember(rule.DynsetUpdate, c.affinity), goThere),
			// The one it has under the other policy, if this one admits it.
			rule.Join(twin(rule.CtMark()), rule.SetMark(rule.Lookup(AffinityMap, rule.Reg1, rule.Mark(), f.Saddr())), twin(rule.Mark()), replace, goThere))
		for _, n := range sizes {
			rules = append(rules, rule.Join(rule.SetMark(rule.Lookup(MapStickySlots.String(), rule.Reg1, rule.CtMark(), c.number(f, n))), exists, replace, goThere))
		}
	} else {
		for _, n := range sizes {
			rules = append(rules, rule.Join(rule.SetMark(rule.Number(leave)), anyPort,
				rule.Lookup(MapEndpoints.String(), rule.Reg1, rule.CtMark(), c.number(f, n)), f.Dnat()))
		}
	}
	// Between two generations nothing may fit. The client sends again.
	return append(rules, rule.Join(rule.Drop()))
}

// number picks one of n slots. The counter of a rule that goes round is the
// rule's own, so a set that goes round has a class of its own.
func (c class) number(f *Family, n int) rule.Field {
	if c.turns > 0 {
		return rule.Numgen(unix.NFT_NG_INCREMENTAL, n)
	}
	if c.byClient && n > 1 {
		return rule.Hash(f.Saddr(), n, hashSeed)
	}
	return rule.Numgen(unix.NFT_NG_RANDOM, n)
}

// hashSeed is the same on all nodes and for ever.
const hashSeed = 0x66616972

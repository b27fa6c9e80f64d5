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

// chain is a chain of the table; a base chain has a kind and a hook.
type chain struct {
	name     string
	kind     string // "nat" or "filter"; empty for a chain that is only jumped to
	hook     uint32
	priority int32
	rules    []rule
}

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
func (f *Family) frontend() []field { return []field{f.daddr(), l4proto(), dport()} }

// fixedChains returns every chain except those of the classes.
func fixedChains(l Layout) []chain {
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
	closed := join(inSet(MapRestricted.String(), false, f.frontend()...),
		inSet(MapAllowed.String(), true, append(f.frontend(), f.saddr())...), drop())
	return append([]chain{
		{name: "untracked-in", kind: tableFilter, hook: unix.NF_INET_PRE_ROUTING, priority: raw, rules: l.untrackedIn()},
		{name: "untracked-out", kind: tableFilter, hook: unix.NF_INET_LOCAL_OUT, priority: raw, rules: l.untrackedOut()},
		{name: "prerouting", kind: tableNat, hook: unix.NF_INET_PRE_ROUTING, priority: dstnat, rules: slices.Concat(
			[]rule{closed},
			where(l.LocalPods.IsValid(), f.saddrIn(l.LocalPods), jump(chainShortcuts)),
			[]rule{join(jump(chainServices))},
		)},
		{name: "output", kind: tableNat, hook: unix.NF_INET_LOCAL_OUT, priority: dstnat, rules: []rule{
			closed,
			join(jump(chainShortcuts)),
			join(jump(chainServices)),
		}},
		{name: "forward", kind: tableFilter, hook: unix.NF_INET_FORWARD, priority: filter, rules: slices.Concat(l.misplaced(), l.shut(), l.labs())},
		{name: "input", kind: tableNat, hook: unix.NF_INET_LOCAL_IN, priority: srcnat, rules: append([]rule{
			join(isOurs(), setCtMark(number(0)), clearMark(), verdict(unix.NFT_RETURN, "")),
		}, l.engineOnly()...)},
		{name: "postrouting", kind: tableNat, hook: unix.NF_INET_POST_ROUTING, priority: srcnat, rules: append([]rule{
			join(isOurs(), gotoChain(chainReturn)),
		}, l.leavesCluster(masquerade())...)},
	}, slices.Concat(l.outgoing(), regularChains(l))...)
}

// outgoing is where what the node itself begins is refused, if it is to be.
func (l Layout) outgoing() []chain {
	if !l.Host.IsValid() {
		return nil
	}
	return []chain{{name: "outgoing", kind: "filter", hook: unix.NF_INET_LOCAL_OUT, rules: l.shut()}}
}

func regularChains(l Layout) []chain {
	f := l.Family
	foreign := f.saddrNotIn(l.LocalPods)
	if l.Masquerade {
		foreign = nil
	}
	return []chain{
		{name: chainShortcuts, rules: []rule{f.dispatchBy(MapShortcuts)}},
		{name: chainServices, rules: slices.Concat([]rule{f.dispatchBy(MapServices)}, l.dnsUnanswered(), []rule{
			// An address that is a Service's, but not on this port (rules P48, P50).
			join(inSet(MapClusterIPs.String(), false, f.daddr()), gotoChain(chainRefuse)),
		},
			// An address that could be a Service's and is nobody's (rule P49).
			where(l.ServiceCIDR.IsValid(), f.daddrIn(l.ServiceCIDR), drop()),
			l.nobodys(),
		)},
		{name: chainRefuse, rules: []rule{join(rejectTCP()), join(f.rejectICMP())}},
		{name: chainDrop, rules: []rule{join(drop())}},
		{name: chainReturn, rules: slices.Concat([]rule{
			join(setCtMark(number(0))),
			// A pod that was balanced to itself has to see an answer from
			// somewhere else (rule P33).
			join(inSet(MapHairpins.String(), false, f.saddr(), f.daddr()), gotoChain(chainMasquerade)),
			join(hasBit(mark(), markOther), foreign, gotoChain(chainMasquerade)),
		},
			l.leavesCluster(gotoChain(chainMasquerade)),
			[]rule{join(clearMark())},
		)},
		{name: chainMasquerade, rules: []rule{join(clearMark()), join(masquerade())}},
	}
}

// nobodys drops what goes to an address of a further range that is no Service's (rule P49).
func (l Layout) nobodys() []rule {
	var rules []rule
	for _, further := range l.Further {
		rules = append(rules, join(l.Family.daddrIn(further), drop()))
	}
	return rules
}

// Equal says whether the fixed rules are the same.
func (l Layout) Equal(other Layout) bool { return reflect.DeepEqual(l, other) }

// misplaced drops what conntrack cannot place of a pod's TCP connection: it
// would leave with the pod's own address, and the client would reset a healthy
// connection (rule P62). ICMP is never touched.
func (l Layout) misplaced() []rule {
	const invalidBit = 1
	return where(l.ClusterCIDR.IsValid(), l.Family.saddrIn(l.ClusterCIDR), is(l4proto(), []byte{byte(lb.TCP)}), hasBit(ctState(), invalidBit), drop())
}

// shut refuses what nodes and pods begin towards a host that they are to be kept
// from. The host may begin what it likes, and its API server is for everybody.
func (l Layout) shut() []rule {
	if !l.Host.IsValid() {
		return nil
	}
	const known = 2 | 4 // established, related
	there := func() []expr { return is(l.Family.daddr(), l.Host.AsSlice()) }
	leave := func() []expr { return verdict(unix.NFT_RETURN, "") }
	rules := []rule{join(there(), hasBit(ctState(), known), leave())}
	if l.API != 0 {
		rules = append(rules, join(there(), is(l4proto(), []byte{byte(lb.TCP)}), is(dport(), binary.BigEndian.AppendUint16(nil, l.API)), leave()))
	}
	if l.Family.V6 { // neighbours ask for each other's link addresses
		const icmp, solicitation, advertisement = 58, 135, 136
		for _, kind := range []byte{solicitation, advertisement} {
			rules = append(rules, join(there(), is(l4proto(), []byte{icmp}), is(payload(unix.NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1), []byte{kind}), leave()))
		}
	}
	return append(rules, join(there(), gotoChain(chainRefuse)))
}

// engineOnly keeps from the L7 engine's address what was not sent there for a Service (rule P113): it means nothing on the wire.
// What the node itself begins does not pass here; the engine sees that it was not translated.
func (l Layout) engineOnly() []rule {
	return where(l.Engine.IsValid(), is(l.Family.daddr(), l.Engine.AsSlice()), drop())
}

// labLinks is how the names of the host's links into labs begin.
const labLinks = "fl-"

// labs keeps the pods of this node and the labs on its host apart: neither
// side's connections are passed on to the other.
func (l Layout) labs() []rule {
	if !l.Outbound || !l.ClusterCIDR.IsValid() {
		return nil
	}
	in, out := meta(unix.NFT_META_IIFNAME, 16), meta(unix.NFT_META_OIFNAME, 16)
	begins := func(f field) []expr { return append(load(f), compare(unix.NFT_CMP_EQ, []byte(labLinks))) }
	return []rule{join(begins(in), gotoChain(chainRefuse)), join(begins(out), gotoChain(chainRefuse))}
}

// where is a rule that exists under a condition.
func where(is bool, parts ...[]expr) []rule {
	if !is {
		return nil
	}
	return []rule{join(parts...)}
}

// isOurs matches the first packet of a connection that a class has translated.
func isOurs() []expr {
	const statusDNAT = 1 << 5
	return append(hasBit(ctStatus(), statusDNAT), hasBit(mark(), markOurs)...)
}

func clearMark() []expr { return setMark(append(load(mark()), and(native(^uint32(markOurs))))) }

// leavesCluster does something to pods' connections to the world, where pod
// addresses mean nothing.
func (l Layout) leavesCluster(do []expr) []rule {
	f := l.Family
	return where(l.Outbound && l.ClusterCIDR.IsValid(),
		f.saddrIn(l.ClusterCIDR), f.daddrNotIn(l.ClusterCIDR), inSet(MapNodes.String(), true, f.daddr()), do)
}

// dispatchBy finds the frontend's packed verdict, keeps its set id in the conntrack mark
// and goes to the chain of its class. It does nothing for an address that is in
// no Service.
func (f *Family) dispatchBy(m Map) rule {
	return join(
		setMark(lookup(m.String(), reg1, f.frontend()...)),
		setCtMark(append(load(mark()), and(native(setMask)))),
		append(load(mark()), and(native(classMask))), lookup(dispatchMap, verdR),
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
func (c class) rules(f *Family) []rule {
	leave := uint32(markOther)
	if c.keep {
		leave = markKeep
	}
	anyPort := transport(lb.TCP, lb.UDP, lb.SCTP)
	// A packet may find a verdict from before a transaction and endpoints from
	// after it. The first slot is there as long as the set has any backend.
	sizes := []int{c.size, 1}
	if c.size == 1 {
		sizes = sizes[1:]
	}
	var rules []rule
	if c.affinity > 0 {
		remember := func(op uint32, timeout time.Duration) []expr {
			return dynset(op, AffinityMap, timeout, mark(), ctMark(), f.saddr())
		}
		exists := inSet(MapSticky.String(), false, mark())
		goThere := join(setCtMark(load(mark())), setMark(number(leave)), anyPort,
			lookup(MapStickyTargets.String(), reg1, ctMark()), f.dnat())
		// An update never changes the value of an entry that exists, so an
		// entry for an endpoint that is gone has to be deleted first.
		replace := join(remember(dynsetDelete, 0), remember(dynsetUpdate, c.affinity))
		twin := func(of field) []expr { return setMark(lookup(MapStickyTwins.String(), reg1, of)) }
		rules = append(rules,
			// The endpoint this client had, if it still exists (rules P70-P72).
			join(setMark(lookup(AffinityMap, reg1, ctMark(), f.saddr())), exists, remember(dynsetUpdate, c.affinity), goThere),
			// The one it has under the other policy, if this one admits it.
			join(twin(ctMark()), setMark(lookup(AffinityMap, reg1, mark(), f.saddr())), twin(mark()), replace, goThere))
		for _, n := range sizes {
			rules = append(rules, join(setMark(lookup(MapStickySlots.String(), reg1, ctMark(), c.number(f, n))), exists, replace, goThere))
		}
	} else {
		for _, n := range sizes {
			rules = append(rules, join(setMark(number(leave)), anyPort,
				lookup(MapEndpoints.String(), reg1, ctMark(), c.number(f, n)), f.dnat()))
		}
	}
	// Between two generations nothing may fit. The client sends again.
	return append(rules, join(drop()))
}

// number picks one of n slots. The counter of a rule that goes round is the
// rule's own, so a set that goes round has a class of its own.
func (c class) number(f *Family, n int) field {
	if c.turns > 0 {
		return numgen(unix.NFT_NG_INCREMENTAL, n)
	}
	if c.byClient && n > 1 {
		return hash(f.saddr(), n, hashSeed)
	}
	return numgen(unix.NFT_NG_RANDOM, n)
}

// hashSeed is the same on all nodes and for ever.
const hashSeed = 0x66616972

const (
	dynsetUpdate = unix.NFT_DYNSET_OP_UPDATE
	dynsetDelete = 2 // NFT_DYNSET_OP_DELETE
)

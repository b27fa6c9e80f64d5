package nft

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/lb"
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

// A word is what the services map says about a frontend: the class in the upper
// bits, the set id in the lower ones.
const (
	setBits   = 20
	setMask   = 1<<setBits - 1
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

// layout is what the fixed rules depend on. It changes when a node gets its pod
// range, and then the table is written anew.
type layout struct {
	clusterCIDR netip.Prefix // all pods
	localPods   netip.Prefix // the pods of this node
	serviceCIDR netip.Prefix // invalid if not known
	outbound    bool         // pods leave the cluster with this node's address
	dns         netip.Addr   // where the node's own DNS server listens; may be invalid
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
func frontend() []field { return []field{daddr, l4proto, dport} }

// fixedChains returns every chain except those of the classes.
func fixedChains(l layout) []chain {
	const (
		raw         = -300
		dstnat      = -100
		filter      = 0
		srcnat      = 100
		invalidBit  = 1
		tableNat    = "nat"
		tableFilter = "filter"
	)
	// Load balancer addresses that are open to some sources only (rule P45).
	closed := join(inSet(shapes[restricted].name, false, frontend()...),
		inSet(shapes[allowed].name, true, daddr, l4proto, dport, saddr), drop())
	return append([]chain{
		{name: "untracked-in", kind: tableFilter, hook: unix.NF_INET_PRE_ROUTING, priority: raw, rules: untrackedIn(l.dns)},
		{name: "untracked-out", kind: tableFilter, hook: unix.NF_INET_LOCAL_OUT, priority: raw, rules: untrackedOut(l.dns)},
		{name: "prerouting", kind: tableNat, hook: unix.NF_INET_PRE_ROUTING, priority: dstnat, rules: slices.Concat(
			[]rule{closed},
			where(l.localPods.IsValid(), saddrIn(l.localPods), jump(chainShortcuts)),
			[]rule{join(jump(chainServices))},
		)},
		{name: "output", kind: tableNat, hook: unix.NF_INET_LOCAL_OUT, priority: dstnat, rules: []rule{
			closed,
			join(jump(chainShortcuts)),
			join(jump(chainServices)),
		}},
		{name: "forward", kind: tableFilter, hook: unix.NF_INET_FORWARD, priority: filter,
			// A packet that conntrack cannot place would leave with the pod's own
			// address, and the client would reset a healthy connection (rule P62).
			rules: where(l.clusterCIDR.IsValid(), saddrIn(l.clusterCIDR), hasBit(ctState, invalidBit), drop()),
		},
		{name: "input", kind: tableNat, hook: unix.NF_INET_LOCAL_IN, priority: srcnat, rules: []rule{
			join(isOurs(), setCtMark(number(0)), clearMark()),
		}},
		{name: "postrouting", kind: tableNat, hook: unix.NF_INET_POST_ROUTING, priority: srcnat, rules: append(
			[]rule{join(isOurs(), gotoChain(chainReturn))},
			where(l.outbound && l.clusterCIDR.IsValid(), leavesCluster(l), masquerade())...,
		)},
	}, regularChains(l)...)
}

// where is a rule that exists under a condition.
func where(is bool, parts ...[]expr) []rule {
	if !is {
		return nil
	}
	return []rule{join(parts...)}
}

func regularChains(l layout) []chain {
	return []chain{
		{name: chainShortcuts, rules: []rule{dispatchBy(shortcuts)}},
		{name: chainServices, rules: slices.Concat([]rule{dispatchBy(services)}, dnsUnanswered(l.dns), []rule{
			// An address that is a Service's, but not on this port (rule P48).
			join(inSet(shapes[clusterIPs].name, false, daddr), gotoChain(chainRefuse)),
		},
			// An address that could be a Service's and is nobody's (rule P49).
			where(l.serviceCIDR.IsValid(), daddrIn(l.serviceCIDR), drop()),
		)},
		{name: chainRefuse, rules: []rule{join(rejectTCP()), join(rejectICMP())}},
		{name: chainDrop, rules: []rule{join(drop())}},
		{name: chainReturn, rules: slices.Concat([]rule{
			join(setCtMark(number(0))),
			// A pod that was balanced to itself has to see an answer from
			// somewhere else (rule P33).
			join(inSet(shapes[hairpins].name, false, saddr, daddr), gotoChain(chainMasquerade)),
			join(hasBit(mark, markOther), saddrNotIn(l.localPods), gotoChain(chainMasquerade)),
		},
			where(l.outbound && l.clusterCIDR.IsValid(), leavesCluster(l), gotoChain(chainMasquerade)),
			[]rule{join(clearMark())},
		)},
		{name: chainMasquerade, rules: []rule{join(clearMark()), join(masquerade())}},
	}
}

func ctState(reg uint32) expr { return ct(unix.NFT_CT_STATE, reg) }

// isOurs matches the first packet of a connection that a class has translated.
func isOurs() []expr {
	const statusDNAT = 1 << 5
	ctStatus := func(reg uint32) expr { return ct(unix.NFT_CT_STATUS, reg) }
	return append(hasBit(ctStatus, statusDNAT), hasBit(mark, markOurs)...)
}

func clearMark() []expr { return setMark(mark(reg1), and(native(^uint32(markOurs)))) }

// leavesCluster matches pods' connections to the world, where pod addresses
// mean nothing.
func leavesCluster(l layout) []expr {
	return join(saddrIn(l.clusterCIDR), daddrNotIn(l.clusterCIDR), inSet(shapes[nodes].name, true, daddr))
}

// dispatchBy finds the frontend's word, keeps its set id in the conntrack mark
// and goes to the chain of its class. It does nothing for an address that is in
// no Service.
func dispatchBy(m mapID) rule {
	return join(
		setMark(lookup(shapes[m].name, reg1, frontend()...)...),
		setCtMark(mark(reg1), and(native(setMask))),
		[]expr{mark(reg1), and(native(classMask))}, lookup(dispatchMap, verdR),
	)
}

// class is a way to treat connections: a chain that many sets share. There are
// as many as there are different combinations in use, not as many as Services.
type class struct {
	verdict  lb.Verdict
	size     int           // number of backends
	affinity time.Duration // zero for none
	keep     bool          // leave the source alone
	turns    uint32        // id of the one set that goes round; zero for at random
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
	return name
}

// rules returns the class's chain. The set id arrives in the conntrack mark.
func (c class) rules() []rule {
	leave := uint32(markOther)
	if c.keep {
		leave = markKeep
	}
	anyPort := transport(lb.TCP, lb.UDP, lb.SCTP)
	// A packet may find a word from before a transaction and endpoints from
	// after it. The first slot is there as long as the set has any backend.
	sizes := []int{c.size, 1}
	if c.size == 1 {
		sizes = sizes[1:]
	}
	var rules []rule
	if c.affinity > 0 {
		remember := func(op uint32, timeout time.Duration) []expr {
			return dynset(op, affinityMap, timeout, mark, saddr, ctMark)
		}
		exists := inSet(shapes[sticky].name, false, mark)
		goThere := join(setCtMark(mark(reg1)), setMark(number(leave)), anyPort,
			lookup(shapes[stickyTargets].name, reg1, ctMark), dnat())
		// The endpoint this client had, if it still exists (rules P70-P72).
		rules = append(rules, join(setMark(lookup(affinityMap, reg1, saddr, ctMark)...),
			exists, remember(dynsetUpdate, c.affinity), goThere))
		for _, n := range sizes {
			// An update never changes the value of an entry that exists, so an
			// entry for an endpoint that is gone has to be deleted first.
			rules = append(rules, join(setMark(lookup(shapes[stickySlots].name, reg1, ctMark, c.number(n))...),
				exists, remember(dynsetDelete, 0), remember(dynsetUpdate, c.affinity), goThere))
		}
	} else {
		for _, n := range sizes {
			rules = append(rules, join(setMark(number(leave)), anyPort,
				lookup(shapes[endpoints].name, reg1, ctMark, c.number(n)), dnat()))
		}
	}
	// Between two generations nothing may fit. The client sends again.
	return append(rules, join(drop()))
}

// number picks one of n slots. The counter of a rule that goes round is the
// rule's own, so a set that goes round has a class of its own.
func (c class) number(n int) field {
	if c.turns > 0 {
		return numgen(unix.NFT_NG_INCREMENTAL, n)
	}
	return numgen(unix.NFT_NG_RANDOM, n)
}

const (
	dynsetUpdate = unix.NFT_DYNSET_OP_UPDATE
	dynsetDelete = 2 // NFT_DYNSET_OP_DELETE
)

package nft

import (
	"fmt"
	"net/netip"
	"slices"

	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/nft/plan"
)

// local are the node's own addresses, as far as rules care.
func (p *Proxy) local() []netip.Addr {
	all := slices.Clone(p.cfg.NodeIPs)
	for _, at := range p.cfg.Engine {
		all = append(all, at.Addr())
	}
	return all
}

// Trace says what this node's rules make of the first packet of a connection, without the kernel: each outcome that is
// possible, an endpoint each, with the rules that led there. Where the packet comes from is told by its source: a pod of this
// node, the node itself, or anywhere else. What clients stick to is not known here. It is an error if the two addresses are of
// different IP versions, or this node has no rules for theirs.
func (p *Proxy) Trace(from netip.Addr, to netip.AddrPort, proto lb.Protocol) ([]plan.Trace, error) {
	if from.Is4() != to.Addr().Is4() {
		return nil, fmt.Errorf("%s and %s are of different IP versions", from, to)
	}
	for i, f := range p.families {
		if !f.Has(to.Addr()) {
			continue
		}
		_, layout := p.node(f)
		origin := lb.FromOutside
		switch {
		case slices.Contains(p.cfg.NodeIPs, from):
			origin = lb.FromNode
		case layout.LocalPods.Contains(from):
			origin = lb.FromPod
		}
		const anyPort = 40000
		return plan.NewTracer(p.Plan()[i], p.local(), nil).All(plan.Packet{
			Packet: lb.Packet{Origin: origin, Source: from, Dest: to, Proto: proto}, SourcePort: anyPort,
		}), nil
	}
	return nil, fmt.Errorf("this node has no rules for the IP version of %s", to)
}

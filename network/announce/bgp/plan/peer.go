package plan

import (
	"net/netip"
	"time"
)

// Port is where BGP is spoken (RFC 4271 8.2.1).
const Port = 179

// Peer is a router, and what this node is to it. It is comparable: Peers that differ need another session.
type Peer struct {
	Name     string
	Addr     netip.Addr
	Port     uint16     // 0: 179
	ASN      uint32     // of the router
	LocalASN uint32     // of this node; the router's own is iBGP
	RouterID netip.Addr // of this node, IPv4, another on each node
	Password string     // TCP MD5 (RFC 2385), empty for none
	// HoldTime is how long a silent session lives, in whole seconds from 3; 0: 90 seconds.
	HoldTime time.Duration
	Hops     uint8 // how far away a router of another AS may be; 0 or 1: a neighbour
	// Restart is how long the router is asked to keep the routes while this program is away, in whole seconds up
	// to 4095; 0: not at all (RFC 4724).
	Restart time.Duration
	// NextHop4 and NextHop6 are this node's addresses for routes of the family that the session itself is not of; invalid: the
	// router gets no such routes. Those of the session's family lead to its own address.
	NextHop4, NextHop6 netip.Addr
}

// At is where the router is called.
func (p *Peer) At() netip.AddrPort {
	port := p.Port
	if port == 0 {
		port = Port
	}
	return netip.AddrPortFrom(p.Addr, port)
}

// NextHop is where routes of a family lead; false if this router cannot be told any. Unspecified is the session's own address.
func (p *Peer) NextHop(ipv6 bool) (netip.Addr, bool) {
	switch {
	case ipv6 && p.Addr.Is6():
		return netip.IPv6Unspecified(), true
	case !ipv6 && p.Addr.Is4():
		return netip.IPv4Unspecified(), true
	case ipv6:
		return p.NextHop6, p.NextHop6.Is6()
	}
	return p.NextHop4, p.NextHop4.Is4()
}

// Route is what a router is told of a prefix. It is comparable.
type Route struct {
	Prefix netip.Prefix
	// Communities are words like 64512:100 (RFC 1997) and 64512:1:2 (RFC 8092), separated by blanks.
	Communities string
	// LocalPref is how much the route is preferred within the AS; 0: 100. Routers of other ASes are not told (RFC 4271 5.1.5).
	LocalPref uint32
}

// Wish is a router, and what it is to be told.
type Wish struct {
	Peer   Peer
	Routes []Route
}

package bgp

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"
)

// Port is where BGP is spoken (RFC 4271 8.2.1).
const Port = 179

// gracefulShutdown marks a route that is about to go away (RFC 8326): the router prefers any other one, and still has it.
const gracefulShutdown = 0xFFFF0000

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
	// NextHops are this node's addresses for routes of the family that the session itself is not of; invalid: the
	// router gets no such routes. Those of the session's family lead to its own address.
	NextHop4, NextHop6 netip.Addr
}

// at is where the router is called.
func (p *Peer) at() netip.AddrPort {
	port := p.Port
	if port == 0 {
		port = Port
	}
	return netip.AddrPortFrom(p.Addr, port)
}

// nextHop is where routes of a family lead; false if this router cannot be told any. Unspecified is the session's own address.
func (p *Peer) nextHop(ipv6 bool) (netip.Addr, bool) {
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

// path is the route in GoBGP's terms. A leaving one is marked as going away.
func (r Route) path(p *Peer, leaving bool) (*apiutil.Path, error) {
	hop, ok := p.nextHop(r.Prefix.Addr().Is6())
	if !ok {
		return nil, fmt.Errorf("route %s: this node has no address of that family for router %s", r.Prefix, p.Addr)
	}
	nlri, err := bgp.NewIPAddrPrefix(r.Prefix)
	if err != nil {
		return nil, fmt.Errorf("route %s: %w", r.Prefix, err)
	}
	short, large, err := ParseCommunities(r.Communities)
	if err != nil {
		return nil, fmt.Errorf("route %s: %w", r.Prefix, err)
	}
	family, pref := bgp.RF_IPv4_UC, r.LocalPref
	if r.Prefix.Addr().Is6() {
		family = bgp.RF_IPv6_UC
	}
	if leaving {
		short, pref = append(short, gracefulShutdown), 0
	}
	reach, err := bgp.NewPathAttributeMpReachNLRI(family, []bgp.PathNLRI{{NLRI: nlri}}, hop)
	if err != nil {
		return nil, fmt.Errorf("route %s: %w", r.Prefix, err)
	}
	attrs := []bgp.PathAttributeInterface{bgp.NewPathAttributeOrigin(bgp.BGP_ORIGIN_ATTR_TYPE_IGP), reach}
	if len(short) > 0 {
		attrs = append(attrs, bgp.NewPathAttributeCommunities(short))
	}
	if len(large) > 0 {
		attrs = append(attrs, bgp.NewPathAttributeLargeCommunities(large))
	}
	if p.ASN == p.LocalASN && (pref > 0 || leaving) {
		attrs = append(attrs, bgp.NewPathAttributeLocalPref(pref))
	}
	return &apiutil.Path{Family: family, Nlri: nlri, Attrs: attrs}, nil
}

// ParseCommunities reads communities of two numbers of 16 bits, and large ones of three of 32 bits.
func ParseCommunities(words string) (short []uint32, large []*bgp.LargeCommunity, err error) {
	for _, word := range strings.Fields(words) {
		parts := strings.Split(word, ":")
		bits := map[int]int{2: 16, 3: 32}[len(parts)]
		var n [3]uint64
		for i := range parts {
			if bits > 0 && err == nil {
				n[i], err = strconv.ParseUint(parts[i], 10, bits)
			}
		}
		switch {
		case bits == 0 || err != nil:
			return nil, nil, fmt.Errorf("community %q: must be two numbers up to 65535 or three up to 4294967295, as in 64512:100 or 64512:1:2", word)
		case bits == 16:
			short = append(short, uint32(n[0])<<16|uint32(n[1]))
		default:
			large = append(large, bgp.NewLargeCommunity(uint32(n[0]), uint32(n[1]), uint32(n[2])))
		}
	}
	return short, large, nil
}

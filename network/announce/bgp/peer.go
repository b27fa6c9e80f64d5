package bgp

import (
	"fmt"
	"strings"

	"github.com/osrg/gobgp/v4/pkg/apiutil"
	"github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"fairlead.dev/fairlead/api/kinds"
	"fairlead.dev/fairlead/network/announce/bgp/plan"
)

// gracefulShutdown marks a route that is about to go away (RFC 8326): the router prefers any other one, and still has it.
const gracefulShutdown = 0xFFFF0000

// The terms in which a Speaker is told what to do.
type (
	Peer  = plan.Peer
	Route = plan.Route
	Wish  = plan.Wish
)

// pathOf is the route in GoBGP's terms. A leaving one is marked as going away.
func pathOf(r Route, p *Peer, leaving bool) (*apiutil.Path, error) {
	hop, ok := p.NextHop(r.Prefix.Addr().Is6())
	if !ok {
		return nil, fmt.Errorf("route %s: this node has no address of that family for router %s", r.Prefix, p.Addr)
	}
	nlri, err := bgp.NewIPAddrPrefix(r.Prefix)
	if err != nil {
		return nil, fmt.Errorf("route %s: %w", r.Prefix, err)
	}
	short, large, err := communities(r.Communities)
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

// communities reads communities of two numbers of 16 bits, and large ones of three of 32 bits.
func communities(words string) (short []uint32, large []*bgp.LargeCommunity, err error) {
	for _, word := range strings.Fields(words) {
		c, err := kinds.ParseCommunity(word)
		switch {
		case err != nil:
			return nil, nil, fmt.Errorf("community %q: %w", word, err)
		case len(c) == 2:
			short = append(short, c[0]<<16|c[1])
		default:
			large = append(large, bgp.NewLargeCommunity(c[0], c[1], c[2]))
		}
	}
	return short, large, nil
}

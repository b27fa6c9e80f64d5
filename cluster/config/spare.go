package config

import (
	"encoding/binary"
	"net/netip"
	"slices"
)

// Apart are the settings that keep the ranges nobody asked for apart from those that are taken: where a usual range is,
// another one in its place. Nothing is said where nothing has to be changed, or can be.
func (s Settings) Apart(pods, services []netip.Prefix) Config {
	var c Config
	if apart, changed := replaced(s.Pods, podRanges, slices.Concat(pods, s.Services)); changed {
		c.PodCIDR = join(apart)
	}
	if apart, changed := replaced(s.Services, serviceRanges, slices.Concat(services, s.Pods)); changed {
		c.ServiceCIDR = join(apart)
	}
	return c
}

// replaced takes the next free range of its size for each usual one that is taken.
func replaced(ranges []netip.Prefix, usual map[family]string, taken []netip.Prefix) (apart []netip.Prefix, changed bool) {
	apart = slices.Clone(ranges)
	for i, p := range ranges {
		if p.String() != usual[familyOf(p.Addr())] || !slices.ContainsFunc(taken, p.Overlaps) {
			continue
		}
		for other, more := next(p), spares; more > 0; other, more = next(other), more-1 {
			if !slices.ContainsFunc(taken, other.Overlaps) && !slices.ContainsFunc(reserved, other.Overlaps) {
				apart[i], changed = other, true
				break
			}
		}
	}
	return apart, changed
}

// spares is how many ranges after a usual one are looked at: all that a private network has.
const spares = 255

// reserved are ranges that clusters use for something else, usually or always.
var reserved = []netip.Prefix{
	netip.MustParsePrefix(podRanges[four]), netip.MustParsePrefix(serviceRanges[four]), netip.MustParsePrefix("10.88.0.0/16"),
}

// next is the range of the same size after p, in turn within the private network that p is of.
func next(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4() { // 10.0.0.0/8
		at := p.Addr().As4()
		n := binary.BigEndian.Uint32(at[:])&0xffffff + 1<<(32-p.Bits())
		binary.BigEndian.PutUint32(at[:], 10<<24|n&0xffffff)
		return netip.PrefixFrom(netip.AddrFrom4(at), p.Bits())
	}
	at := p.Addr().As16() // fd00:10:N::
	binary.BigEndian.PutUint16(at[4:], binary.BigEndian.Uint16(at[4:])+1)
	return netip.PrefixFrom(netip.AddrFrom16(at), p.Bits())
}

package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"fairlead.dev/fairlead/alloc"
	"fairlead.dev/fairlead/api/kinds"
)

// Words that lb-pool may be besides ranges.
const (
	PoolNone = "none" // there is none, whatever was saved
	PoolAuto = "auto" // the program chooses, once
	// poolChosen begins what was chosen for a cluster whose node is this host: networks that only this host reaches.
	poolChosen = PoolAuto + "="
)

// Pool is the default pool of addresses for Services of type LoadBalancer, as settings ask for it.
type Pool struct {
	Auto   bool                   // the program is to choose
	Spec   *kinds.AddressPoolSpec // nil: none, or not chosen yet
	Routed []netip.Prefix         // networks that lead to this host alone, of whose being there nobody else is told
}

// Chosen is what lb-pool is once the program has chosen networks for this host.
func Chosen(networks []netip.Prefix) string { return poolChosen + join(networks) }

// keptPool is what lb-pool says: a choice that was made and saved is not made again.
func keptPool(said, saved string) string {
	if said == PoolAuto && strings.HasPrefix(saved, poolChosen) {
		return saved
	}
	return or(said, saved)
}

// pool reads lb-pool. The ranges of the cluster are known.
func (s *Settings) pool() error {
	text, routed := strings.CutPrefix(s.LBPool, poolChosen)
	switch text {
	case "", PoolNone:
		return nil
	case PoolAuto:
		s.Pool.Auto = true
		return nil
	}
	parts := strings.Split(text, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	wrong := func(why any) error {
		return fmt.Errorf("lb-pool %q: %v; such as 192.0.2.200-192.0.2.220,2001:db8::/120, or auto, or none", s.LBPool, why)
	}
	ranges, err := alloc.ParseRanges(parts)
	if err != nil {
		return wrong(err)
	}
	families := s.families()
	for i, r := range ranges {
		if !slices.Contains(families, familyOf(r.First)) {
			return wrong(fmt.Sprintf("%s is of %s, and Services have addresses of %s only", parts[i], familyOf(r.First), join(families)))
		}
		for _, p := range slices.Concat(s.Pods, s.Services) {
			if r.Overlaps(alloc.RangeOf(p)) {
				return wrong(fmt.Sprintf("%s must not overlap %s, which pods or Services have", parts[i], p))
			}
		}
	}
	s.Pool.Spec = &kinds.AddressPoolSpec{Addresses: parts}
	if !routed {
		return nil
	}
	s.Pool.Spec.Announce = []kinds.Announcement{kinds.AnnounceNone}
	for _, part := range parts {
		p, err := netip.ParsePrefix(part)
		if err != nil {
			return wrong(fmt.Sprintf("%s must be a network", part))
		}
		s.Pool.Routed = append(s.Pool.Routed, p)
	}
	return nil
}

// poolRanges are the first networks that are tried for this host's own pool, of each family.
var poolRanges = map[family]netip.Prefix{four: netip.MustParsePrefix("10.89.0.0/24"), six: netip.MustParsePrefix("fd00:10:89::/112")}

// FreePool chooses a network of each family of the cluster that overlaps none that is taken.
func (s Settings) FreePool(taken []netip.Prefix) ([]netip.Prefix, error) {
	var chosen []netip.Prefix
	taken = slices.Concat(taken, s.Pods, s.Services)
	for _, f := range s.families() {
		p, more := poolRanges[f], spares
		for ; more > 0 && slices.ContainsFunc(taken, p.Overlaps); more-- {
			p = next(p)
		}
		if more == 0 {
			return nil, fmt.Errorf("lb-pool auto: no free network of %s for it; give ranges with --lb-pool", f)
		}
		chosen = append(chosen, p)
	}
	return chosen, nil
}

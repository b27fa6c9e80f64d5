package nft

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/nft/plan"
)

// Release takes addresses out of the tables that a Proxy left behind in the
// current network namespace, so that connections to them go to who listens
// there. Who needs the API server to learn what the rules should be calls it
// before the first connection: rules that send that one elsewhere, because an
// address changed hands while nobody looked, would otherwise never be corrected.
// An API server that is reached by a cluster address stays reachable by it.
// Without tables there is nothing to do.
func Release(at []netip.AddrPort) error {
	s, err := dial()
	if err != nil {
		return fmt.Errorf("release %v: %w", at, err)
	}
	defer s.Close()
	for _, v6 := range []bool{false, true} {
		f := plan.NewFamily(v6)
		for _, a := range at {
			if !f.Has(a.Addr()) || s.holds(f, plan.AddrKey(plan.MapClusterIPs, a.Addr())) {
				continue
			}
			if err := s.release(f, a); err != nil {
				return fmt.Errorf("release %s: %w", a, err)
			}
		}
	}
	return nil
}

// release removes the frontends at a TCP address and port.
func (s *socket) release(f *plan.Family, at netip.AddrPort) error {
	var keys []plan.Key
	for _, in := range plan.FrontendMaps {
		if k := plan.FrontendKey(in, at, lb.TCP); s.holds(f, k) {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	if err := s.Commit(&plan.RemoveElements(f, keys).Batch); err != nil && !errors.Is(err, unix.ENOENT) {
		return err
	}
	return nil
}

// holds reports whether the table in the kernel has an element. An error says
// that there is none, or no table of ours.
func (s *socket) holds(f *plan.Family, k plan.Key) bool {
	found := false
	_ = s.look(f, k.Map(), []plan.Key{k}, func(element) error { found = true; return nil })
	return found
}

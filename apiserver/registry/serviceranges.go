package registry

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"fairlead.dev/fairlead/alloc"
	"fairlead.dev/fairlead/api"
)

// serviceRange is a range of addresses, and the ServiceCIDRs that have it: whether Services may get addresses of each now.
type serviceRange struct {
	*alloc.Addresses
	of map[string]bool
}

func (r *serviceRange) ready() bool {
	for _, ready := range r.of {
		if ready {
			return true
		}
	}
	return false
}

func (r *serviceRange) family() corev1.IPFamily { return api.Family(r.Prefix().Addr()) }

// declare makes the ranges of c those that its stored object says. What is older than what is known already is ignored.
func (n *numbers) declare(c *networkingv1.ServiceCIDR) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if versionOf(c) < n.known[c.Name] {
		return
	}
	n.known[c.Name] = versionOf(c)
	prefixes, ready := prefixesOf(c), givesAddresses(c)
	if c.Name == GivenRanges {
		ready = ready || !slices.Equal(prefixes, n.given) // of an earlier start: it is made anew
		prefixes = n.given
	}
	n.set(c.Name, prefixes, ready)
}

// withdraw forgets the ranges of c, which is deleted. Those of the cluster's start remain: their object is made anew.
func (n *numbers) withdraw(c *networkingv1.ServiceCIDR) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if versionOf(c) < n.known[c.Name] {
		return
	}
	n.known[c.Name] = versionOf(c)
	if c.Name == GivenRanges {
		n.set(c.Name, n.given, true)
		return
	}
	n.set(c.Name, nil, false)
}

// set makes these the ranges of a ServiceCIDR. What Services have of a new range is taken.
func (n *numbers) set(name string, prefixes []netip.Prefix, ready bool) {
	for _, r := range n.ranges {
		delete(r.of, name)
	}
	for _, p := range prefixes {
		at := slices.IndexFunc(n.ranges, func(r *serviceRange) bool { return r.Prefix() == p })
		if at < 0 {
			addresses, err := alloc.NewAddresses(p)
			if err != nil {
				continue // validation refuses it
			}
			for x := range n.holders {
				if x.addr.IsValid() {
					_ = addresses.Take(x.addr) // not of this range
				}
			}
			n.ranges = append(n.ranges, &serviceRange{addresses, map[string]bool{}})
			at = len(n.ranges) - 1
		}
		n.ranges[at].of[name] = ready
	}
	n.ranges = slices.DeleteFunc(n.ranges, func(r *serviceRange) bool { return len(r.of) == 0 })
	n.changed()
}

// changed has whoever waits look at the ranges again.
func (n *numbers) changed() {
	select {
	case n.look <- struct{}{}:
	default:
	}
}

// freed says that an address is free, which a range that is being deleted may have waited for.
func (n *numbers) freed() {
	if slices.ContainsFunc(n.ranges, func(r *serviceRange) bool { return slices.Contains(slices.Collect(maps.Values(r.of)), false) }) {
		n.changed()
	}
}

// serving are the ranges of a family that Services get addresses of, those of the cluster's start first.
func (n *numbers) serving(family corev1.IPFamily) []*serviceRange {
	var all []*serviceRange
	for _, r := range n.ranges {
		if r.family() == family && r.ready() {
			all = append(all, r)
		}
	}
	return all
}

// freeAddr is why a Service cannot have addr; nil: it can.
func (n *numbers) freeAddr(addr netip.Addr) error {
	var ranges []string
	for _, r := range n.serving(api.Family(addr)) {
		switch err := r.Check(addr).(type) {
		case nil:
			return nil
		case alloc.TakenError:
			return err
		}
		ranges = append(ranges, r.Prefix().String())
	}
	return alloc.RangeError{What: "IP", Range: strings.Join(ranges, ", ")}
}

// choose chooses an address of a family, which take says how.
func (n *numbers) choose(family corev1.IPFamily, take func(*alloc.Addresses) (netip.Addr, error)) (netip.Addr, error) {
	for _, r := range n.serving(family) {
		if addr, err := take(r.Addresses); err == nil {
			return addr, nil
		}
	}
	return netip.Addr{}, alloc.ErrFull
}

// enter takes addr out of all ranges it is in.
func (n *numbers) enter(addr netip.Addr) {
	for _, r := range n.ranges {
		_ = r.Take(addr) // not of this range, or taken there
	}
}

// needed reports whether a Service has an address that is in a range of the ServiceCIDR and in no other's.
func (n *numbers) needed(name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for x, h := range n.holders {
		if !x.addr.IsValid() || h.reserved {
			continue
		}
		in, elsewhere := false, false
		for _, r := range n.ranges {
			if !r.Prefix().Contains(x.addr) {
				continue
			}
			_, its := r.of[name]
			in = in || its
			elsewhere = elsewhere || len(r.of) > 1 || !its
		}
		if in && !elsewhere {
			return true
		}
	}
	return false
}

// RangesChanged tells that a ServiceCIDR was written, or an address set free that one may have waited for.
func (s *serviceStore) RangesChanged() <-chan struct{} { return s.numbers.look }

// RangeNeeded reports whether a ServiceCIDR that is being deleted has to stay: a Service has an address of it that is in no other.
func (s *serviceStore) RangeNeeded(ctx context.Context, name string) (bool, error) {
	if err := s.load(ctx); err != nil {
		return false, err
	}
	return s.numbers.needed(name), nil
}

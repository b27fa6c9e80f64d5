// Package plan decides about the addresses of Services of type LoadBalancer: which pools are usable, which address each Service
// gets, and which node announces it. It only computes.
package plan

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"fairlead.dev/fairlead/alloc"
	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/api/kinds"
	"fairlead.dev/fairlead/network/lb"
)

// Pool is an AddressPool as it is used.
type Pool struct {
	Object               *kinds.AddressPool
	Ranges               alloc.Ranges
	Reason, Message      string // of its condition; no addresses are given from one whose Reason is not Usable
	services, namespaces labels.Selector
}

// Usable is the reason of a pool's condition when addresses are given from it.
const Usable = "Usable"

// Usable reports whether addresses are given from the pool.
func (p *Pool) Usable() bool { return p.Reason == Usable }

// Pools reads AddressPools, in the order in which they are tried. Of two that overlap the elder is used.
func Pools(objects []*kinds.AddressPool, pods, services []netip.Prefix, reserved lb.Reserved) []Pool {
	var byAge []Pool
	for _, o := range objects {
		byAge = append(byAge, Pool{Object: o})
	}
	slices.SortFunc(byAge, func(a, b Pool) int { return api.AgeOf(a.Object).Compare(api.AgeOf(b.Object)) })
	for i := range byAge {
		byAge[i].read(byAge[:i], pods, services, reserved)
	}
	slices.SortFunc(byAge, func(a, b Pool) int {
		return cmp.Or(cmp.Compare(b.Object.Spec.Priority, a.Object.Spec.Priority), cmp.Compare(a.Object.Name, b.Object.Name))
	})
	return byAge
}

// read reads the pool's object, beside pools that are older.
func (p *Pool) read(elder []Pool, pods, services []netip.Prefix, reserved lb.Reserved) {
	wrong := func(reason, format string, args ...any) { p.Reason, p.Message = reason, fmt.Sprintf(format, args...) }
	var err error
	if p.Ranges, err = alloc.ParseRanges(p.Object.Spec.Addresses); err != nil {
		wrong("WrongAddresses", "spec.addresses: %v", err)
		return
	}
	p.services, p.namespaces = selector(p.Object.Spec.ServiceSelector), selector(p.Object.Spec.NamespaceSelector)
	for what, prefixes := range map[string][]netip.Prefix{"of pods": pods, "of Services": services} {
		for _, prefix := range prefixes {
			if p.Ranges.Overlaps(alloc.RangeOf(prefix)) {
				wrong("OverlapsCluster", "it overlaps %s, the addresses %s of this cluster", prefix, what)
				return
			}
		}
	}
	for i := range elder {
		if r := slices.IndexFunc(p.Ranges, elder[i].Ranges.Overlaps); r >= 0 {
			wrong("OverlapsPool", "%s overlaps pool %s, which is older", p.Ranges[r], elder[i].Object.Name)
			return
		}
	}
	wrong(Usable, "addresses are given from this pool")
	var own []string
	for a, what := range reserved.Addrs {
		if p.Ranges.Contains(a) {
			own = append(own, fmt.Sprintf("%s is %s", a, what))
		}
	}
	if len(own) > 0 {
		slices.Sort(own)
		p.Message += "; not given are: " + strings.Join(own, ", ")
	}
}

// selector is what a selector of labels means; nil selects everything. The server has checked its syntax.
func selector(s *metav1.LabelSelector) labels.Selector {
	if s == nil {
		return labels.Everything()
	}
	selects, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return labels.Nothing()
	}
	return selects
}

// PoolOf is the pool that an address is in, usable or not; nil: none.
func PoolOf(pools []Pool, a netip.Addr) *Pool {
	i := slices.IndexFunc(pools, func(p Pool) bool { return p.Ranges.Contains(a) })
	if i < 0 {
		return nil
	}
	return &pools[i]
}

// Announced reports whether an address is to be announced in a way, as its pool says.
func Announced(pools []Pool, a netip.Addr, by kinds.Announcement) bool {
	p := PoolOf(pools, a)
	return p != nil && p.Object.Announces(by)
}

// Count is how many of the pool's addresses some Service has, and how many are left.
func (p *Pool) Count(taken []netip.Addr) (assigned, free int64) {
	for _, a := range taken {
		if p.Ranges.Contains(a) {
			assigned++
		}
	}
	return assigned, max(0, p.Ranges.Size()-assigned)
}

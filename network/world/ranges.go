package world

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
)

// registerRanges gives a World the table of ServiceCIDRs, which nobody fills before a Service has an address outside of the ranges that are
// known without them: most clusters never have another.
func (w *World) registerRanges() {
	w.ranges = newTable(w, row[*networkingv1.ServiceCIDR]{
		kind: ServiceCIDRs, empty: &networkingv1.ServiceCIDR{},
		read: func(c kubernetes.Interface) *cache.ListWatch { return reading(c.NetworkingV1().ServiceCIDRs()) },
		trim: func(r *networkingv1.ServiceCIDR) { r.Status = networkingv1.ServiceCIDRStatus{} },
		alike: func(before, after *networkingv1.ServiceCIDR) bool {
			return slices.Equal(before.Spec.CIDRs, after.Spec.CIDRs)
		},
	})
}

// Beyond has found called, once and by a goroutine of its own, when the World is synced and there is a Service with an address in none of
// the known ranges.
func (w *World) Beyond(known []netip.Prefix, found func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.known, w.outside = known, found
	for _, s := range w.services.objects {
		w.lookBeyond(s)
	}
}

// lookBeyond looks at the addresses of a Service. The caller holds mu.
func (w *World) lookBeyond(s *corev1.Service) {
	if w.outside == nil {
		return
	}
	for _, text := range s.Spec.ClusterIPs {
		if a, err := netip.ParseAddr(text); err == nil && !slices.ContainsFunc(w.known, func(p netip.Prefix) bool { return p.Contains(a) }) {
			found := w.outside
			w.outside = nil
			go func() {
				<-w.synced
				found()
			}()
			return
		}
	}
}

// FurtherRanges are the ranges of ServiceCIDRs that lie in none of the known ones, each once, sorted.
func (w *World) FurtherRanges(known []netip.Prefix) []netip.Prefix {
	w.mu.RLock()
	defer w.mu.RUnlock()
	var further []netip.Prefix
	for _, object := range w.ranges.objects {
		for _, text := range object.Spec.CIDRs {
			p, err := netip.ParsePrefix(text)
			within := func(k netip.Prefix) bool { return k.Bits() <= p.Bits() && k.Contains(p.Addr()) }
			if err == nil && !slices.ContainsFunc(known, within) {
				further = append(further, p.Masked())
			}
		}
	}
	slices.SortFunc(further, netip.Prefix.Compare)
	return slices.Compact(further)
}

package node

import (
	"net/netip"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/node/spec"
)

// searches knows the pods of this node by their addresses, and what they append to short names: the search list of their
// resolv.conf, if they resolve names by the cluster's DNS. A server that knows it can try for them.
type searches struct {
	mu     sync.RWMutex
	byAddr map[netip.Addr]searchList
}

type searchList struct {
	pod     types.UID
	domains []string
}

// Searches is the search list of the pod of this node that has the address, if it resolves names by the cluster's DNS.
// Pods on the node's network have none: their address says nothing. It may be called from any goroutine.
func (a *Agent) Searches(ip netip.Addr) []string {
	a.searches.mu.RLock()
	defer a.searches.mu.RUnlock()
	return a.searches.byAddr[ip].domains
}

// has says whether a pod of this node has an address of its own.
func (s *searches) has(ip netip.Addr) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	_, ok := s.byAddr[ip]
	return ok
}

// set makes addrs the pod's addresses. One that was another pod's is this one's now.
func (s *searches) set(pod types.UID, addrs, domains []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ip, list := range s.byAddr {
		if list.pod == pod {
			delete(s.byAddr, ip)
		}
	}
	for _, text := range addrs {
		if ip, err := netip.ParseAddr(text); err == nil {
			s.byAddr[ip] = searchList{pod, domains}
		}
	}
}

// updateSearches takes in the addresses that the pod was last seen with.
func (w *worker) updateSearches() {
	var addrs []string
	if s := w.seen.Ready(); s != nil && !w.pod.Spec.HostNetwork {
		addrs = s.IPs
	}
	if slices.Equal(addrs, w.searchAddrs) {
		return
	}
	w.searchAddrs = addrs
	var domains []string
	if w.pod.Spec.DNSPolicy == corev1.DNSClusterFirst {
		r, _ := spec.PodResolver(w.pod, w.a.node())
		domains = r.Searches
	}
	w.a.searches.set(w.uid, addrs, domains)
}

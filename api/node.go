package api

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
)

// NodeCondition is the first condition of a type in a node's list, nil when there is none.
func NodeCondition(list []corev1.NodeCondition, kind corev1.NodeConditionType) *corev1.NodeCondition {
	for i := range list {
		if list[i].Type == kind {
			return &list[i]
		}
	}
	return nil
}

// NodeReady reports whether a node's Ready condition is True. Unknown, which is what becomes of a silent node's, is not ready.
func NodeReady(n *corev1.Node) bool {
	c := NodeCondition(n.Status.Conditions, corev1.NodeReady)
	return c != nil && c.Status == corev1.ConditionTrue
}

// InternalIPs are the addresses by which a node says that the others reach it, the first of them the node's main one. What is no
// address is left out.
func InternalIPs(n *corev1.Node) []netip.Addr { return nodeAddresses(n, corev1.NodeInternalIP) }

// NodeIPs are all addresses of a node, also those by which it is reached from outside of the cluster.
func NodeIPs(n *corev1.Node) []netip.Addr {
	return nodeAddresses(n, corev1.NodeInternalIP, corev1.NodeExternalIP)
}

func nodeAddresses(n *corev1.Node, kinds ...corev1.NodeAddressType) []netip.Addr {
	var all []netip.Addr
	for _, a := range n.Status.Addresses {
		for _, kind := range kinds {
			if ip, err := netip.ParseAddr(a.Address); err == nil && a.Type == kind {
				all = append(all, ip.Unmap())
			}
		}
	}
	return all
}

// PodRanges are the ranges from which a node's pods have their addresses, one of each family at the most. What is no range is
// left out.
func PodRanges(n *corev1.Node) []netip.Prefix {
	texts := n.Spec.PodCIDRs
	if len(texts) == 0 {
		texts = []string{n.Spec.PodCIDR}
	}
	var all []netip.Prefix
	for _, text := range texts {
		if p, err := netip.ParsePrefix(text); err == nil {
			all = append(all, p.Masked())
		}
	}
	return all
}

// NameServers are the addresses of a node's own DNS server for the pods of other nodes, whose server is not there: the first
// of each of its ranges, which host-local never gives to a pod.
func NameServers(n *corev1.Node) []netip.Addr {
	var all []netip.Addr
	for _, r := range PodRanges(n) {
		all = append(all, r.Addr().Next())
	}
	return all
}

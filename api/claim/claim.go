// Package claim judges what a machine says of itself when it becomes a node, and while it is one: its name and its
// addresses. Certificates are issued to the name, and other nodes route pods by the addresses, so neither may be one
// that belongs to the cluster itself or to somebody else. It only computes.
package claim

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"fairlead.dev/fairlead/api"
)

// Cluster is what belongs to the cluster itself.
type Cluster struct {
	Pods, Services []netip.Prefix
	API            []netip.Addr // where the API server answers
	Names          []string     // by which the API server is known
	Domain         string       // of the cluster's DNS
	// Own is the node that the control plane runs on: its addresses are the API server's, and nobody else gets its name.
	// Empty: the control plane is no node.
	Own string
}

// Name refuses what cannot be the name of a machine that asks to become a node.
func (c Cluster) Name(name string) error {
	if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
		return fmt.Errorf("node name %q: %s", name, strings.Join(problems, "; "))
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return fmt.Errorf("node name %q is an address", name)
	}
	if name == c.Own {
		return fmt.Errorf("node name %q is the control plane's own", name)
	}
	own := func(known string) bool { return strings.EqualFold(name, strings.TrimSuffix(known, ".")) }
	first, _, _ := strings.Cut(name, ".")
	switch {
	case slices.ContainsFunc(c.Names, own), first == "kubernetes", first == "localhost",
		name == "svc", strings.HasSuffix(name, ".svc"), below(name, "localhost"), c.Domain != "" && below(name, strings.TrimSuffix(c.Domain, ".")):
		return fmt.Errorf("node name %q is a name of the cluster itself", name)
	}
	return nil
}

// below reports whether a name is a domain or in it.
func below(name, domain string) bool {
	return strings.EqualFold(name, domain) || strings.HasSuffix(strings.ToLower(name), "."+strings.ToLower(domain))
}

// Addresses refuses what cannot be the addresses of the named node. There are others, whose addresses are theirs.
func (c Cluster) Addresses(name string, addrs []netip.Addr, others []*corev1.Node) error {
	for _, a := range addrs {
		if err := Usable(a, c.Pods, c.Services); err != nil {
			return err
		}
		if name != c.Own && slices.Contains(c.API, a.Unmap()) {
			return fmt.Errorf("address %s is the API server's", a)
		}
		for _, n := range others {
			if n.Name != name && slices.Contains(api.InternalIPs(n), a.Unmap()) {
				return fmt.Errorf("address %s is node %s's; delete that Node if its machine is gone", a, n.Name)
			}
		}
	}
	return nil
}

// Usable refuses an address that no machine can be reached at by others, or that lies in one of the cluster's ranges.
func Usable(a netip.Addr, ranges ...[]netip.Prefix) error {
	plain := a.Unmap()
	switch {
	case !a.IsValid():
		return fmt.Errorf("an address is missing")
	case a.Zone() != "":
		return fmt.Errorf("address %s has a zone", a)
	case !plain.IsGlobalUnicast() || plain == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Errorf("address %s is %s, nobody else can reach a machine there", a, kindOf(plain))
	}
	for _, r := range slices.Concat(ranges...) {
		if r.Contains(plain) {
			return fmt.Errorf("address %s is in %s, a range of the cluster's own", a, r)
		}
	}
	return nil
}

func kindOf(a netip.Addr) string {
	switch {
	case a.IsUnspecified():
		return "unspecified"
	case a.IsLoopback():
		return "a loopback address"
	case a.IsMulticast():
		return "a multicast address"
	case a.IsLinkLocalUnicast():
		return "link-local"
	}
	return "a broadcast address"
}

// PodAddresses refuses addresses that a node may not say one of its pods has: they lie in its own ranges, or are its own
// where the pod uses the node's network.
func PodAddresses(pod *corev1.Pod, n *corev1.Node) error {
	for _, text := range pod.Status.PodIPs {
		ip, err := netip.ParseAddr(text.IP)
		if err != nil {
			return fmt.Errorf("pod address %q is not an IP address", text.IP)
		}
		if pod.Spec.HostNetwork && slices.Contains(api.InternalIPs(n), ip) || !pod.Spec.HostNetwork && in(ip, api.PodRanges(n)) {
			continue
		}
		return fmt.Errorf("pod address %s is none of the node's", ip)
	}
	return nil
}

// in reports whether an address is in one of the ranges.
func in(ip netip.Addr, ranges []netip.Prefix) bool {
	return slices.ContainsFunc(ranges, func(r netip.Prefix) bool { return r.Contains(ip) })
}

// Status refuses addresses that a node may not publish of itself. A host name must be its own.
func (c Cluster) Status(name string, addresses []corev1.NodeAddress, others []*corev1.Node) error {
	for _, a := range addresses {
		switch a.Type {
		case corev1.NodeHostName, corev1.NodeInternalDNS, corev1.NodeExternalDNS:
			if a.Address != name {
				return fmt.Errorf("%s %q is not the node's name", a.Type, a.Address)
			}
		case corev1.NodeInternalIP, corev1.NodeExternalIP:
			ip, err := netip.ParseAddr(a.Address)
			if err != nil || ip.String() != a.Address || ip.Is4In6() {
				return fmt.Errorf("%s %q is not an IP address", a.Type, a.Address)
			}
			if err := c.Addresses(name, []netip.Addr{ip}, others); err != nil {
				return err
			}
		default:
			return fmt.Errorf("addresses of type %q are unknown", a.Type)
		}
	}
	return nil
}

//lint:file-ignore SA1019 Endpoints are deprecated but part of the API that clients read.

package lifecycle

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/api"
)

const dnsPort = 53

// NameServers are the endpoints of the cluster's DNS Service: every node's own server, at the first
// address of the node's pod range, which host-local never gives to a pod. A node's pods use its own server;
// these are where they go when it is not there. Those of a node that is not ready are not ready.
func NameServers(nodes []*corev1.Node) []corev1.EndpointSubset {
	set := corev1.EndpointSubset{Ports: []corev1.EndpointPort{
		{Name: "dns", Port: dnsPort, Protocol: corev1.ProtocolUDP}, {Name: "dns-tcp", Port: dnsPort, Protocol: corev1.ProtocolTCP},
	}}
	for _, n := range nodes {
		for _, cidr := range api.PodRanges(n) {
			at := corev1.EndpointAddress{IP: cidr.Masked().Addr().Next().String(), NodeName: &n.Name}
			if api.NodeReady(n) {
				set.Addresses = append(set.Addresses, at)
			} else {
				set.NotReadyAddresses = append(set.NotReadyAddresses, at)
			}
		}
	}
	if len(set.Addresses)+len(set.NotReadyAddresses) == 0 {
		return nil
	}
	for _, list := range [][]corev1.EndpointAddress{set.Addresses, set.NotReadyAddresses} {
		slices.SortFunc(list, func(a, b corev1.EndpointAddress) int {
			return netip.MustParseAddr(a.IP).Compare(netip.MustParseAddr(b.IP))
		})
	}
	return []corev1.EndpointSubset{set}
}

//lint:file-ignore SA1019 Endpoints are deprecated but part of the API that clients read.

package nodes

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	dnsName = "kube-dns"
	dnsPort = 53
	// dnsRecheck is how often the object is compared with what it should be, though no node changed.
	dnsRecheck = time.Minute
)

// NameServers are the endpoints of the cluster's DNS Service: every node's own server, at the first
// address of the node's pod range, which host-local never gives to a pod. A node's pods use its own server;
// these are where they go when it is not there. Those of a node that is not ready are not ready.
func NameServers(nodes []*corev1.Node) []corev1.EndpointSubset {
	set := corev1.EndpointSubset{Ports: []corev1.EndpointPort{
		{Name: "dns", Port: dnsPort, Protocol: corev1.ProtocolUDP}, {Name: "dns-tcp", Port: dnsPort, Protocol: corev1.ProtocolTCP},
	}}
	for _, n := range nodes {
		for _, cidr := range cidrs(n) {
			at := corev1.EndpointAddress{IP: cidr.Masked().Addr().Next().String(), NodeName: &n.Name}
			if status(n.Status.Conditions, corev1.NodeReady) == corev1.ConditionTrue {
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

// syncNameServers brings the Endpoints of the DNS Service in line with the nodes. The controller that
// mirrors Endpoints makes the slices.
func (c *Controller) syncNameServers(ctx context.Context, _ string) (time.Duration, error) {
	var nodes []*corev1.Node
	for _, obj := range c.nodes.GetIndexer().List() {
		nodes = append(nodes, obj.(*corev1.Node))
	}
	slices.SortFunc(nodes, func(a, b *corev1.Node) int { return strings.Compare(a.Name, b.Name) })
	want := NameServers(nodes)
	endpoints := c.client.CoreV1().Endpoints(metav1.NamespaceSystem)
	have, err := endpoints.Get(ctx, dnsName, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		_, err = endpoints.Create(ctx, &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Name: dnsName}, Subsets: want}, metav1.CreateOptions{})
	case err == nil && !apiequality.Semantic.DeepEqual(have.Subsets, want):
		have.Subsets = want
		_, err = endpoints.Update(ctx, have, metav1.UpdateOptions{})
	}
	if err != nil {
		return 0, fmt.Errorf("endpoints %s/%s: %w", metav1.NamespaceSystem, dnsName, err)
	}
	return dnsRecheck, nil
}

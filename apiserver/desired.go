//lint:file-ignore SA1019 Endpoints are deprecated but part of the API that clients read.

package apiserver

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"fairlead.dev/fairlead/api"
)

const (
	apiPortName = "https"
	apiPort     = 443
	dnsPort     = 53
	// DNSProxyName marks the DNS Service as served by every node itself: a proxy that is not called by this
	// name leaves it alone.
	DNSProxyName = "fairlead-dns"
)

// namespaces are those every cluster has from its first moment.
func namespaces() []string {
	return []string{metav1.NamespaceDefault, metav1.NamespaceSystem, metav1.NamespacePublic, corev1.NamespaceNodeLease}
}

// apiService is default/kubernetes, by which pods find the API. It has no selector: its endpoints are the
// API servers themselves.
func apiService(cluster netip.Addr, target uint16) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: api.APIService.Namespace, Name: api.APIService.Name,
			Labels: map[string]string{"component": "apiserver", "provider": "kubernetes"},
		},
		Spec: clusterSpec([]netip.Addr{cluster},
			corev1.ServicePort{Name: apiPortName, Protocol: corev1.ProtocolTCP, Port: apiPort, TargetPort: intstr.FromInt32(int32(target))}),
	}
}

// clusterSpec is a Service without a selector at fixed cluster addresses, the primary family first.
func clusterSpec(at []netip.Addr, ports ...corev1.ServicePort) corev1.ServiceSpec {
	policy := corev1.IPFamilyPolicySingleStack
	if len(at) > 1 {
		policy = corev1.IPFamilyPolicyRequireDualStack
	}
	ips := make([]string, len(at))
	for i, a := range at {
		ips[i] = a.String()
	}
	return corev1.ServiceSpec{
		Type: corev1.ServiceTypeClusterIP, ClusterIP: ips[0], ClusterIPs: ips, IPFamilyPolicy: &policy,
		Ports: ports, SessionAffinity: corev1.ServiceAffinityNone,
	}
}

// apiEndpoints is where apiService sends to, in the older form. The label keeps the mirroring controller
// from making a second EndpointSlice of it.
func apiEndpoints(at netip.AddrPort) *corev1.Endpoints {
	return &corev1.Endpoints{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: api.APIService.Namespace, Name: api.APIService.Name,
			Labels: map[string]string{discoveryv1.LabelSkipMirror: "true"},
		},
		Subsets: []corev1.EndpointSubset{{
			Addresses: []corev1.EndpointAddress{{IP: at.Addr().String()}},
			Ports:     []corev1.EndpointPort{{Name: apiPortName, Port: int32(at.Port()), Protocol: corev1.ProtocolTCP}},
		}},
	}
}

// apiSlice is where apiService sends to.
func apiSlice(at netip.AddrPort) *discoveryv1.EndpointSlice {
	name, port, protocol, ready := apiPortName, int32(at.Port()), corev1.ProtocolTCP, true
	family := discoveryv1.AddressTypeIPv4
	if at.Addr().Is6() {
		family = discoveryv1.AddressTypeIPv6
	}
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: api.APIService.Namespace, Name: api.APIService.Name,
			Labels: map[string]string{discoveryv1.LabelServiceName: api.APIService.Name},
		},
		AddressType: family,
		Endpoints: []discoveryv1.Endpoint{{
			Addresses: []string{at.Addr().String()}, Conditions: discoveryv1.EndpointConditions{Ready: &ready},
		}},
		Ports: []discoveryv1.EndpointPort{{Name: &name, Port: &port, Protocol: &protocol}},
	}
}

// dnsService is kube-system/kube-dns, the addresses in every pod's resolv.conf. Its labels are those tools
// look for (kubectl cluster-info lists kubernetes.io/cluster-service).
func dnsService(cluster []netip.Addr) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: api.DNSService.Namespace, Name: api.DNSService.Name,
			Labels: map[string]string{
				"k8s-app":                       api.DNSService.Name,
				"kubernetes.io/cluster-service": "true",
				"kubernetes.io/name":            "FairleadDNS",
				api.LabelServiceProxyName:       DNSProxyName,
			},
		},
		Spec: clusterSpec(cluster,
			corev1.ServicePort{Name: "dns", Protocol: corev1.ProtocolUDP, Port: dnsPort, TargetPort: intstr.FromInt32(dnsPort)},
			corev1.ServicePort{Name: "dns-tcp", Protocol: corev1.ProtocolTCP, Port: dnsPort, TargetPort: intstr.FromInt32(dnsPort)}),
	}
}

package lb_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/network/lb"
)

// TestP63_ClusterAddressesAreNobodysFrontend claims addresses by status.loadBalancer and by spec.externalIPs, in every spelling.
func TestP63_ClusterAddressesAreNobodysFrontend(t *testing.T) {
	node := func(name, ip string) *corev1.Node {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.NodeSpec{PodCIDRs: []string{"10.244.1.0/24", "fd00:10:244:1::/64"}},
			Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: ip}, {Type: corev1.NodeHostName, Address: name}}}}
	}
	api := &discoveryv1.EndpointSlice{Ports: []discoveryv1.EndpointPort{{Port: ptr.To[int32](6443)}}, Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"192.0.2.1"}}}}
	p := netip.MustParsePrefix
	r := lb.NewReserved([]*corev1.Node{node("n1", "192.0.2.11"), node("n2", "2001:db8::b")}, []*discoveryv1.EndpointSlice{api},
		[]netip.Prefix{p("10.244.0.0/16")}, []netip.Prefix{p("10.96.0.0/12"), p("fd00:10:96::/112")})
	reasons := map[string]string{
		"192.0.2.1": "the address of the API server", "192.0.2.11": "the address of node n1", "2001:db8::b": "the address of node n2",
		"10.96.0.1": "in the range of cluster addresses", "10.96.0.10": "in the range of cluster addresses", "fd00:10:96::a": "in the range of cluster addresses",
		"10.244.7.7": "in the range of pods", "fd00:10:244:1::2": "in the range of pods",
		"127.0.0.1": "a loopback address", "127.8.8.8": "a loopback address", "::1": "a loopback address",
		"0.0.0.0": "the unspecified address", "0.0.0.1": "the unspecified address", "::": "the unspecified address",
		"169.254.169.254": "a link-local address", "fe80::1": "a link-local address", "fe80::1%eth0": "a link-local address",
		"224.0.0.1": "a multicast address", "ff02::1": "a multicast address", "255.255.255.255": "the broadcast address",
		"::ffff:192.0.2.1": "the address of the API server", "::ffff:198.51.100.1": "an IPv4 address written as IPv6", "2001:db8::b%eth0": "the address of node n2",
		"198.51.100.1": "", "8.8.8.8": "", "192.0.2.12": "", "2001:db8::c": "",
	}
	for text, want := range reasons {
		if got := r.Why(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s is %q, want %q", text, got, want)
		}
		for _, by := range []string{"status", "externalIPs"} {
			got := claimed(text, by, r)
			if by == "externalIPs" && strings.HasPrefix(want, "the address of node") && netip.MustParseAddr(text).Zone() == "" {
				want = "" // which may be named, but for the ports of the cluster itself
			}
			if served := slices.Contains(got, text); served != (want == "") {
				t.Errorf("%s by %s: frontends are %v, and it is %q", text, by, got, want)
			}
			if len(got) != 2 && want == "" || len(got) != 1 && want != "" {
				t.Errorf("%s by %s: frontends are %v", text, by, got)
			}
		}
	}
}

// claimed returns where a Service answers that claims an address, in the address's family.
func claimed(text, by string, r lb.Reserved) (addrs []string) {
	a := netip.MustParseAddr(text)
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}}
	s.Spec.Type, s.Spec.ClusterIPs, s.Spec.Ports = corev1.ServiceTypeLoadBalancer, []string{"10.96.9.9", "fd00:10:96::9"}, []corev1.ServicePort{{Port: 6443}}
	if by == "status" {
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: text}}
	} else {
		s.Spec.ExternalIPs = []string{text}
	}
	for _, f := range lb.Derive(s, nil, lb.Node{Name: "n1", IPv6: a.Is6(), Reserved: r}).Frontends {
		addrs = append(addrs, f.Addr.Addr().String())
	}
	return addrs
}

// TestP63_NamedAddressesOfNodes: spec.externalIPs may name a node's own address, but not what the cluster listens on there.
func TestP63_NamedAddressesOfNodes(t *testing.T) {
	at := netip.MustParseAddrPort("192.0.2.1:6443")
	r := lb.NewReserved(nil, nil, nil, nil)
	r.AddAPI(at)
	s := &corev1.Service{}
	s.Spec.Type, s.Spec.ClusterIPs, s.Spec.ExternalIPs = corev1.ServiceTypeClusterIP, []string{"10.96.9.9"}, []string{at.Addr().String()}
	s.Spec.Ports = []corev1.ServicePort{{Port: 80}, {Port: 6443}, {Port: 6443, Protocol: corev1.ProtocolUDP}}
	var named []string
	for _, f := range lb.Derive(s, nil, lb.Node{Name: "n1", Reserved: r}).Frontends {
		if f.Kind == lb.ExternalIP {
			named = append(named, fmt.Sprint(f.Proto, " ", f.Addr))
		}
	}
	if want := []string{fmt.Sprint(lb.TCP, " 192.0.2.1:80"), fmt.Sprint(lb.UDP, " 192.0.2.1:6443")}; !slices.Equal(named, want) {
		t.Errorf("%v, want %v", named, want)
	}
}

// TestP63_NodePortsLeaveTheAPIServersPortAlone has node ports where the API server and the node itself listen.
func TestP63_NodePortsLeaveTheAPIServersPortAlone(t *testing.T) {
	at := netip.MustParseAddrPort("192.0.2.1:30443")
	r := lb.NewReserved(nil, nil, nil, nil)
	r.AddAPI(at)
	for _, proto := range []corev1.Protocol{corev1.ProtocolTCP, corev1.ProtocolUDP} {
		s := &corev1.Service{}
		s.Spec.Type, s.Spec.ClusterIPs = corev1.ServiceTypeNodePort, []string{"10.96.9.9"}
		s.Spec.Ports = []corev1.ServicePort{{Port: 80, Protocol: proto, NodePort: int32(at.Port())}}
		rows := lb.Derive(s, nil, lb.Node{Name: "n1", Addrs: []netip.Addr{at.Addr(), netip.MustParseAddr("192.0.2.2")}, Reserved: r})
		var kinds []string
		for _, f := range rows.Frontends {
			kinds = append(kinds, fmt.Sprint(f.Kind, " ", f.Addr))
		}
		want := []string{"ClusterIP 10.96.9.9:80", "NodePort 192.0.2.2:30443"}
		if proto == corev1.ProtocolUDP {
			want = slices.Insert(want, 1, "NodePort 192.0.2.1:30443")
		}
		if !slices.Equal(kinds, want) {
			t.Errorf("%s: %v, want %v", proto, kinds, want)
		}
	}
}

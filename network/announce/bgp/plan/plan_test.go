package plan

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/api/kinds"
)

func node(labels map[string]string) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: labels}, Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{
		{Type: corev1.NodeInternalIP, Address: "192.0.2.11"}, {Type: corev1.NodeInternalIP, Address: "2001:db8::11"},
	}}}
}

// service is a Service of both families with addresses of a load balancer.
func service(policy corev1.ServiceExternalTrafficPolicy, addrs ...string) *corev1.Service {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "web"}, Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeLoadBalancer, ClusterIP: "10.96.0.9", ClusterIPs: []string{"10.96.0.9", "fd00::9"}, ExternalTrafficPolicy: policy,
		IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}, Ports: []corev1.ServicePort{{Port: 80}},
	}}
	for _, a := range addrs {
		s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: a})
	}
	return s
}

// endpoints are IPv4 endpoints on nodes, each written as node, node! for a terminating one that serves, or node? for one that is not ready.
func endpoints(on ...string) []*discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: ptr.To(""), Port: ptr.To(int32(80)), Protocol: ptr.To(corev1.ProtocolTCP)}}}
	for i, name := range on {
		ready, terminating := !strings.ContainsAny(name, "!?"), strings.HasSuffix(name, "!")
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses: []string{fmt.Sprintf("10.244.0.%d", i+1)}, NodeName: ptr.To(strings.Trim(name, "!?")),
			Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(ready), Serving: ptr.To(ready || terminating), Terminating: ptr.To(terminating)},
		})
	}
	return []*discoveryv1.EndpointSlice{s}
}

const (
	anywhere = corev1.ServiceExternalTrafficPolicyCluster
	here     = corev1.ServiceExternalTrafficPolicyLocal
)

// Which addresses a node announces.
func TestAnnounced(t *testing.T) {
	gateway := service(anywhere, "203.0.113.1")
	gateway.Annotations = map[string]string{api.AnnotationL7: api.L7Gateway}
	external := service(anywhere)
	external.Spec.Type, external.Spec.ExternalIPs = corev1.ServiceTypeClusterIP, []string{"198.51.100.7", "192.0.2.11"}
	proxied := service(anywhere, "203.0.113.1")
	proxied.Status.LoadBalancer.Ingress[0].IPMode = ptr.To(corev1.LoadBalancerIPModeProxy)
	theirs := service(anywhere, "203.0.113.1")
	theirs.Labels = map[string]string{"service.kubernetes.io/service-proxy-name": "other"}
	for what, test := range map[string]struct {
		svc    *corev1.Service
		slices []*discoveryv1.EndpointSlice
		labels map[string]string
		want   string
	}{
		"an endpoint on another node":                    {service(anywhere, "203.0.113.1"), endpoints("n2"), nil, "map[203.0.113.1:false]"},
		"no endpoint":                                    {service(anywhere, "203.0.113.1"), nil, nil, "map[]"},
		"an endpoint that is not ready":                  {service(anywhere, "203.0.113.1"), endpoints("n1?"), nil, "map[]"},
		"only one that is about to end, and serves":      {service(anywhere, "203.0.113.1"), endpoints("n2!"), nil, "map[203.0.113.1:false]"},
		"the other family has no endpoint":               {service(anywhere, "203.0.113.1", "2001:db8:ff::1"), endpoints("n2"), nil, "map[203.0.113.1:false]"},
		"local: an endpoint here":                        {service(here, "203.0.113.1"), endpoints("n1", "n2"), nil, "map[203.0.113.1:false]"},
		"local: one here that is about to end":           {service(here, "203.0.113.1"), endpoints("n1!"), nil, "map[203.0.113.1:false]"},
		"local: an endpoint on another node":             {service(here, "203.0.113.1"), endpoints("n2"), nil, "map[]"},
		"local: one here that is not ready":              {service(here, "203.0.113.1"), endpoints("n1?", "n2"), nil, "map[]"},
		"a node that is excluded":                        {service(anywhere, "203.0.113.1"), endpoints("n1"), map[string]string{corev1.LabelNodeExcludeBalancers: ""}, "map[]"},
		"a Gateway's, which the engine of a node serves": {gateway, nil, nil, "map[203.0.113.1:false]"},
		"external IPs, one of them the node's own":       {external, endpoints("n2"), nil, "map[198.51.100.7:true]"},
		"an address that leads to a proxy elsewhere":     {proxied, endpoints("n1"), nil, "map[]"},
		"another proxy's Service":                        {theirs, endpoints("n1"), nil, "map[]"},
	} {
		n := node(test.labels)
		got := Announced(n, [][]Served{Serves(test.svc, test.slices, n, []netip.AddrPort{netip.MustParseAddrPort("169.254.255.70:7070")})})
		if fmt.Sprint(got) != test.want {
			t.Errorf("%s: %v, want %s", what, got, test.want)
		}
	}
}

// Services that share an address: one without any endpoint does not matter, one that is local elsewhere does.
func TestSharedAddress(t *testing.T) {
	n := node(nil)
	serves := func(policy corev1.ServiceExternalTrafficPolicy, on ...string) []Served {
		return Serves(service(policy, "203.0.113.1"), endpoints(on...), n, nil)
	}
	for what, test := range map[string]struct {
		all  [][]Served
		want int
	}{
		"one has no endpoint":       {[][]Served{serves(anywhere, "n2"), serves(anywhere)}, 1},
		"none has an endpoint":      {[][]Served{serves(anywhere), serves(here)}, 0},
		"one is local elsewhere":    {[][]Served{serves(anywhere, "n1"), serves(here, "n2")}, 0},
		"both are local, both here": {[][]Served{serves(here, "n1"), serves(here, "n1", "n2")}, 1},
	} {
		if got := Announced(n, test.all); len(got) != test.want {
			t.Errorf("%s: %v", what, got)
		}
	}
}

func bgpPeer(name, address string, age int, change func(*kinds.BGPPeerSpec)) *kinds.BGPPeer {
	p := &kinds.BGPPeer{
		ObjectMeta: metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(time.Unix(int64(1000-age), 0))},
		Spec:       kinds.BGPPeerSpec{PeerAddress: address, PeerPort: 179, PeerASN: 64512, LocalASN: 64513},
	}
	if change != nil {
		change(&p.Spec)
	}
	return p
}

// What each router is told.
func TestWishes(t *testing.T) {
	pools := []*kinds.AddressPool{
		{ObjectMeta: metav1.ObjectMeta{Name: "lan"}, Spec: kinds.AddressPoolSpec{Addresses: []string{"203.0.113.0/28"}}},
		{ObjectMeta: metav1.ObjectMeta{Name: "quiet"}, Spec: kinds.AddressPoolSpec{Addresses: []string{"203.0.113.16/28"}, Announce: []kinds.Announcement{kinds.AnnounceL2}}},
		{ObjectMeta: metav1.ObjectMeta{Name: "six"}, Spec: kinds.AddressPoolSpec{Addresses: []string{"2001:db8:ff::/120"}}},
	}
	a := netip.MustParseAddr
	announced := map[netip.Addr]bool{a("203.0.113.1"): false, a("203.0.113.17"): false, a("2001:db8:ff::1"): false, a("198.51.100.7"): true, a("198.51.100.8"): false}
	passwords := map[string]Password{"good": {Text: "sesame"}, "bad": {Problem: "no password: secrets \"bad\" not found"}}
	for what, test := range map[string]struct {
		peers []*kinds.BGPPeer
		want  string
	}{
		"all pools, and external IPs": {[]*kinds.BGPPeer{bgpPeer("a", "192.0.2.1", 0, nil)},
			"a 192.0.2.1:179 id 192.0.2.11 hops 2001:db8::11: 198.51.100.7/32 203.0.113.1/32 2001:db8:ff::1/128\n"},
		"one pool, with attributes": {[]*kinds.BGPPeer{bgpPeer("a", "2001:db8::1", 0, func(s *kinds.BGPPeerSpec) {
			s.RouterID, s.LocalASN = "10.0.0.1", 64512
			s.Pools = []kinds.BGPPeerPool{{Name: "lan", Communities: []string{"1:2", "1:2:3"}, LocalPreference: ptr.To(int64(200))}, {Name: "quiet"}, {Name: "none"}}
		})}, "a [2001:db8::1]:179 id 10.0.0.1 hops 192.0.2.11: 203.0.113.1/32[1:2 1:2:3 200]\n"},
		"passwords": {[]*kinds.BGPPeer{
			bgpPeer("a", "192.0.2.1", 0, func(s *kinds.BGPPeerSpec) {
				s.PasswordSecret, s.Pools = &kinds.PasswordSecret{Name: "good"}, []kinds.BGPPeerPool{{Name: "none"}}
			}),
			bgpPeer("b", "192.0.2.2", 0, func(s *kinds.BGPPeerSpec) { s.PasswordSecret = &kinds.PasswordSecret{Name: "bad"} }),
		}, "a 192.0.2.1:179 id 192.0.2.11 hops 2001:db8::11 password sesame:\nb: no password: secrets \"bad\" not found\n"},
		"one router twice": {[]*kinds.BGPPeer{
			bgpPeer("a", "192.0.2.1", 0, func(s *kinds.BGPPeerSpec) { s.Pools = []kinds.BGPPeerPool{{Name: "none"}} }),
			bgpPeer("b", "192.0.2.1", 9, func(s *kinds.BGPPeerSpec) { s.Pools = []kinds.BGPPeerPool{{Name: "none"}} }),
		}, "b 192.0.2.1:179 id 192.0.2.11 hops 2001:db8::11:\na: router 192.0.2.1:179 is that of BGPPeer b already, which is older\n"},
	} {
		wishes, problems := Wishes(node(nil), test.peers, pools, passwords, announced)
		if got := printed(wishes, problems); got != test.want {
			t.Errorf("%s:\n%swant:\n%s", what, got, test.want)
		}
	}
}

func printed(wishes []Wish, problems map[string]string) string {
	var b strings.Builder
	for _, w := range wishes {
		hops := w.Peer.NextHop4
		if !hops.IsValid() {
			hops = w.Peer.NextHop6
		}
		fmt.Fprintf(&b, "%s %s id %s hops %s", w.Peer.Name, w.Peer.At(), w.Peer.RouterID, hops)
		if w.Peer.Password != "" {
			b.WriteString(" password " + w.Peer.Password)
		}
		b.WriteString(":")
		for _, r := range w.Routes {
			fmt.Fprintf(&b, " %s", r.Prefix)
			if r.Communities != "" || r.LocalPref > 0 {
				fmt.Fprintf(&b, "[%s %d]", r.Communities, r.LocalPref)
			}
		}
		b.WriteString("\n")
	}
	for name, problem := range problems {
		fmt.Fprintf(&b, "%s: %s\n", name, problem)
	}
	return b.String()
}

// A BGPPeer is for the nodes that it selects; times and hops are as it says; a node without IPv4 has an id of its name.
func TestSelectedAndSettings(t *testing.T) {
	rack := bgpPeer("a", "192.0.2.1", 0, func(s *kinds.BGPPeerSpec) {
		s.NodeSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"rack": "a"}}
		s.HoldTimeSeconds, s.Multihop, s.GracefulRestartSeconds = ptr.To(int32(9)), ptr.To(int32(3)), ptr.To(int32(60))
	})
	if all := Selected(node(nil), []*kinds.BGPPeer{rack}); len(all) != 0 {
		t.Error("selected without the label")
	}
	all := Selected(node(map[string]string{"rack": "a"}), []*kinds.BGPPeer{rack, bgpPeer("b", "192.0.2.2", 0, nil)})
	if len(all) != 2 {
		t.Fatalf("%d selected, want both", len(all))
	}
	six := node(nil)
	six.Status.Addresses = six.Status.Addresses[1:]
	wishes, _ := Wishes(six, all[:1], nil, nil, nil)
	p := wishes[0].Peer
	if p.HoldTime != 9*time.Second || p.Hops != 3 || p.Restart != time.Minute || p.NextHop4.IsValid() || !p.RouterID.Is4() || p.RouterID.IsUnspecified() {
		t.Errorf("%+v", p)
	}
}

package api

import (
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestNodeReady(t *testing.T) {
	for name, c := range map[string]struct {
		conditions []corev1.NodeCondition
		want       bool
	}{
		"none":              {nil, false},
		"true":              {[]corev1.NodeCondition{{Type: corev1.NodeMemoryPressure, Status: corev1.ConditionFalse}, {Type: corev1.NodeReady, Status: corev1.ConditionTrue}}, true},
		"false":             {[]corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionFalse}}, false},
		"silent":            {[]corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionUnknown}}, false},
		"another condition": {[]corev1.NodeCondition{{Type: corev1.NodeMemoryPressure, Status: corev1.ConditionTrue}}, false},
	} {
		if got := NodeReady(&corev1.Node{Status: corev1.NodeStatus{Conditions: c.conditions}}); got != c.want {
			t.Errorf("%s: ready %v, want %v", name, got, c.want)
		}
	}
}

func TestNodeAddresses(t *testing.T) {
	n := &corev1.Node{Status: corev1.NodeStatus{Addresses: []corev1.NodeAddress{
		{Type: corev1.NodeHostName, Address: "10.9.9.9"}, {Type: corev1.NodeExternalIP, Address: "192.0.2.1"}, {Type: corev1.NodeInternalIP, Address: "10.0.0.1"},
		{Type: corev1.NodeInternalIP, Address: "nonsense"}, {Type: corev1.NodeInternalIP, Address: "::ffff:10.0.0.2"}, {Type: corev1.NodeInternalIP, Address: "fd00::1"},
	}}}
	if got, want := InternalIPs(n), addrs("10.0.0.1", "10.0.0.2", "fd00::1"); !slices.Equal(got, want) {
		t.Errorf("internal: %v, want %v", got, want)
	}
	if got, want := NodeIPs(n), addrs("192.0.2.1", "10.0.0.1", "10.0.0.2", "fd00::1"); !slices.Equal(got, want) {
		t.Errorf("all: %v, want %v", got, want)
	}
	if got := NodeIPs(&corev1.Node{}); len(got) != 0 {
		t.Errorf("a node without addresses has %v", got)
	}
}

func TestPodRanges(t *testing.T) {
	for name, c := range map[string]struct {
		spec    corev1.NodeSpec
		ranges  []netip.Prefix
		servers []netip.Addr
	}{
		"none yet":        {corev1.NodeSpec{}, nil, nil},
		"the older field": {corev1.NodeSpec{PodCIDR: "10.244.1.0/24"}, prefixes("10.244.1.0/24"), addrs("10.244.1.1")},
		"of both families": {corev1.NodeSpec{PodCIDR: "10.244.1.0/24", PodCIDRs: []string{"10.244.1.0/24", "fd00:1::/64"}},
			prefixes("10.244.1.0/24", "fd00:1::/64"), addrs("10.244.1.1", "fd00:1::1")},
		"not in canonical form": {corev1.NodeSpec{PodCIDRs: []string{"10.244.1.77/24"}}, prefixes("10.244.1.0/24"), addrs("10.244.1.1")},
		"nonsense among them":   {corev1.NodeSpec{PodCIDRs: []string{"x", "fd00:1::/64"}}, prefixes("fd00:1::/64"), addrs("fd00:1::1")},
	} {
		n := &corev1.Node{Spec: c.spec}
		if got := PodRanges(n); !slices.Equal(got, c.ranges) {
			t.Errorf("%s: %v, want %v", name, got, c.ranges)
		}
		if got := NameServers(n); !slices.Equal(got, c.servers) {
			t.Errorf("%s: name servers %v, want %v", name, got, c.servers)
		}
	}
}

func addrs(texts ...string) []netip.Addr {
	var all []netip.Addr
	for _, text := range texts {
		all = append(all, netip.MustParseAddr(text))
	}
	return all
}

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

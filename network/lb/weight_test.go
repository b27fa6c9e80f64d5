package lb_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/lb"
)

// weighing is a Service with slices, each as in "WEIGHT GROUP: LAST-BYTE-OF-ADDRESS ...", and what of it is a set.
func weighing(texts ...string) *lb.Set {
	s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP,
		ClusterIP: "10.96.0.1", ClusterIPs: []string{"10.96.0.1"}, Ports: []corev1.ServicePort{{Port: 80}}}}
	var all []*discoveryv1.EndpointSlice
	for i, text := range texts {
		head, addrs, _ := strings.Cut(text, ":")
		weight, group, _ := strings.Cut(head, " ")
		slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("s", i), Annotations: map[string]string{}}, AddressType: discoveryv1.AddressTypeIPv4,
			Ports: []discoveryv1.EndpointPort{{Name: ptr.To(""), Port: ptr.To(int32(8080))}}}
		if weight != "" {
			slice.Annotations[api.AnnotationWeight] = weight
		}
		if group != "" {
			slice.Annotations[api.AnnotationWeightGroup] = group
		}
		for _, a := range strings.Fields(addrs) {
			slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{"10.244.0." + a}})
		}
		all = append(all, slice)
	}
	rows := lb.Derive(s, all, lb.Node{Name: "n1", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}})
	return rows.Set("", lb.Cluster)
}

// P21: weights become the fewest shares that are near enough, and none where all get as much.
func TestP21_WeightsBecomeShares(t *testing.T) {
	for _, c := range []struct {
		slices []string
		want   string // last byte of the address, and its shares
	}{
		{[]string{": 1 2", ": 3"}, "1 2 3"},
		{[]string{"7: 1", "3: 2"}, "1x7 2x3"},
		{[]string{"90: 1", "10: 2"}, "1x9 2x1"},
		{[]string{"1: 1 2 3", "1: 4"}, "1x1 2x1 3x1 4x3"},
		{[]string{"50: 1", "50: 2"}, "1 2"},
		{[]string{"3: 1 2 3", "1: 4"}, "1 2 3 4"},
		{[]string{"2 blue: 1", "2 blue: 2", "1 green: 3"}, "1 2 3"},
		{[]string{"8 blue: 1", "8 blue: 2", "1 green: 3"}, "1x4 2x4 3x1"},
		{[]string{"3: 1", ": 2"}, "1x3 2x1"},
		{[]string{"0: 1", "1: 2", "2: 3"}, "2x1 3x2"},
		{[]string{"2: 1 2", "1: 2"}, "1x1 2x2"},
		{[]string{"x: 1 2", "-1: 3", "1000001: 4", "1.5: 5"}, "1 2 3 4 5"},
		{[]string{"999: 1", "1: 2"}, "1x990 2x1"},
		{[]string{"1000000: 1", "1: 2"}, "1x1000 2x1"},
		{[]string{"5:", "1: 1"}, "1"},
		{[]string{"0: 1"}, "refuse"},
	} {
		s, got := weighing(c.slices...), []string(nil)
		for i, b := range s.Backends {
			text := fmt.Sprint(b.Addr.Addr().As4()[3])
			if s.Shares != nil {
				text += fmt.Sprint("x", s.Shares[i])
			}
			got = append(got, text)
		}
		if s.Verdict != lb.Forward {
			got = append(got, s.Verdict.String())
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%q: %s, want %s", c.slices, strings.Join(got, " "), c.want)
		}
	}
}

// One that has several shares takes turns with the others.
func TestP21_PlacesAreMixed(t *testing.T) {
	text := ""
	for _, b := range weighing("4: 1", "2: 2", "1: 3").Places() {
		text += fmt.Sprint(b.Addr.Addr().As4()[3])
	}
	if text != "1213121" {
		t.Errorf("in turn: %s", text)
	}
}

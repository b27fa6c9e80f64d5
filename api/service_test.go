package api

import (
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

func TestSelects(t *testing.T) {
	some := map[string]string{"app": "web"}
	for name, c := range map[string]struct {
		spec corev1.ServiceSpec
		want bool
	}{
		"a selector":                  {corev1.ServiceSpec{Selector: some}, true},
		"none":                        {corev1.ServiceSpec{}, false},
		"an empty one":                {corev1.ServiceSpec{Selector: map[string]string{}}, false},
		"one of a Service by name":    {corev1.ServiceSpec{Selector: some, Type: corev1.ServiceTypeExternalName}, false},
		"one of a headless Service":   {corev1.ServiceSpec{Selector: some, ClusterIP: corev1.ClusterIPNone}, true},
		"one behind a load balancer":  {corev1.ServiceSpec{Selector: some, Type: corev1.ServiceTypeLoadBalancer}, true},
		"a name, and nothing else it": {corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName}, false},
	} {
		if got := Selects(&corev1.Service{Spec: c.spec}); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestMatches(t *testing.T) {
	for name, c := range map[string]struct {
		selector, labels map[string]string
		want             bool
	}{
		"one of two labels": {map[string]string{"app": "web"}, map[string]string{"app": "web", "tier": "front"}, true},
		"both":              {map[string]string{"app": "web", "tier": "front"}, map[string]string{"app": "web", "tier": "front"}, true},
		"another value":     {map[string]string{"app": "web"}, map[string]string{"app": "db"}, false},
		"a label too few":   {map[string]string{"app": "web", "tier": "front"}, map[string]string{"app": "web"}, false},
		"empty, not absent": {map[string]string{"app": ""}, map[string]string{}, false},
		"empty":             {map[string]string{"app": ""}, map[string]string{"app": ""}, true},
	} {
		if got := Matches(c.selector, c.labels); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestClusterAddresses(t *testing.T) {
	v4, v6 := corev1.IPv4Protocol, corev1.IPv6Protocol
	for name, c := range map[string]struct {
		spec     corev1.ServiceSpec
		headless bool
		ips      []string
		families []corev1.IPFamily
	}{
		"both families": {corev1.ServiceSpec{ClusterIP: "fd00::1", ClusterIPs: []string{"fd00::1", "10.96.0.1"}, IPFamilies: []corev1.IPFamily{v6, v4}},
			false, []string{"fd00::1", "10.96.0.1"}, []corev1.IPFamily{v6, v4}},
		"without the lists, IPv4": {corev1.ServiceSpec{ClusterIP: "10.96.0.1"}, false, []string{"10.96.0.1"}, []corev1.IPFamily{v4}},
		"without the lists, IPv6": {corev1.ServiceSpec{ClusterIP: "fd00::1"}, false, []string{"fd00::1"}, []corev1.IPFamily{v6}},
		"headless":                {corev1.ServiceSpec{ClusterIP: "None", ClusterIPs: []string{"None"}, IPFamilies: []corev1.IPFamily{v6}}, true, []string{"None"}, []corev1.IPFamily{v6}},
		"headless of old":         {corev1.ServiceSpec{ClusterIP: "None"}, true, []string{"None"}, []corev1.IPFamily{v4}},
		"by name":                 {corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName}, true, nil, []corev1.IPFamily{v4}},
	} {
		svc := &corev1.Service{Spec: c.spec}
		if got := Headless(svc); got != c.headless {
			t.Errorf("%s: headless %v, want %v", name, got, c.headless)
		}
		if got := ClusterIPs(svc); !slices.Equal(got, c.ips) {
			t.Errorf("%s: addresses %q, want %q", name, got, c.ips)
		}
		if got := Families(svc); !slices.Equal(got, c.families) {
			t.Errorf("%s: families %v, want %v", name, got, c.families)
		}
	}
}

func TestOthersServe(t *testing.T) {
	for name, c := range map[string]struct {
		labels map[string]string
		want   bool
	}{
		"no label":             {nil, false},
		"another's name":       {map[string]string{"service.kubernetes.io/service-proxy-name": "other"}, true},
		"an empty name":        {map[string]string{"service.kubernetes.io/service-proxy-name": ""}, true},
		"headless":             {map[string]string{"service.kubernetes.io/headless": ""}, true},
		"a label of one's own": {map[string]string{"app": "headless"}, false},
	} {
		if got := OthersServe(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Labels: c.labels}}); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestVIP(t *testing.T) {
	for mode, want := range map[*corev1.LoadBalancerIPMode]bool{
		nil: true, ptr.To(corev1.LoadBalancerIPModeVIP): true, ptr.To(corev1.LoadBalancerIPModeProxy): false,
	} {
		if got := VIP(&corev1.LoadBalancerIngress{IP: "192.0.2.1", IPMode: mode}); got != want {
			t.Errorf("mode %v: %v, want %v", ptr.Deref(mode, "unset"), got, want)
		}
	}
}

func TestPorts(t *testing.T) {
	for said, want := range map[corev1.Protocol]corev1.Protocol{"": "TCP", "TCP": "TCP", "UDP": "UDP", "SCTP": "SCTP"} {
		if got := Protocol(said); got != want {
			t.Errorf("protocol %q means %s, want %s", said, got, want)
		}
	}
	for target, want := range map[intstr.IntOrString]bool{{}: false, intstr.FromInt32(80): false, intstr.FromString(""): false, intstr.FromString("web"): true} {
		if got := NamedTarget(&corev1.ServicePort{TargetPort: target}); got != want {
			t.Errorf("target %q is named: %v, want %v", target.String(), got, want)
		}
	}
}

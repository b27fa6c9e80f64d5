package gateway

import (
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/l7/gateway"
	"fairlead.dev/fairlead/network/l7/route"
)

// Backends of a UDPRoute get what their weights say, each in all its slices together; one that is alone needs no weight, one of
// weight 0 has no slices.
func TestCopiesHaveWeights(t *testing.T) {
	named := func(name string) types.NamespacedName { return types.NamespacedName{Namespace: "shop", Name: name} }
	services, sources := map[types.NamespacedName]*corev1.Service{}, map[types.NamespacedName][]*discoveryv1.EndpointSlice{}
	for _, name := range []string{"blue", "green", "red"} {
		services[named(name)] = &corev1.Service{Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{
			{Name: "dns", Port: 53, Protocol: corev1.ProtocolUDP}, {Name: "other", Port: 54, Protocol: corev1.ProtocolUDP}, {Name: "http", Port: 80, Protocol: corev1.ProtocolTCP}}}}
		for i := range 2 {
			s := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprint(name, i)}, AddressType: discoveryv1.AddressTypeIPv4}
			for _, p := range services[named(name)].Spec.Ports {
				s.Ports = append(s.Ports, discoveryv1.EndpointPort{Name: ptr.To(p.Name), Port: ptr.To(p.Port + 8000), Protocol: ptr.To(p.Protocol)})
			}
			sources[named(name)] = append(sources[named(name)], s)
		}
	}
	of := func(name string, port, weight int32) route.Backend {
		return route.Backend{Service: named(name), Port: port, Weight: weight}
	}
	for i, c := range []struct {
		backends []route.Backend
		want     []string // of each slice
	}{
		{[]route.Backend{of("blue", 53, 7)}, []string{"8053 alone", "8053 alone"}},
		{[]route.Backend{of("blue", 53, 7), of("green", 53, 0), of("none", 53, 4), of("red", 80, 4)}, []string{"8053 alone", "8053 alone"}},
		{[]route.Backend{of("blue", 53, 7), of("green", 53, 3)}, []string{"8053 3 shop/green:53", "8053 3 shop/green:53", "8053 7 shop/blue:53", "8053 7 shop/blue:53"}},
		{[]route.Backend{of("blue", 53, 1), of("blue", 53, 4), of("blue", 54, 2)}, []string{"8053 5 shop/blue:53", "8053 5 shop/blue:53", "8054 2 shop/blue:54", "8054 2 shop/blue:54"}},
	} {
		all := copies(&corev1.Service{}, &gateway.UDP{Port: 5300, Backends: c.backends}, sources, func(n types.NamespacedName) *corev1.Service { return services[n] })
		var got []string
		names := map[string]bool{}
		for _, s := range all {
			text := fmt.Sprint(*s.Ports[0].Port, " alone")
			if weight, group := s.Annotations[api.AnnotationWeight], s.Annotations[api.AnnotationWeightGroup]; weight+group != "" {
				text = fmt.Sprint(*s.Ports[0].Port, " ", weight, " ", group)
			}
			got, names[s.Name] = append(got, text), true
		}
		if slices.Sort(got); !slices.Equal(got, c.want) || len(names) != len(all) {
			t.Errorf("case %d: %q, want %q; %d names", i, got, c.want, len(names))
		}
	}
}

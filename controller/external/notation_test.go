package external

//lint:file-ignore SA1019 v1 Endpoints are what the tests are about.

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/controller/external/healthcheck"
)

// service is the Service db with these annotations, each with its value.
func service(annotations ...string) *corev1.Service {
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "db", Annotations: map[string]string{}}}
	svc.Spec.Ports = []corev1.ServicePort{{Name: "mysql", Port: 3306}, {Name: "admin", Port: 80, TargetPort: intstr.FromInt32(8080)}}
	for i := 0; i < len(annotations); i += 2 {
		svc.Annotations[annotations[i]] = annotations[i+1]
	}
	return svc
}

// object reads "1 !2" as Endpoints with 192.0.2.1 ready and 192.0.2.2 not, both with port 3306.
func object(text string) *corev1.Endpoints {
	subset := corev1.EndpointSubset{Ports: []corev1.EndpointPort{{Name: "mysql", Port: 3306, Protocol: corev1.ProtocolTCP}}}
	for _, h := range strings.Fields(text) {
		if host, not := strings.CutPrefix(h, "!"); not {
			subset.NotReadyAddresses = append(subset.NotReadyAddresses, corev1.EndpointAddress{IP: "192.0.2." + host})
		} else {
			subset.Addresses = append(subset.Addresses, corev1.EndpointAddress{IP: "192.0.2." + h})
		}
	}
	return &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Name: "db"}, Subsets: []corev1.EndpointSubset{subset}}
}

// handSlice is the same as a slice.
func handSlice(text string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: "db-1"}, AddressType: discoveryv1.AddressTypeIPv4}
	s.Ports = []discoveryv1.EndpointPort{{Name: ptr.To("mysql"), Port: ptr.To[int32](3306)}}
	for _, e := range (healthcheck.View{Endpoints: object(text)}).List() {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{e.Addr.String()}, Conditions: discoveryv1.EndpointConditions{Ready: &e.Ready}})
	}
	return s
}

// show is the notation that object reads, in order, then | and which the annotation lists.
func show(v healthcheck.View, ejected map[string]bool) string {
	var hosts []string
	endpoints := v.List()
	slices.SortFunc(endpoints, func(a, b healthcheck.Endpoint) int { return a.Addr.Compare(b.Addr) })
	for _, e := range endpoints {
		hosts = append(hosts, map[bool]string{false: "!"}[e.Ready]+fmt.Sprint(e.Addr.As4()[3]))
	}
	hosts = append(hosts, "|")
	for _, name := range slices.Sorted(maps.Keys(ejected)) {
		host, _, _ := strings.Cut(strings.TrimPrefix(name, "192.0.2."), ":")
		hosts = append(hosts, host)
	}
	return strings.Join(hosts, " ")
}

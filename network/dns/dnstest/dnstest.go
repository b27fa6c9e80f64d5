// Package dnstest makes what tests of names are about.
package dnstest

import (
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/network/world"
)

// Service is one of one port, of the name http, with a cluster address, which may be None or empty.
func Service(ns, name, ip string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		Spec: corev1.ServiceSpec{
			ClusterIP: ip,
			Ports:     []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80}},
		},
	}
}

// Slice is an EndpointSlice of n endpoints from first on, listening on one named port.
func Slice(ns, service, first string, n int) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: ns, Name: service + "-1",
			Labels: map[string]string{discoveryv1.LabelServiceName: service},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: new("http"), Port: new(int32(8080))}},
	}
	ip := netip.MustParseAddr(first)
	for range n {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{ip.String()}})
		ip = ip.Next()
	}
	return s
}

// Namespace is one that exists.
func Namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// Cluster is a synced world of these objects.
func Cluster(services ...*corev1.Service) *world.World {
	w := world.New()
	w.Put(Namespace("default"))
	for _, s := range services {
		w.Put(s)
	}
	w.MarkSynced()
	return w
}

// External is a Service of namespace default that stands for another name.
func External(name, to string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: to},
	}
}

package apiserver_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"fairlead.dev/fairlead/internal/apitest"
)

// BenchmarkStart is one start on an empty data directory, until /readyz answers and the cluster's own
// objects exist.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		cfg := apitest.Config(b, b.TempDir())
		b.StartTimer()
		_, stop := apitest.Run(b, cfg)
		b.StopTimer()
		stop()
		b.StartTimer()
	}
}

// BenchmarkCreate is sixteen clients, each creating a Service and then its EndpointSlice.
func BenchmarkCreate(b *testing.B) {
	client, err := kubernetes.NewForConfig(apitest.Start(b))
	if err != nil {
		b.Fatal(err)
	}
	port, ready := int32(8080), true
	var n atomic.Int64
	b.SetParallelism(8) // per processor: sixteen on the two the figures are for
	b.ResetTimer()
	began := time.Now()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			i := n.Add(1)
			name := fmt.Sprintf("s%d", i)
			service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.ServiceSpec{
				Selector: map[string]string{"app": name}, Ports: []corev1.ServicePort{{Port: 80}},
			}}
			if _, err := client.CoreV1().Services("default").Create(b.Context(), service, metav1.CreateOptions{}); err != nil {
				b.Error(err)
				return
			}
			slice := &discoveryv1.EndpointSlice{
				ObjectMeta:  metav1.ObjectMeta{Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: name}},
				AddressType: discoveryv1.AddressTypeIPv4,
				Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"10.244.0.7"}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}}},
				Ports:       []discoveryv1.EndpointPort{{Port: &port}},
			}
			if _, err := client.DiscoveryV1().EndpointSlices("default").Create(b.Context(), slice, metav1.CreateOptions{}); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(2*float64(n.Load())/time.Since(began).Seconds(), "objects/s")
}

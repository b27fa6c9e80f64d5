package probe

import (
	"net/http"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"fairlead.dev/fairlead/api/probe"
)

// BenchmarkHTTP is one try of an HTTP probe, the server's part included.
func BenchmarkHTTP(b *testing.B) {
	target, port := server(b, false, func(http.ResponseWriter, *http.Request) {})
	check, err := HTTP(&corev1.HTTPGetAction{Path: "/readyz", Port: intstr.FromInt32(port)}, target)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if a := check(b.Context()); a.Outcome != probe.Success {
			b.Fatal(a.Text)
		}
	}
}

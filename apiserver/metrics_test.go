package apiserver_test

import (
	"context"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/internal/apitest"
)

// The page of metrics has the library's own and those of the parts beside the server, for an administrator only.
func TestMetricsOfOtherPartsAreOnTheServersPage(t *testing.T) {
	others := prometheus.NewRegistry()
	seen := prometheus.NewCounter(prometheus.CounterOpts{Name: "part_beside_total", Help: "Of a test."})
	others.MustRegister(seen)
	seen.Add(3)
	cfg := apitest.Config(t, t.TempDir())
	cfg.Metrics = others
	server, _ := apitest.Run(t, cfg)
	page := func(config *rest.Config) (string, error) {
		client, err := kubernetes.NewForConfig(config)
		if err != nil {
			t.Fatal(err)
		}
		text, err := client.Discovery().RESTClient().Get().AbsPath("/metrics").DoRaw(context.Background())
		return string(text), err
	}
	text, err := page(server.ClientConfig())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"\npart_beside_total 3\n", "\napiserver_request_total{", "\nprocess_resident_memory_bytes "} {
		if !strings.Contains(text, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	if _, err := page(rest.AnonymousClientConfig(server.ClientConfig())); !apierrors.IsForbidden(err) && !apierrors.IsUnauthorized(err) {
		t.Errorf("whoever has no name gets %v", err)
	}
}

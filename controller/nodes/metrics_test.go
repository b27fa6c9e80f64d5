package nodes

import (
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/informers"

	"fairlead.dev/fairlead/internal/apitest"
)

// docs/metrics.md has what is counted here, and nothing else of these names.
func TestMetricsDocumented(t *testing.T) {
	apitest.MetricsDocumented(t, "(?:node_collector|taint_eviction_controller|pod_gc_collector|node_ipam_controller)_", func(r prometheus.Registerer) {
		New(nil, informers.NewSharedInformerFactory(nil, 0), nil, r, slog.New(slog.DiscardHandler))
	})
}

package l7

import (
	"io"
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"fairlead.dev/fairlead/internal/apitest"
)

// TestMetricsAreDocumented: docs/metrics.md has what is counted here, and nothing else of these names.
func TestMetricsAreDocumented(t *testing.T) {
	e := New(Config{}, slog.New(slog.NewTextHandler(io.Discard, nil)))
	defer e.http.Close()
	apitest.MetricsDocumented(t, "fairlead_l7_", func(r prometheus.Registerer) { r.MustRegister(e) })
}

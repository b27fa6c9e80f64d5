package garbage_test

import (
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/controller/garbage"
	"fairlead.dev/fairlead/internal/apitest"
)

// docs/metrics.md has what is counted here, and nothing else of these names.
func TestMetricsDocumented(t *testing.T) {
	apitest.MetricsDocumented(t, "garbagecollector_controller_", func(r prometheus.Registerer) {
		if _, err := garbage.New(&rest.Config{}, informers.NewSharedInformerFactory(nil, 0), nil, garbage.Customs{}, r, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
	})
}

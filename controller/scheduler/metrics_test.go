package scheduler

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"fairlead.dev/fairlead/internal/apitest"
)

func TestMetricsAreDocumented(t *testing.T) {
	apitest.MetricsDocumented(t, "scheduler_", (&Scheduler{metrics: newMetrics()}).register)
}

// figures are a registry's numbers by name and label values, of histograms the number of observations.
func figures(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, s := range f.GetMetric() {
			name := f.GetName()
			for _, l := range s.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = s.GetGauge().GetValue() + s.GetCounter().GetValue() + float64(s.GetHistogram().GetSampleCount())
		}
	}
	return got
}

package endpoints

import (
	"errors"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"fairlead.dev/fairlead/controller/endpoints/plan"
	"fairlead.dev/fairlead/internal/apitest"
)

func TestMetricsAreDocumented(t *testing.T) {
	apitest.MetricsDocumented(t, "endpoint_slice_controller_", newMetrics().register)
}

// The gauges are sums over all Services; one that is gone counts no more.
func TestMetricsAreSums(t *testing.T) {
	m, registry := newMetrics(), prometheus.NewRegistry()
	m.register(registry)
	m.synced(key("a", "web"), plan.Tally{Added: 150, Endpoints: 150, Sufficient: 2, Slices: 2}, nil)
	m.synced(key("a", "db"), plan.Tally{Added: 3, Endpoints: 3, Sufficient: 1, Slices: 1}, nil)
	m.synced(key("a", "web"), plan.Tally{Removed: 50, Endpoints: 100, Sufficient: 1, Slices: 2}, errors.New("no"))
	m.gone(key("a", "db"))
	m.gone(key("a", "never"))
	m.changes.WithLabelValues("update").Inc()
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
			got[name] = s.GetGauge().GetValue() + s.GetCounter().GetValue() + s.GetHistogram().GetSampleSum()
		}
	}
	for name, want := range map[string]float64{
		"endpoints_desired": 100, "num_endpoint_slices": 2, "desired_endpoint_slices": 1, "endpoints_added_per_sync": 153,
		"endpoints_removed_per_sync": 50, "syncs success": 2, "syncs error": 1, "changes update": 1,
	} {
		if have, ok := got["endpoint_slice_controller_"+name]; !ok || have != want {
			t.Errorf("%s is %v, want %v", name, have, want)
		}
	}
}

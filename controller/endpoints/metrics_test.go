package endpoints

import (
	"errors"
	"fmt"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"fairlead.dev/fairlead/internal/apitest"
)

func TestMetricsAreDocumented(t *testing.T) {
	apitest.MetricsDocumented(t, "endpoint_slice_controller_", newMetrics().register)
}

func TestMetricsOfAPlan(t *testing.T) {
	var existing []*discoveryv1.EndpointSlice
	for _, test := range []struct {
		name string
		pods []*corev1.Pod
		want tally
	}{
		{"no pods", nil, tally{sufficient: 1, slices: 1}},
		{"the first", webPods(0, 150), tally{added: 150, endpoints: 150, sufficient: 2, slices: 2}},
		{"nothing new", webPods(0, 150), tally{endpoints: 150, sufficient: 2, slices: 2}},
		{"some others: slices are not balanced again", webPods(100, 51), tally{added: 1, removed: 100, endpoints: 51, sufficient: 1, slices: 2}},
	} {
		plan, remarks := planSlices(webService(), test.pods, someNodes(), existing)
		if remarks.tally != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, remarks.tally, test.want)
		}
		existing = applied(existing, plan)
	}
}

// applied is the slices after a plan.
func applied(existing []*discoveryv1.EndpointSlice, plan changes) []*discoveryv1.EndpointSlice {
	var after []*discoveryv1.EndpointSlice
	gone := map[string]bool{}
	for _, s := range append(plan.delete, plan.update...) {
		gone[s.Name] = true
	}
	for _, s := range existing {
		if !gone[s.Name] {
			after = append(after, s)
		}
	}
	for i, s := range plan.create {
		s.Name = fmt.Sprint(s.GenerateName, len(existing), i)
	}
	return append(append(after, plan.update...), plan.create...)
}

// The gauges are sums over all Services; one that is gone counts no more.
func TestMetricsAreSums(t *testing.T) {
	m, registry := newMetrics(), prometheus.NewRegistry()
	m.register(registry)
	m.synced(key("a", "web"), tally{added: 150, endpoints: 150, sufficient: 2, slices: 2}, nil)
	m.synced(key("a", "db"), tally{added: 3, endpoints: 3, sufficient: 1, slices: 1}, nil)
	m.synced(key("a", "web"), tally{removed: 50, endpoints: 100, sufficient: 1, slices: 2}, errors.New("no"))
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

package apitest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics reads what is counted, by name and labels as in requests_total{code="200"}. Of a histogram it is the count of what was
// observed, as NAME_count.
func Metrics(t testing.TB, from prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			name, value := family.GetName(), m.GetCounter().GetValue()+m.GetGauge().GetValue()
			if m.GetHistogram() != nil {
				name, value = name+"_count", float64(m.GetHistogram().GetSampleCount())
			}
			if len(labels) > 0 {
				name += "{" + strings.Join(labels, ",") + "}"
			}
			all[name] = value
		}
	}
	return all
}

// Counts checks some of what Metrics reads.
func Counts(t testing.TB, from prometheus.Gatherer, want map[string]float64) {
	t.Helper()
	got := Metrics(t, from)
	for name, value := range want {
		if have, there := got[name]; !there || have != value {
			t.Errorf("%s is %v (there: %v), want %v", name, have, there, value)
		}
	}
}

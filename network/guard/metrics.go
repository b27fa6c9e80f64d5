package guard

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fairlead.dev/fairlead/network/policy"
)

// metrics are what a Guard counts.
type metrics struct {
	selected      [2]prometheus.Gauge // by policy.Direction
	failures, cut prometheus.Counter
	sync          prometheus.Histogram
}

func newMetrics() *metrics {
	m := &metrics{
		failures: prometheus.NewCounter(prometheus.CounterOpts{Name: "fairlead_network_policy_failures_total", Help: "Transactions of network policies that the kernel refused."}),
		cut:      prometheus.NewCounter(prometheus.CounterOpts{Name: "fairlead_network_policy_connections_cut_total", Help: "Connections that were cut because a change of network policies forbids them."}),
		sync: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "fairlead_network_policy_sync_duration_seconds", Help: "How long it took to bring a change of network policies into the kernel.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 2, 14)}),
	}
	for _, d := range []policy.Direction{policy.Ingress, policy.Egress} {
		m.selected[d] = prometheus.NewGauge(prometheus.GaugeOpts{Name: "fairlead_network_policy_selected_addresses", Help: "Addresses of this node's pods that network policies isolate.",
			ConstLabels: prometheus.Labels{"direction": d.String()}})
	}
	return m
}

func (m *metrics) register(r prometheus.Registerer) {
	r.MustRegister(m.selected[0], m.selected[1], m.failures, m.cut, m.sync)
}

func (m *metrics) wrote(since time.Time) { m.sync.Observe(time.Since(since).Seconds()) }

func (m *metrics) rows(r *policy.Rows) {
	for d := range m.selected {
		m.selected[d].Set(float64(r.Selected[d].Len()))
	}
}

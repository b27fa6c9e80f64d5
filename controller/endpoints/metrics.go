package endpoints

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/controller/endpoints/plan"
)

// metrics are those of Kubernetes' endpointslice controller, by its names. Slices that mirror Endpoints do not count.
type metrics struct {
	added, removed              prometheus.Histogram
	desired, slices, sufficient prometheus.Gauge
	changes                     *prometheus.CounterVec // operation
	syncs                       *prometheus.CounterVec // result

	mu   sync.Mutex // guards last
	last map[types.NamespacedName]plan.Tally
}

func newMetrics() *metrics {
	const prefix = "endpoint_slice_controller_"
	histogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Name: prefix + name, Help: help, Buckets: prometheus.ExponentialBuckets(2, 2, 15)})
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: prefix + name, Help: help})
	}
	counter := func(name, help, label string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, []string{label})
	}
	return &metrics{
		added:      histogram("endpoints_added_per_sync", "Endpoints that a sync of a Service has put into slices."),
		removed:    histogram("endpoints_removed_per_sync", "Endpoints that a sync of a Service has taken out of slices."),
		desired:    gauge("endpoints_desired", "Endpoints that all Services should have."),
		slices:     gauge("num_endpoint_slices", "Slices of all Services."),
		sufficient: gauge("desired_endpoint_slices", "Slices that would be enough for the endpoints of all Services."),
		changes:    counter("changes", "Writes of slices, by operation: create, update or delete.", "operation"),
		syncs:      counter("syncs", "Syncs of Services, by result: success or error.", "result"),
		last:       map[types.NamespacedName]plan.Tally{},
	}
}

func (m *metrics) register(r prometheus.Registerer) {
	if r != nil {
		r.MustRegister(m.added, m.removed, m.desired, m.slices, m.sufficient, m.changes, m.syncs)
	}
}

// synced counts a sync of a Service.
func (m *metrics) synced(key types.NamespacedName, now plan.Tally, err error) {
	result := "success"
	if err != nil {
		result = "error"
	}
	m.syncs.WithLabelValues(result).Inc()
	m.added.Observe(float64(now.Added))
	m.removed.Observe(float64(now.Removed))
	m.mu.Lock()
	defer m.mu.Unlock()
	m.replace(m.last[key], now)
	m.last[key] = now
}

// gone takes a Service out of the sums.
func (m *metrics) gone(key types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.replace(m.last[key], plan.Tally{})
	delete(m.last, key)
}

// replace corrects the sums. The caller holds mu.
func (m *metrics) replace(before, now plan.Tally) {
	m.desired.Add(float64(now.Endpoints - before.Endpoints))
	m.slices.Add(float64(now.Slices - before.Slices))
	m.sufficient.Add(float64(now.Sufficient - before.Sufficient))
}

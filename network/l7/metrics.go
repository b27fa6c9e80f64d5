package l7

import (
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/network/l7/upstream"
)

// mostSeries bounds the label sets of each metric: Services beyond are counted together, with empty labels.
const mostSeries = 2000

// metrics are what is counted of requests.
type metrics struct {
	requests   *prometheus.CounterVec // namespace, service, code
	durations  *prometheus.HistogramVec
	connects   *prometheus.CounterVec
	streams    *prometheus.CounterVec
	retries    prometheus.Counter
	handshakes prometheus.Counter
	inFlight   prometheus.Gauge
	handed     atomic.Int64 // connections from lanes to net/http, and streams

	mu      sync.Mutex
	counted sync.Map // counterKey -> *counters
	size    int
}

// counters are those of one Service.
type counters struct {
	labels   types.NamespacedName
	duration prometheus.Observer
	ok, not  prometheus.Counter
	codes    [600]atomic.Pointer[prometheus.Counter] // when first used
}

func newMetrics() *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	return &metrics{
		requests: counter("fairlead_l7_requests_total", "Requests answered, by the Service they went to and the status.", "namespace", "service", "code"),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "fairlead_l7_request_duration_seconds", Help: "From a request's head to its answer's last byte.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60},
		}, []string{"namespace", "service"}),
		connects:   counter("fairlead_l7_upstream_tries_total", "Requests sent to endpoints, by whether one was connected to.", "namespace", "service", "connected"),
		streams:    counter("fairlead_l7_streams_total", "Connections passed on as bytes.", "namespace", "service"),
		retries:    prometheus.NewCounter(prometheus.CounterOpts{Name: "fairlead_l7_retries_total", Help: "Requests that were sent to another endpoint."}),
		handshakes: prometheus.NewCounter(prometheus.CounterOpts{Name: "fairlead_l7_tls_handshake_errors_total", Help: "TLS handshakes that failed."}),
		inFlight:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "fairlead_l7_requests_in_flight", Help: "Requests under way."}),
	}
}

func (m *metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.requests, m.durations, m.connects, m.streams, m.retries, m.handshakes, m.inFlight}
}

// Describe and Collect make the Engine a prometheus.Collector.
func (e *Engine) Describe(to chan<- *prometheus.Desc) {
	for _, c := range e.metrics.collectors() {
		c.Describe(to)
	}
}

// Collect sends what was counted.
func (e *Engine) Collect(to chan<- prometheus.Metric) {
	for _, c := range e.metrics.collectors() {
		c.Collect(to)
	}
}

// of returns a Service's counters.
func (m *metrics) of(service types.NamespacedName) *counters {
	if c, ok := m.counted.Load(service); ok {
		return c.(*counters)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if c, ok := m.counted.Load(service); ok {
		return c.(*counters)
	}
	if m.size >= mostSeries {
		service = types.NamespacedName{}
		if c, ok := m.counted.Load(service); ok {
			return c.(*counters)
		}
	}
	m.size++
	c := &counters{
		labels:   service,
		duration: m.durations.WithLabelValues(service.Namespace, service.Name),
		ok:       m.connects.WithLabelValues(service.Namespace, service.Name, "true"),
		not:      m.connects.WithLabelValues(service.Namespace, service.Name, "false"),
	}
	m.counted.Store(service, c)
	return c
}

// answered counts a request.
func (m *metrics) answered(service types.NamespacedName, code int, took time.Duration) {
	m.of(service).answered(m, code, took)
}

func (c *counters) answered(m *metrics, code int, took time.Duration) {
	c.duration.Observe(took.Seconds())
	at := &c.codes[max(0, min(code, len(c.codes)-1))]
	counter := at.Load()
	if counter == nil {
		made := m.requests.WithLabelValues(c.labels.Namespace, c.labels.Name, strconv.Itoa(code))
		counter = &made
		at.Store(counter)
	}
	(*counter).Inc()
}

// connected counts a try at an endpoint.
func (m *metrics) connected(service types.NamespacedName, err error) {
	if failed := new(upstream.ConnectError); errors.As(err, &failed) {
		m.of(service).not.Inc()
	} else {
		m.of(service).ok.Inc()
	}
}

package external

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"fairlead.dev/fairlead/api/probe"
	"fairlead.dev/fairlead/controller/external/healthcheck"
)

// metrics are about the probes of endpoints outside of the cluster, for which upstream has no name.
type metrics struct {
	probes            *prometheus.CounterVec // result
	took              prometheus.Histogram
	ejected, restored prometheus.Counter
	services, targets *prometheus.Desc
	out, deferred     *prometheus.Desc
}

func newMetrics() *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "fairlead_external_" + name, Help: help})
	}
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("fairlead_external_"+name, help, nil, nil)
	}
	return &metrics{
		probes: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "fairlead_external_probes_total", Help: "Probes made, by result."}, []string{"result"}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "fairlead_external_probe_duration_seconds",
			Help: "Time from asking a node for a probe until its reply.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 15)}),
		ejected:  counter("ejections_total", "Endpoints that lost their traffic because they failed."),
		restored: counter("restorations_total", "Endpoints that got their traffic back."),
		services: desc("services", "Services whose endpoints are probed."),
		targets:  desc("targets", "Addresses with a port that are probed."),
		out:      desc("ejections_active", "Endpoints that have no traffic because they fail."),
		deferred: desc("probes_deferred", "Probes that are due while too many of their Service are under way."),
	}
}

// register shows the metrics. What is known of Services is asked for when somebody looks.
func (c *Controller) register(r prometheus.Registerer) {
	if r != nil {
		r.MustRegister(c.metrics.probes, c.metrics.took, c.metrics.ejected, c.metrics.restored, onDemand{c})
	}
}

// probed counts a probe. The results are those of upstream's prober_probe_total, and unasked: no node could be asked.
func (m *metrics) probed(reply probe.Reply, err error, took time.Duration) {
	result := map[probe.Outcome]string{probe.Success: "successful", probe.Failure: "failed", probe.Unknown: "unknown"}[reply.Outcome()]
	if err != nil {
		result = "unasked"
	}
	m.probes.WithLabelValues(result).Inc()
	m.took.Observe(took.Seconds())
}

// wrote counts what was written.
func (m *metrics) wrote(w healthcheck.Writes) {
	m.ejected.Add(float64(len(w.Ejected)))
	m.restored.Add(float64(len(w.Restored)))
}

// onDemand collects what is counted when it is wanted.
type onDemand struct{ *Controller }

// Describe implements prometheus.Collector.
func (c onDemand) Describe(to chan<- *prometheus.Desc) {
	m := c.metrics
	for _, d := range []*prometheus.Desc{m.services, m.targets, m.out, m.deferred} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c onDemand) Collect(to chan<- prometheus.Metric) {
	c.mu.Lock()
	stats := c.monitor.Stats()
	c.mu.Unlock()
	m := c.metrics
	for d, value := range map[*prometheus.Desc]int{m.services: stats.Services, m.targets: stats.Targets, m.out: stats.Ejected, m.deferred: stats.Deferred} {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(value))
	}
}

package nft

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"fairlead.dev/fairlead/network/nft/plan"
)

// metrics are what a Proxy shows to Prometheus: kube-proxy's names and meanings,
// so that dashboards and alerts made for it go on working (rule P95). Its
// histograms begin at a millisecond; these begin below.
type metrics struct {
	duration      prometheus.Histogram
	last, queued  prometheus.Gauge
	endpoints     changes
	services      changes
	noLocal       *prometheus.GaugeVec
	latency       prometheus.Histogram
	since         time.Time // triggers from before this Proxy are not its doing
	entries, full prometheus.Gauge
}

// changes are those of Services or of endpoints.
type changes struct {
	total   prometheus.Counter
	pending prometheus.Gauge
}

const ruleMetrics = "kubeproxy_sync_proxy_rules_"

func newMetrics(now time.Time) *metrics {
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
	}
	changesOf := func(kind, what string) changes {
		return changes{
			total:   prometheus.NewCounter(prometheus.CounterOpts{Name: ruleMetrics + kind + "_changes_total", Help: "Changes of " + what + " seen."}),
			pending: gauge(ruleMetrics+kind+"_changes_pending", "Changes of "+what+" that are not in the kernel yet."),
		}
	}
	return &metrics{
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{Name: ruleMetrics + "duration_seconds",
			Help: "Time to derive and write a change.", Buckets: append([]float64{0.00003, 0.00006, 0.000125, 0.00025, 0.0005}, prometheus.ExponentialBuckets(0.001, 2, 15)...)}),
		last:      gauge(ruleMetrics+"last_timestamp_seconds", "When the rules were last written without an error."),
		queued:    gauge(ruleMetrics+"last_queued_timestamp_seconds", "When a change of the rules was last wanted."),
		endpoints: changesOf("endpoint", "endpoints"),
		services:  changesOf("service", "Services"),
		noLocal: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: ruleMetrics + "no_local_endpoints_total",
			Help: "Service ports with a Local traffic policy and no endpoint on this node, though there are some elsewhere."}, []string{"traffic_policy"}),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "kubeproxy_network_programming_duration_seconds",
			Help: "Time from a change of a pod or Service until the kernel has it.", Buckets: latencyBuckets()}),
		entries: gauge("fairlead_conntrack_entries", "Connections that conntrack knows in this network namespace."),
		full:    gauge("fairlead_conntrack_entries_limit", "Connections that conntrack can know."),
		since:   now,
	}
}

// latencyBuckets are kube-proxy's, and milliseconds before them.
func latencyBuckets() []float64 {
	all := []float64{0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.25, 0.5}
	all = append(all, prometheus.LinearBuckets(1, 1, 59)...)
	all = append(all, prometheus.LinearBuckets(60, 5, 12)...)
	return append(all, prometheus.LinearBuckets(120, 30, 7)...)
}

// register shows the metrics. At a time somebody looks, conntrack is asked.
func (p *Proxy) register(r prometheus.Registerer) {
	m := p.metrics
	r.MustRegister(m.duration, m.last, m.queued, m.endpoints.total, m.endpoints.pending, m.services.total, m.services.pending, m.noLocal, m.latency)
	r.MustRegister(onDemand{p})
}

// onDemand collects what is asked of the kernel when it is wanted.
type onDemand struct{ proxy *Proxy }

// Describe implements prometheus.Collector.
func (c onDemand) Describe(to chan<- *prometheus.Desc) {
	c.proxy.metrics.entries.Describe(to)
	c.proxy.metrics.full.Describe(to)
}

// Collect implements prometheus.Collector.
func (c onDemand) Collect(to chan<- prometheus.Metric) {
	p := c.proxy
	p.mu.Lock()
	s := p.asking
	p.mu.Unlock()
	if s == nil {
		return
	}
	entries, limit, err := s.conntracked()
	if err != nil {
		to <- prometheus.NewInvalidMetric(p.metrics.entries.Desc(), err)
		return
	}
	p.metrics.entries.Set(float64(entries))
	p.metrics.full.Set(float64(limit))
	p.metrics.entries.Collect(to)
	p.metrics.full.Collect(to)
}

// triggers returns when the pods or the Service changed that a Service's slices
// are about, for changes later than the given time. The annotation is the
// EndpointSlice controller's; each slice has the time of its own last change.
func triggers(f *plan.Family, all []*discoveryv1.EndpointSlice, after time.Time) []time.Time {
	var found []time.Time
	for _, s := range all {
		text, ok := s.Annotations[corev1.EndpointsLastChangeTriggerTime]
		if !ok || (s.AddressType == discoveryv1.AddressTypeIPv6) != f.V6 {
			continue
		}
		if at, err := time.Parse(time.RFC3339Nano, text); err == nil && at.After(after) {
			found = append(found, at)
		}
	}
	return found
}

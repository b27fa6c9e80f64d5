package usage

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// series is a row of a page: a name of upstream's, and where its value is.
type series[T any] struct {
	name, help string
	kind       prometheus.ValueType
	value      func(T) (float64, bool)
}

// always is a value that everybody has.
func always[T any](value func(T) float64) func(T) (float64, bool) {
	return func(of T) (float64, bool) { return value(of), true }
}

func cpuSeconds(ns uint64) float64 { return float64(ns) / float64(time.Second) }

const counter, gauge = prometheus.CounterValue, prometheus.GaugeValue

// write shows a row's value for somebody, with labels. A zero time is not shown.
func write[T any](to chan<- prometheus.Metric, rows []series[T], of T, at time.Time, names, values []string) {
	for _, row := range rows {
		value, ok := row.value(of)
		if !ok {
			continue
		}
		m := prometheus.MustNewConstMetric(prometheus.NewDesc(row.name, row.help, names, nil), row.kind, value, values...)
		if !at.IsZero() {
			m = prometheus.NewMetricWithTimestamp(at, m)
		}
		to <- m
	}
}

// What is at /metrics/resource, which upstream's metrics-server reads.
var (
	resourceOfNode = []series[Count]{
		{"node_cpu_usage_seconds_total", "Processor time that the node has used.", counter, always(func(c Count) float64 { return cpuSeconds(c.CPU) })},
		{"node_memory_working_set_bytes", "Working set of the node.", gauge, always(func(c Count) float64 { return float64(c.WorkingSet) })},
		{"node_swap_usage_bytes", "Swap that the node uses.", gauge, always(func(c Count) float64 { return float64(c.Swap) })},
	}
	resourceOfPod = []series[Count]{
		{"pod_cpu_usage_seconds_total", "Processor time that the pod has used.", counter, always(func(c Count) float64 { return cpuSeconds(c.CPU) })},
		{"pod_memory_working_set_bytes", "Working set of the pod.", gauge, always(func(c Count) float64 { return float64(c.WorkingSet) })},
		{"pod_swap_usage_bytes", "Swap that the pod uses.", gauge, always(func(c Count) float64 { return float64(c.Swap) })},
	}
	resourceOfContainer = []series[Count]{
		{"container_cpu_usage_seconds_total", "Processor time that the container has used.", counter, always(func(c Count) float64 { return cpuSeconds(c.CPU) })},
		{"container_memory_working_set_bytes", "Working set of the container.", gauge, always(func(c Count) float64 { return float64(c.WorkingSet) })},
		{"container_swap_usage_bytes", "Swap that the container uses.", gauge, always(func(c Count) float64 { return float64(c.Swap) })},
	}
	startOfContainer = []series[Container]{
		{"container_start_time_seconds", "When the container was started, in Unix time.", gauge, func(c Container) (float64, bool) {
			return float64(c.Started.UnixNano()) / float64(time.Second), c.Started.Unix() > 0
		}},
	}
	scrapeErrors = []series[bool]{
		{"scrape_error", "1 when the counters could not be read.", gauge, always(one)},
		{"resource_scrape_error", "1 when the counters could not be read.", gauge, always(one)},
	}
)

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// collected shows what write writes of a sample.
type collected func(to chan<- prometheus.Metric)

// Describe implements prometheus.Collector: what there is depends on the pods.
func (collected) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collected) Collect(to chan<- prometheus.Metric) { c(to) }

// page serves what write makes of what is read, or of the error that there was.
func page(read func(context.Context) (Sample, error), write func(to chan<- prometheus.Metric, s Sample, err error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		s, err := read(q.Context())
		registry := prometheus.NewRegistry()
		registry.MustRegister(collected(func(to chan<- prometheus.Metric) { write(to, s, err) }))
		promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, q)
	})
}

// resource is a sample as at /metrics/resource.
func resource(to chan<- prometheus.Metric, s Sample, err error) {
	write(to, scrapeErrors, err != nil, time.Time{}, nil, nil)
	if err != nil {
		return
	}
	write(to, resourceOfNode, s.Node, s.Time, nil, nil)
	for _, p := range s.Pods {
		for _, c := range p.Containers {
			names, values := []string{"container", "pod", "namespace"}, []string{c.Name, p.Name, p.Namespace}
			write(to, resourceOfContainer, c.Count, s.Time, names, values)
			write(to, startOfContainer, c, time.Time{}, names, values)
		}
		write(to, resourceOfPod, p.Count, s.Time, []string{"pod", "namespace"}, []string{p.Name, p.Namespace})
	}
}

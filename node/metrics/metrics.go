// Package metrics counts what the agent of a node does, under the names, types and labels of upstream's kubelet, so that dashboards
// and alerts made for it go on working. What is counted here costs nothing until it happens; what can be looked up is looked up when
// somebody asks (Running).
package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// ProbesPath is where the agent serves Probes, as kubelet does: its series are as many as there are probes.
const ProbesPath = "/metrics/probes"

// What a pod worker did, the label operation_type of PodWorkerDuration.
const (
	SyncCreate = "create" // the first look at a pod
	SyncUpdate = "update" // a new version of its object
	SyncPod    = "sync"   // something else has changed, or time has passed
	SyncKill   = "kill"   // the pod is being ended
)

// Types of container, the label container_type.
const (
	Container          = "container"
	InitContainer      = "init_container"
	EphemeralContainer = "ephemeral_container"
)

// Metrics are the counters of one node. Times are in seconds.
type Metrics struct {
	nodeName *prometheus.GaugeVec

	// PodWorkerDuration is how long a look at one pod took, by operation_type.
	PodWorkerDuration *prometheus.HistogramVec
	// PodStartDuration is the time from the first sight of a pod until it was Running.
	PodStartDuration prometheus.Histogram
	// PodStartSLIDuration is the time from the making of a pod until all its containers were reported as started, without the pulling
	// of images and without its init containers; the first pod of the agent with a network of its own has first_with_network="true".
	PodStartSLIDuration *prometheus.HistogramVec
	// RelistDuration is how long the listing of all that the runtime has took.
	RelistDuration prometheus.Histogram

	// StartedPods counts tries to make a sandbox, StartedPodErrors those that failed.
	StartedPods, StartedPodErrors prometheus.Counter
	// StartedContainers counts tries to start a container by container_type, StartedContainerErrors failures by container_type and
	// code, the reason of the container's waiting state.
	StartedContainers, StartedContainerErrors *prometheus.CounterVec

	operations, operationErrors *prometheus.CounterVec
	operationDuration           *prometheus.HistogramVec

	registry *prometheus.Registry // of the probes
	probes   *prometheus.CounterVec
}

// startBuckets are upstream's upper bounds for the times of pods that start.
var startBuckets = []float64{0.5, 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, 45, 60, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800, 2700, 3600}

// New makes the counters of a node, all of them zero.
func New(node string) *Metrics {
	m := &Metrics{
		nodeName:            prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "kubelet_node_name", Help: "The node's name. Always 1."}, []string{"node"}),
		PodWorkerDuration:   durations("kubelet_pod_worker_duration_seconds", "Time of one look at one pod.", prometheus.DefBuckets, "operation_type"),
		PodStartSLIDuration: durations("kubelet_pod_start_sli_duration_seconds", "Time from the making of a pod until all its containers were reported as started, without pulling images and init containers.", startBuckets, "first_with_network"),
		PodStartDuration: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "kubelet_pod_start_duration_seconds",
			Help: "Time from the first sight of a pod until it was running.", Buckets: startBuckets}),
		RelistDuration: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "kubelet_pleg_relist_duration_seconds",
			Help: "Time of listing the sandboxes and containers of the runtime.", Buckets: prometheus.DefBuckets}),
		StartedPods:            prometheus.NewCounter(prometheus.CounterOpts{Name: "kubelet_started_pods_total", Help: "Tries to make the sandbox of a pod."}),
		StartedPodErrors:       prometheus.NewCounter(prometheus.CounterOpts{Name: "kubelet_started_pods_errors_total", Help: "Sandboxes that could not be made."}),
		StartedContainers:      counters("kubelet_started_containers_total", "Tries to start a container.", "container_type"),
		StartedContainerErrors: counters("kubelet_started_containers_errors_total", "Containers that could not be started.", "container_type", "code"),
		operations:             counters("kubelet_runtime_operations_total", "Calls of the container runtime.", "operation_type"),
		operationErrors:        counters("kubelet_runtime_operations_errors_total", "Calls of the container runtime that failed.", "operation_type"),
		operationDuration:      durations("kubelet_runtime_operations_duration_seconds", "Time of calls of the container runtime.", prometheus.ExponentialBuckets(.005, 2.5, 14), "operation_type"),
		registry:               prometheus.NewRegistry(),
		probes:                 counters("prober_probe_total", "Tries of the probes of a container.", "probe_type", "result", "container", "pod", "namespace", "pod_uid"),
	}
	m.nodeName.WithLabelValues(node).Set(1)
	m.registry.MustRegister(m.probes)
	return m
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

func durations(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
}

// collectors are all but the probes, which are served apart.
func (m *Metrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.nodeName, m.PodWorkerDuration, m.PodStartDuration, m.PodStartSLIDuration, m.RelistDuration, m.StartedPods,
		m.StartedPodErrors, m.StartedContainers, m.StartedContainerErrors, m.operations, m.operationErrors, m.operationDuration}
}

// Register shows the counters at r, and what count says is running, until the returned function is called.
func (m *Metrics) Register(r prometheus.Registerer, count func() (Running, error)) (unregister func(), err error) {
	all := append(m.collectors(), running{count})
	unregister = func() {
		for _, c := range all {
			r.Unregister(c)
		}
	}
	for i, c := range all {
		if err := r.Register(c); err != nil {
			all = all[:i]
			unregister()
			return nil, err
		}
	}
	return unregister, nil
}

// Operation counts a call of the runtime that began at a time and has just ended.
func (m *Metrics) Operation(kind string, begin time.Time, err error) {
	m.operations.WithLabelValues(kind).Inc()
	m.operationDuration.WithLabelValues(kind).Observe(time.Since(begin).Seconds())
	if err != nil {
		m.operationErrors.WithLabelValues(kind).Inc()
	}
}

// Results of one try of a probe.
const (
	ProbeSuccessful = "successful"
	ProbeFailed     = "failed"
	ProbeUnknown    = "unknown" // it could not be carried out
)

// Probe counts one try of a probe of a container. kind is Startup, Liveness or Readiness.
func (m *Metrics) Probe(kind, result, container string, pod *corev1.Pod) {
	m.probes.WithLabelValues(kind, result, container, pod.Name, pod.Namespace, string(pod.UID)).Inc()
}

// ForgetPod removes the series of a pod's probes.
func (m *Metrics) ForgetPod(uid types.UID) {
	m.probes.DeletePartialMatch(prometheus.Labels{"pod_uid": string(uid)})
}

// Probes serves the counters of probes.
func (m *Metrics) Probes() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// Running is what runs on a node now.
type Running struct {
	Pods       int            // with a sandbox that is ready
	Containers map[string]int // by state: created, running, exited or unknown
}

var (
	runningPods       = prometheus.NewDesc("kubelet_running_pods", "Pods that have a running sandbox.", nil, nil)
	runningContainers = prometheus.NewDesc("kubelet_running_containers", "Containers, by their state.", []string{"container_state"}, nil)
)

// running shows what runs, looked up for each who asks.
type running struct{ count func() (Running, error) }

// Describe implements prometheus.Collector.
func (running) Describe(to chan<- *prometheus.Desc) {
	to <- runningPods
	to <- runningContainers
}

// Collect implements prometheus.Collector.
func (r running) Collect(to chan<- prometheus.Metric) {
	now, err := r.count()
	if err != nil {
		to <- prometheus.NewInvalidMetric(runningPods, err)
		return
	}
	to <- prometheus.MustNewConstMetric(runningPods, prometheus.GaugeValue, float64(now.Pods))
	for state, n := range now.Containers {
		to <- prometheus.MustNewConstMetric(runningContainers, prometheus.GaugeValue, float64(n), state)
	}
}

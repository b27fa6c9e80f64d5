package scheduler

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
)

// Results of an attempt, and the queues in which pods without a node are, in upstream's words.
const (
	scheduled     = "scheduled"
	unschedulable = "unschedulable"
	failed        = "error"

	active  = "active"  // to be looked at, or with a binding under way
	backoff = "backoff" // its binding has failed, or it has just been looked at, and is tried again
	gated   = "gated"   // not to be looked at yet
)

// manyAttempts is how many attempts are counted apart; upstream counts as far.
const manyAttempts = 15

// metrics are those of upstream's scheduler, by its names.
type metrics struct {
	attempts *prometheus.CounterVec   // result, profile
	duration *prometheus.HistogramVec // result, profile
	sli      *prometheus.HistogramVec // attempts

	preemptions, victims prometheus.Counter
}

var pendingDesc = prometheus.NewDesc("scheduler_pending_pods", "Pods without a node, by queue: active, backoff, unschedulable or gated.", []string{"queue"}, nil)

func newMetrics() metrics {
	labels := []string{"result", "profile"}
	return metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "scheduler_schedule_attempts_total",
			Help: "Attempts to find a pod its node, by result: scheduled, unschedulable or error."}, labels),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "scheduler_scheduling_attempt_duration_seconds",
			Help: "Time of an attempt, from the decision to the end of the binding.", Buckets: prometheus.ExponentialBuckets(0.001, 2, 15)}, labels),
		sli: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "scheduler_pod_scheduling_sli_duration_seconds",
			Help: "Time from when a pod was first seen without a node to its binding, by the number of attempts.", Buckets: prometheus.ExponentialBuckets(0.01, 2, 20)},
			[]string{"attempts"}),
		preemptions: prometheus.NewCounter(prometheus.CounterOpts{Name: "scheduler_preemption_attempts_total",
			Help: "Times that room was made on a node for a pod of a higher priority."}),
		victims: prometheus.NewCounter(prometheus.CounterOpts{Name: "scheduler_preemption_victims_total",
			Help: "Pods that were deleted to make room for others."}),
	}
}

// attempted counts an attempt that began at start.
func (m metrics) attempted(result string, start time.Time) {
	m.attempts.WithLabelValues(result, corev1.DefaultSchedulerName).Inc()
	m.duration.WithLabelValues(result, corev1.DefaultSchedulerName).Observe(time.Since(start).Seconds())
}

// bound counts a pod that has its node.
func (m metrics) bound(p pending) {
	label := strconv.Itoa(p.attempts)
	if p.attempts >= manyAttempts {
		label = strconv.Itoa(manyAttempts) + "+"
	}
	m.sli.WithLabelValues(label).Observe(time.Since(p.since).Seconds())
}

// register shows the metrics. Pods that wait are counted when somebody looks.
func (s *Scheduler) register(r prometheus.Registerer) {
	if r != nil {
		r.MustRegister(s.metrics.attempts, s.metrics.duration, s.metrics.sli, s.metrics.preemptions, s.metrics.victims, waiting{s})
	}
}

// waiting collects scheduler_pending_pods.
type waiting struct{ scheduler *Scheduler }

// Describe implements prometheus.Collector.
func (waiting) Describe(to chan<- *prometheus.Desc) { to <- pendingDesc }

// Collect implements prometheus.Collector.
func (w waiting) Collect(to chan<- prometheus.Metric) {
	counts := map[string]int{active: 0, backoff: 0, unschedulable: 0, gated: 0}
	w.scheduler.mu.Lock()
	for _, p := range w.scheduler.pending {
		counts[p.queue]++
	}
	w.scheduler.mu.Unlock()
	for _, obj := range w.scheduler.pods.GetStore().List() {
		if p := obj.(*corev1.Pod); len(p.Spec.SchedulingGates) > 0 && ours(p) {
			counts[gated]++
		}
	}
	for queue, n := range counts {
		to <- prometheus.MustNewConstMetric(pendingDesc, prometheus.GaugeValue, float64(n), queue)
	}
}

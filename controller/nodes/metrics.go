package nodes

import (
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/node/topology"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/controller/nodes/lifecycle"
)

// metrics are those of upstream's controllers for the same work: node lifecycle, taint eviction, pod garbage, CIDR allocation.
type metrics struct {
	evictions    *prometheus.CounterVec // zone: of nodes, by a taint that evicts
	deletions    prometheus.Counter     // of pods, because of a taint
	lateness     prometheus.Histogram
	orphans      *prometheus.CounterVec // namespace, reason: pods that were removed because their node is gone
	orphanErrors *prometheus.CounterVec
	allocations  *prometheus.CounterVec // clusterCIDR
	releases     *prometheus.CounterVec
}

func newMetrics() *metrics {
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	return &metrics{
		evictions: counters("node_collector_evictions_total", "Nodes that stopped being ready or reachable and whose pods are evicted.", "zone"),
		deletions: prometheus.NewCounter(prometheus.CounterOpts{Name: "taint_eviction_controller_pod_deletions_total", Help: "Pods deleted because of a taint of their node."}),
		lateness: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "taint_eviction_controller_pod_deletion_duration_seconds",
			Help: "Time from when a pod had to leave until it was deleted.", Buckets: []float64{0.005, 0.025, 0.1, 0.5, 1, 2.5, 10, 30, 60, 120, 180, 240}}),
		orphans:      counters("pod_gc_collector_force_delete_pods_total", "Pods removed without an agent.", "namespace", "reason"),
		orphanErrors: counters("pod_gc_collector_force_delete_pod_errors_total", "Such removals that failed.", "namespace", "reason"),
		allocations:  counters("node_ipam_controller_cidrset_cidrs_allocations_total", "CIDRs allocated to nodes.", "clusterCIDR"),
		releases:     counters("node_ipam_controller_cidrset_cidrs_releases_total", "CIDRs that nodes gave back.", "clusterCIDR"),
	}
}

// register shows the metrics. What is true of nodes is read from the cache when somebody looks.
func (c *Controller) register(r prometheus.Registerer) {
	if r == nil {
		return
	}
	m := c.metrics
	r.MustRegister(m.evictions, m.deletions, m.lateness, m.orphans, m.orphanErrors, m.allocations, m.releases, onDemand{c})
}

var (
	zoneSize      = prometheus.NewDesc("node_collector_zone_size", "Nodes of a zone.", []string{"zone"}, nil)
	zoneHealth    = prometheus.NewDesc("node_collector_zone_health", "Nodes of a zone that are ready, in percent.", []string{"zone"}, nil)
	zoneUnhealthy = prometheus.NewDesc("node_collector_unhealthy_nodes_in_zone", "Nodes of a zone that are not ready.", []string{"zone"}, nil)
	cidrUsage     = prometheus.NewDesc("node_ipam_controller_cidrset_usage_cidrs", "The part of a range that is allocated, from 0 to 1.", []string{"clusterCIDR"}, nil)
)

// onDemand collects what is counted when it is wanted.
type onDemand struct{ *Controller }

// Describe implements prometheus.Collector.
func (c onDemand) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{zoneSize, zoneHealth, zoneUnhealthy, cidrUsage} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c onDemand) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, label string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, label)
	}
	size, ready, allocated := map[string]int{}, map[string]int{}, map[netip.Prefix]int{}
	for _, obj := range c.nodes.GetStore().List() {
		n := obj.(*corev1.Node)
		zone := topology.GetZoneKey(n)
		size[zone]++
		if api.NodeReady(n) {
			ready[zone]++
		}
		for _, p := range api.PodRanges(n) {
			if cluster, found := c.clusterCIDR(p); found {
				allocated[cluster]++
			}
		}
	}
	for zone, n := range size {
		gauge(zoneSize, float64(n), zone)
		gauge(zoneUnhealthy, float64(n-ready[zone]), zone)
		gauge(zoneHealth, 100*float64(ready[zone])/float64(n), zone)
	}
	for _, cluster := range c.podCIDRs {
		gauge(cidrUsage, float64(allocated[cluster])/lifecycle.CIDRCount(cluster), cluster.String())
	}
}

// clusterCIDR is the range that a node's CIDR is cut from.
func (c *Controller) clusterCIDR(p netip.Prefix) (netip.Prefix, bool) {
	for _, cluster := range c.podCIDRs {
		if cluster.Contains(p.Addr()) {
			return cluster, true
		}
	}
	return netip.Prefix{}, false
}

// countCIDRs adds a node's CIDRs that are not among those it had.
func (c *Controller) countCIDRs(counter *prometheus.CounterVec, had, has []netip.Prefix) {
	for _, p := range has[min(len(had), len(has)):] {
		if cluster, found := c.clusterCIDR(p); found {
			counter.WithLabelValues(cluster.String()).Inc()
		}
	}
}

// evicted counts a node if its new taints evict and those it had did not.
func (m *metrics) evicted(n *corev1.Node, taints []corev1.Taint) {
	if lifecycle.Evicts(taints) && !lifecycle.Evicts(n.Spec.Taints) {
		m.evictions.WithLabelValues(topology.GetZoneKey(n)).Inc()
	}
}

// removed counts a pod whose node is gone.
func (m *metrics) removed(namespace string, deleted bool, err error) {
	const reason = "orphaned"
	if deleted {
		m.orphans.WithLabelValues(namespace, reason).Inc()
	}
	if err != nil {
		m.orphanErrors.WithLabelValues(namespace, reason).Inc()
	}
}

// deleted counts a pod that had to leave since a time.
func (m *metrics) deleted(since, now time.Time) {
	m.deletions.Inc()
	m.lateness.Observe(max(0, now.Sub(since).Seconds()))
}

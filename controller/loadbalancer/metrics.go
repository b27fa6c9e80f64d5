package loadbalancer

import (
	"github.com/prometheus/client_golang/prometheus"

	"fairlead.dev/fairlead/api/kinds"
)

var (
	poolAddresses = prometheus.NewDesc("fairlead_loadbalancer_pool_addresses", "Addresses of a pool, by whether a Service has them.", []string{"pool", "state"}, nil)
	nodeAddresses = prometheus.NewDesc("fairlead_loadbalancer_announced_addresses", "Addresses that a node announces by ARP and NDP.", []string{"node"}, nil)
	unannounced   = prometheus.NewDesc("fairlead_loadbalancer_unannounced_addresses", "Addresses that nodes are to announce, and none does.", nil, nil)
	moves         = prometheus.NewDesc("fairlead_loadbalancer_moves_total", "How often an address began to be announced by another node than before.", nil, nil)
	routes        = prometheus.NewDesc("fairlead_bgp_told_addresses", "Addresses of which a node has told the router of a BGPPeer.", []string{"peer", "node"}, nil)
)

// onDemand collects what is counted when it is wanted.
type onDemand struct{ *Controller }

// Describe implements prometheus.Collector.
func (c onDemand) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{poolAddresses, nodeAddresses, unannounced, moves, routes} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c onDemand) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value int64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(value), labels...)
	}
	for _, p := range objects[kinds.AddressPool](c.poolCache) {
		gauge(poolAddresses, p.Status.Assigned, p.Name, "assigned")
		gauge(poolAddresses, p.Status.Free, p.Name, "free")
	}
	for _, sum := range c.routers.count() {
		gauge(routes, sum.addresses, sum.peer, sum.node)
	}
	c.announcer.mu.Lock()
	defer c.announcer.mu.Unlock()
	if c.announcer.board == nil { // it has not begun
		return
	}
	announced, nobody, moved := c.announcer.board.Count()
	for node, n := range announced {
		gauge(nodeAddresses, int64(n), node)
	}
	gauge(unannounced, int64(nobody))
	to <- prometheus.MustNewConstMetric(moves, prometheus.CounterValue, float64(moved))
}

// told is of how many addresses a node has told a router.
type told struct {
	peer, node string
	addresses  int64
}

func (r *routers) count() (all []told) {
	r.mu.Lock()
	defer r.mu.Unlock()
	by := map[[2]string]int64{}
	for _, peers := range r.told {
		for peer, nodes := range peers {
			for _, node := range nodes {
				by[[2]string{peer, node}]++
			}
		}
	}
	for k, n := range by {
		all = append(all, told{k[0], k[1], n})
	}
	return all
}

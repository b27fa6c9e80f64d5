package dns

import "github.com/prometheus/client_golang/prometheus"

// collector shows a Server's counts to Prometheus.
type collector struct{ s *Server }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, append([]string{"server", "zone", "view"}, labels...), nil)
}

var (
	requestsDesc  = desc("coredns_dns_requests_total", "DNS queries received.", "proto", "family", "type")
	doDesc        = desc("coredns_dns_do_requests_total", "DNS queries with the DO bit set.")
	responsesDesc = desc("coredns_dns_responses_total", "DNS responses sent, by response code and who answered.", "rcode", "plugin")
	tookDesc      = desc("coredns_dns_request_duration_seconds", "Time from a query's arrival to its response.")
	sizeInDesc    = desc("coredns_dns_request_size_bytes", "Size of queries.", "proto")
	sizeOutDesc   = desc("coredns_dns_response_size_bytes", "Size of responses.", "proto")

	rejectsDesc = prometheus.NewDesc("coredns_forward_max_concurrent_rejects_total", "Queries refused because too many were waiting for upstream servers.", nil, nil)

	entriesDesc = cacheDesc("coredns_cache_entries", "Answers kept.", "type")
	hitsDesc    = cacheDesc("coredns_cache_hits_total", "Queries answered from the cache.", "type")
	missesDesc  = cacheDesc("coredns_cache_misses_total", "Queries the cache had no answer to.")
	lookedDesc  = cacheDesc("coredns_cache_requests_total", "Queries looked up in the cache.")
	staleDesc   = cacheDesc("coredns_cache_served_stale_total", "Queries answered with an answer past its time.")
)

func cacheDesc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, append([]string{"server", "zones", "view"}, labels...), nil)
}

// Describe implements prometheus.Collector.
func (c collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{requestsDesc, doDesc, responsesDesc, tookDesc, sizeInDesc, sizeOutDesc,
		rejectsDesc, entriesDesc, hitsDesc, missesDesc, lookedDesc, staleDesc} {
		to <- d
	}
	stats := c.s.forward.stats
	stats.requests.Describe(to)
	stats.responses.Describe(to)
	stats.took.Describe(to)
}

// Collect implements prometheus.Collector.
func (c collector) Collect(to chan<- prometheus.Metric) {
	server := "dns://" + c.s.cfg.Addrs[0].String()
	sums := map[*prometheus.Desc]map[[3]string]uint64{}
	add := func(d *prometheus.Desc, n uint64, labels ...string) {
		if n == 0 {
			return
		}
		if sums[d] == nil {
			sums[d] = map[[3]string]uint64{}
		}
		var key [3]string
		copy(key[:], labels)
		sums[d][key] += n
	}
	var took buckets
	sizes := map[*prometheus.Desc]map[string]*buckets{sizeInDesc: {}, sizeOutDesc: {}}
	for _, t := range c.s.counting() {
		for i := range t.requests {
			add(requestsDesc, t.requests[i].Load(), t.network, t.family, askedTypes[i].name)
		}
		for by := range t.responses {
			for i := range t.responses[by] {
				add(responsesDesc, t.responses[by][i].Load(), rcodeName(i), answererNames[by])
			}
		}
		add(doDesc, t.dnssec.Load())
		took.add(&t.took)
		for d, h := range map[*prometheus.Desc]*histogram{sizeInDesc: &t.sizeIn, sizeOutDesc: &t.sizeOut} {
			if sizes[d][t.network] == nil {
				sizes[d][t.network] = &buckets{}
			}
			sizes[d][t.network].add(h)
		}
	}
	for d, byLabels := range sums {
		n := map[*prometheus.Desc]int{requestsDesc: 3, responsesDesc: 2}[d]
		for labels, v := range byLabels {
			to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), append([]string{server, ".", ""}, labels[:n]...)...)
		}
	}
	to <- took.metric(tookDesc, timeBuckets, 1e-9, server, ".", "")
	for d, byProto := range sizes {
		for proto, b := range byProto {
			to <- b.metric(d, sizeBuckets, 1, server, ".", "", proto)
		}
	}
	c.forward(to, server)
}

func rcodeName(i int) string {
	if i < len(rcodes) {
		return rcodes[i]
	}
	return "other"
}

// forward shows what concerns names outside the cluster.
func (c collector) forward(to chan<- prometheus.Metric, server string) {
	f := c.s.forward
	s := f.stats
	counter := func(d *prometheus.Desc, v uint64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	s.requests.Collect(to)
	s.responses.Collect(to)
	s.took.Collect(to)
	counter(rejectsDesc, s.rejects.Load())
	hits := [2]uint64{s.hits[0].Load(), s.hits[1].Load()}
	misses := s.misses.Load()
	answers, denials := f.cache.counts()
	for i, kind := range []string{"success", "denial"} {
		counter(hitsDesc, hits[i], server, ".", "", kind)
		to <- prometheus.MustNewConstMetric(entriesDesc, prometheus.GaugeValue, float64([]int{answers, denials}[i]), server, ".", "", kind)
	}
	counter(missesDesc, misses, server, ".", "")
	counter(lookedDesc, hits[0]+hits[1]+misses, server, ".", "")
	counter(staleDesc, s.stale.Load(), server, ".", "")
}

// buckets is the sum of histograms.
type buckets struct {
	counts [17]uint64
	sum    uint64
}

func (b *buckets) add(h *histogram) {
	for i := range h.counts {
		b.counts[i] += h.counts[i].Load()
	}
	b.sum += h.sum.Load()
}

func (b *buckets) metric(d *prometheus.Desc, bounds []float64, unit float64, labels ...string) prometheus.Metric {
	upTo, total := map[float64]uint64{}, uint64(0)
	for i, n := range b.counts {
		total += n
		if i < len(bounds) {
			upTo[bounds[i]] = total
		}
	}
	return prometheus.MustNewConstHistogram(d, total, float64(b.sum)*unit, upTo, labels...)
}

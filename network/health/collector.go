package health

import (
	"cmp"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// maxSeries bounds how many series the connection counters make. Above it they are summed over endpoints, then over
// Services, then over namespaces: a collector that is flooded is of no use to anybody.
const maxSeries = 5000

var connectionsDesc = prometheus.NewDesc("fairlead_endpoint_connections_total",
	"Connections that this node has balanced to an endpoint of a Service. Where there are too many endpoints, endpoint and port, and then service, are empty and the value is their sum.",
	[]string{"namespace", "service", "port", "endpoint"}, nil)

// CollectConnections registers the connection counters. They are read from the kernel when they are asked for and at no other
// time; a read that fails is reported to who asked.
func CollectConnections(r prometheus.Registerer, read func() ([]Connections, error)) {
	r.MustRegister(collector{read})
}

type collector struct{ read func() ([]Connections, error) }

// Describe implements prometheus.Collector.
func (c collector) Describe(to chan<- *prometheus.Desc) { to <- connectionsDesc }

// Collect implements prometheus.Collector.
func (c collector) Collect(to chan<- prometheus.Metric) {
	all, err := c.read()
	if err != nil {
		to <- prometheus.NewInvalidMetric(connectionsDesc, err)
		return
	}
	for _, s := range bounded(all, maxSeries) {
		to <- prometheus.MustNewConstMetric(connectionsDesc, prometheus.CounterValue, float64(s.count), s.namespace, s.service, s.port, s.endpoint)
	}
}

// series is one counter with its labels.
type series struct {
	namespace, service, port, endpoint string
	count                              uint64
}

// bounded makes at most limit series, as detailed as that allows.
func bounded(all []Connections, limit int) []series {
	byEndpoint := func(c Connections) series {
		return series{namespace: c.Service.Namespace, service: c.Service.Name, port: c.Port, endpoint: c.Address.String()}
	}
	for _, key := range []func(Connections) series{
		byEndpoint,
		func(c Connections) series { return series{namespace: c.Service.Namespace, service: c.Service.Name} },
		func(c Connections) series { return series{namespace: c.Service.Namespace} },
	} {
		if found := summed(all, key); len(found) <= limit {
			return found
		}
	}
	return summed(all, func(Connections) series { return series{} })
}

func summed(all []Connections, key func(Connections) series) []series {
	sums := map[series]uint64{}
	for _, c := range all {
		sums[key(c)] += c.Count
	}
	found := make([]series, 0, len(sums))
	for s, n := range sums {
		s.count = n
		found = append(found, s)
	}
	slices.SortFunc(found, func(a, b series) int {
		return cmp.Or(strings.Compare(a.namespace, b.namespace), strings.Compare(a.service, b.service),
			strings.Compare(a.port, b.port), strings.Compare(a.endpoint, b.endpoint))
	})
	return found
}

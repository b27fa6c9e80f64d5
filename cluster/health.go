package cluster

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"

	"fairlead.dev/fairlead/kube"
	"fairlead.dev/fairlead/network/health"
	"fairlead.dev/fairlead/network/nft"
	"fairlead.dev/fairlead/network/world"
)

// Ports of kube-proxy, which load balancers and tests ask.
const (
	healthzPort   = 10256
	proxyModePort = 10249
)

// readHeaderTimeout bounds how long a caller of a plain page may take to say what it wants.
const readHeaderTimeout = 5 * time.Second

// newMetrics is the registry of a process: what its parts count, and what Go and the kernel know about it.
func newMetrics() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// metricsPage serves a registry. What cannot be read is left out of the answer.
func metricsPage(r *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: 4, ErrorHandling: promhttp.ContinueOnError})
}

// newHealth is what tells load balancers about a node, and what counts the connections of its endpoints.
func newHealth(cfg health.Config, metrics prometheus.Registerer, proxy *nft.Proxy, w *world.World, log *slog.Logger) *health.Server {
	health.CollectConnections(metrics, func() ([]health.Connections, error) { return connectionsOf(proxy) })
	cfg.Metrics, cfg.SyncLag = metrics, func() health.SyncLag { return syncLag(proxy.Stats()) }
	return health.New(cfg, w, log.With("part", "health"))
}

// healthzAt is where kube-proxy's /healthz is: at a node's addresses, and on loopback.
func healthzAt(addrs []netip.Addr) []netip.AddrPort {
	return onPort(healthzPort, slices.Concat(addrs, loopbacks(addrs))...)
}

func syncLag(s nft.Stats) health.SyncLag {
	return health.SyncLag{Updated: s.Updated, Pending: s.Pending}
}

// countUpTo bounds how many endpoints of a family have their connections counted on a node.
const countUpTo = 5000

// connectionsOf reads the kernel's counters; none where there are too many endpoints to count.
func connectionsOf(proxy *nft.Proxy) ([]health.Connections, error) {
	counts, err := proxy.AllConnections()
	if errors.Is(err, nft.ErrNotCounted) {
		return nil, nil
	}
	all := make([]health.Connections, len(counts))
	for i, c := range counts {
		all[i] = health.Connections{Service: c.Service, Port: c.Port, Address: c.Endpoint, Count: c.Connections}
	}
	return all, err
}

// reportPage serves what a node has programmed.
func reportPage(node string, proxy *nft.Proxy, w *world.World) http.Handler {
	return health.ServeReport(func() (health.Report, error) {
		s := proxy.Stats()
		report := health.NewReport(node, syncLag(s), s.Failure, w.Services(), proxy.Applied)
		connections, err := connectionsOf(proxy)
		report.Count(connections)
		return report, err
	})
}

// newRecorder posts Events about Services as kube-proxy does, until ctx ends.
func newRecorder(ctx context.Context, client kubernetes.Interface, node string) record.EventRecorder {
	return kube.Recorder(ctx, client, corev1.EventSource{Component: "kube-proxy", Host: node})
}

// onPort is a port of each address.
func onPort(port uint16, addrs ...netip.Addr) []netip.AddrPort {
	all := make([]netip.AddrPort, len(addrs))
	for i, a := range addrs {
		all[i] = netip.AddrPortFrom(a, port)
	}
	return all
}

// loopback is where this node's own programs ask, of an address's family.
func loopback(like netip.Addr) netip.Addr {
	if like.Is6() {
		return netip.IPv6Loopback()
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, 1})
}

// loopbacks are those of each family of a node.
func loopbacks(addrs []netip.Addr) []netip.Addr {
	all := make([]netip.Addr, len(addrs))
	for i, a := range addrs {
		all[i] = loopback(a)
	}
	return all
}

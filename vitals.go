package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"

	"fairlead.dev/fairlead/health"
	"fairlead.dev/fairlead/nft"
	"fairlead.dev/fairlead/world"
)

// Ports of kube-proxy, which load balancers and tests ask.
const (
	healthzPort   = 10256
	proxyModePort = 10249
)

// newMetrics is the registry of a process: what its parts count, and what Go and the kernel know about it.
func newMetrics() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// metricsPage serves a registry.
func metricsPage(r *prometheus.Registry) http.Handler {
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// newHealth is what tells load balancers about this node. listen says where /healthz and /livez answer, page what is served
// beside that and where.
func newHealth(name string, addrs []netip.Addr, listen []netip.AddrPort, proxy *nft.Proxy, w *world.World, events record.EventRecorder, metrics *prometheus.Registry, log *slog.Logger) *health.Server {
	return health.New(health.Config{
		NodeName: name, NodeIPs: addrs, Listen: listen, Events: events, Metrics: metrics,
		Freshness: func() health.Freshness {
			s := proxy.Stats()
			return health.Freshness{Updated: s.Updated, Pending: s.Pending}
		},
	}, w, log.With("part", "health"))
}

// newRecorder posts Events about Services as kube-proxy does, until ctx ends.
func newRecorder(ctx context.Context, client kubernetes.Interface, node string) record.EventRecorder {
	b := record.NewBroadcaster(record.WithContext(ctx))
	b.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	context.AfterFunc(ctx, b.Shutdown)
	return b.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "kube-proxy", Host: node})
}

// onPort is a port of each address.
func onPort(port uint16, addrs ...netip.Addr) []netip.AddrPort {
	all := make([]netip.AddrPort, len(addrs))
	for i, a := range addrs {
		all[i] = netip.AddrPortFrom(a, port)
	}
	return all
}

// loopback is where this node's own programs ask.
var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

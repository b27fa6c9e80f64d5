package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/host"
	"fairlead.dev/fairlead/internal/heap"
	"fairlead.dev/fairlead/network/guard"
	"fairlead.dev/fairlead/network/health"
	"fairlead.dev/fairlead/network/nft"
	"fairlead.dev/fairlead/network/world"
)

// Proxy is the service proxy of a node by itself. Addresses and ranges that are not given the cluster says, if it can.
type Proxy struct {
	API
	nft.Config  // without a name: the host name
	LogLevel    string
	Policies    bool             // keep NetworkPolicies, too
	Healthz     []netip.AddrPort // where /healthz and /livez answer; none: at the node's addresses
	MetricsAddr netip.AddrPort   // where /metrics, /healthz and /proxyMode answer
}

// CleanProxy removes all rules of a proxy that has ended.
func CleanProxy() error {
	if err := errors.Join(nft.Clean(), guard.Clean()); err != nil {
		return fmt.Errorf("cleanup: %w; is the proxy still running?", err)
	}
	return nil
}

// RunProxy programs the Services of a cluster for one of its nodes until ctx ends, and leaves them there.
func RunProxy(ctx context.Context, p Process, x Proxy) error {
	var err error
	if x.NodeName, err = nodeName(x.NodeName); err != nil {
		return err
	}
	log, err := p.logger(x.LogLevel)
	if err != nil {
		return err
	}
	cfg, err := x.client(p.Version)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	if err := refuseRivals(ctx); err != nil {
		return err
	}
	x.ServicesOnly, x.CountUpTo = true, countUpTo
	if x.APIServers, err = reachAPI(ctx, cfg.Host); err != nil {
		return err
	}
	go heap.Tend(ctx)
	w := world.New()
	g, ctx := errgroup.WithContext(ctx)
	if err := serveProfiles(ctx, g, p.Pprof); err != nil {
		return err
	}
	g.Go(named("world", ctx, func(ctx context.Context) error {
		return w.Follow(ctx, client, world.Services, world.EndpointSlices, world.Nodes)
	}))
	g.Go(func() error { return sayWaiting(ctx, w, cfg.Host, log) })
	if err := startProxy(ctx, g, x, client, w, log); err != nil && ctx.Err() == nil {
		return err
	}
	return g.Wait()
}

// refuseRivals ends the start where another service proxy has its rules.
func refuseRivals(ctx context.Context) error {
	found, err := host.Rivals(ctx)
	if err != nil {
		return fmt.Errorf("look for other service proxies: %w", err)
	}
	if len(found) == 0 {
		return nil
	}
	return fmt.Errorf("another service proxy has rules here: %s; stop it and remove its rules ('kube-proxy --cleanup', or restart the host), since two proxies would translate the same packets",
		strings.Join(found, "; "))
}

// startProxy starts the parts once it is known what this node is.
func startProxy(ctx context.Context, g *errgroup.Group, x Proxy, client kubernetes.Interface, w *world.World, log *slog.Logger) error {
	if len(x.NodeIPs) == 0 {
		var err error
		if x.NodeIPs, err = awaitNodeIPs(ctx, w, x.NodeName, log); err != nil {
			return err
		}
		g.Go(func() error { return watchNodeIPs(ctx, w, x.NodeName, x.NodeIPs) })
	}
	if len(x.ServiceCIDRs) == 0 {
		x.ServiceCIDRs = serviceRanges(ctx, client, log)
	}
	if len(x.Healthz) == 0 {
		x.Healthz = healthzAt(x.NodeIPs)
	}
	metrics := newMetrics()
	x.Metrics = metrics
	proxy := nft.New(x.Config, w, log.With("part", "nft"))
	answers := newHealth(health.Config{NodeName: x.NodeName, NodeIPs: x.NodeIPs, Listen: x.Healthz, Events: newRecorder(ctx, client, x.NodeName),
		Pages: map[netip.AddrPort]http.Handler{x.MetricsAddr: proxyPages(metricsPage(metrics))}}, metrics, proxy, w, log)
	g.Go(named("nft", ctx, proxy.Run))
	if x.Policies {
		policies := guard.New(guard.Config{NodeName: x.NodeName, Metrics: metrics}, following(client), log.With("part", "policies"))
		g.Go(named("policies", ctx, policies.Run))
	}
	g.Go(named("health", ctx, answers.Run))
	log.Info("programming Services", "node", x.NodeName, "addresses", x.NodeIPs, "pods", podRanges(x, w), "services", x.ServiceCIDRs)
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward"); err == nil && strings.TrimSpace(string(text)) == "0" {
		log.Warn("this host forwards no packets: Services reach no pods until net.ipv4.ip_forward is 1, which the pod network usually sets")
	}
	dropStart(ctx, log)
	return nil
}

// proxyPages are what kube-proxy answers to its own host (rule P94).
func proxyPages(metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	text := func(s string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.Header().Set("X-Content-Type-Options", "nosniff")
			_, _ = io.WriteString(w, s)
		}
	}
	mux.HandleFunc("GET /proxyMode", text("nftables"))
	mux.HandleFunc("GET /healthz", text("ok"))
	if metrics != nil {
		mux.Handle("GET /metrics", metrics)
	}
	return mux
}

// internalIPs are the addresses of a node inside its cluster, the first of each family.
func internalIPs(n *corev1.Node) []netip.Addr {
	var all []netip.Addr
	for _, ip := range api.InternalIPs(n) {
		if !slices.ContainsFunc(all, func(b netip.Addr) bool { return b.Is6() == ip.Is6() }) {
			all = append(all, ip)
		}
	}
	return all
}

// awaitNodeIPs waits until the cluster knows this node and its addresses.
func awaitNodeIPs(ctx context.Context, w *world.World, name string, log *slog.Logger) ([]netip.Addr, error) {
	select {
	case <-w.Synced():
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	changes := w.Subscribe(world.Nodes)
	defer changes.Close()
	for warned := false; ; warned = true {
		n := w.Node(name)
		if n != nil {
			if ips := internalIPs(n); len(ips) > 0 {
				return ips, nil
			}
		}
		if !warned && n == nil {
			log.Warn("waiting for this node to appear in the cluster; if it has another name there, give it with --node-name", "node", name)
		} else if !warned {
			log.Warn("waiting for this node's InternalIP; --node-ip gives it by hand", "node", name)
		}
		if _, err := changes.Next(ctx); err != nil {
			return nil, err
		}
	}
}

// watchNodeIPs ends the program when this node gets other addresses: everything here was made for the old ones.
func watchNodeIPs(ctx context.Context, w *world.World, name string, ips []netip.Addr) error {
	changes := w.Subscribe(world.Nodes)
	defer changes.Close()
	for {
		if n := w.Node(name); n != nil {
			if now := internalIPs(n); len(now) > 0 && !slices.Equal(now, ips) {
				return fmt.Errorf("the addresses of node %s changed from %v to %v; ending, to be started anew", name, ips, now)
			}
		}
		if _, err := changes.Next(ctx); err != nil {
			return nil
		}
	}
}

// serviceRanges asks the cluster for the addresses of Services. Clusters before 1.33 cannot say; without an answer the rules
// leave addresses alone that could be a Service's and are nobody's.
func serviceRanges(ctx context.Context, client kubernetes.Interface, log *slog.Logger) []netip.Prefix {
	const first = "kubernetes" // what the API server was started with; others extend it
	object, err := client.NetworkingV1().ServiceCIDRs().Get(ctx, first, metav1.GetOptions{})
	if err != nil {
		log.Info("the cluster does not say which addresses are Services'; --service-cidr does", "err", err)
		return nil
	}
	ranges, err := config.Prefixes("ServiceCIDR "+first, object.Spec.CIDRs)
	if err != nil {
		log.Warn("ignoring what the cluster says about Services' addresses", "err", err)
	}
	return ranges
}

// podRanges are the addresses of this node's pods, for the log.
func podRanges(x Proxy, w *world.World) any {
	if n := w.Node(x.NodeName); n != nil && len(n.Spec.PodCIDRs) > 0 {
		return n.Spec.PodCIDRs
	}
	if len(x.ClusterCIDRs) > 0 {
		return x.ClusterCIDRs
	}
	return "unknown: Services see an address of this node in place of a pod's; --cluster-cidr tells"
}

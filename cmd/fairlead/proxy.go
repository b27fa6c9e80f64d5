package main

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

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"fairlead.dev/fairlead/host"
	"fairlead.dev/fairlead/internal/heap"
	"fairlead.dev/fairlead/network/nft"
	"fairlead.dev/fairlead/network/world"
)

// proxyFlags say for which node of which cluster Services are programmed.
type proxyFlags struct {
	aloneFlags
	nodeName, healthz, metrics          string
	nodeIPs, clusterCIDRs, serviceCIDRs []string
	masqueradeAll, cleanup              bool
}

func proxyCommand() *cobra.Command {
	var f proxyFlags
	c := &cobra.Command{
		Use: "proxy --kubeconfig FILE",

		Annotations: usersEnvironment, // the API server may be anywhere
		Short:       "Run the service proxy alone, in place of kube-proxy, in the foreground",
		Long: `Run the service proxy alone, in place of kube-proxy, against any Kubernetes API server.

It programs the Services of the cluster into the network namespace it runs in, and leaves
them there when it ends; the next start takes them over. --cleanup removes them.`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return runProxy(c.Context(), f, c.OutOrStdout()) },
	}
	f.bind(c)
	flags := c.Flags()
	flags.StringVar(&f.nodeName, "node-name", "", "name of this node in the cluster (default: the host name)")
	flags.StringSliceVar(&f.nodeIPs, "node-ip", nil, "addresses of this node, one of a family (default: its InternalIPs in the cluster)")
	flags.StringSliceVar(&f.clusterCIDRs, "cluster-cidr", nil, "addresses of pods, one range of a family (default: the podCIDRs of the node)")
	flags.StringSliceVar(&f.serviceCIDRs, "service-cidr", nil, "addresses of Services, one range of a family (default: what ServiceCIDR objects say, if the cluster has them)")
	flags.BoolVar(&f.masqueradeAll, "masquerade-all", false, "show Services an address of this node in place of a pod's")
	flags.StringVar(&f.healthz, "healthz-bind-address", "", "where /healthz and /livez answer (default: port 10256 of the node's addresses and of loopback)")
	flags.StringVar(&f.metrics, "metrics-bind-address", "127.0.0.1:10249", "where /metrics, /healthz and /proxyMode answer")
	flags.BoolVar(&f.cleanup, "cleanup", false, "remove all rules of this program and end")
	return c
}

// proxySettings are checked proxyFlags.
type proxySettings struct {
	name           string
	addrs          []netip.Addr // of the node; none: the cluster says
	pods, services []netip.Prefix
	masqueradeAll  bool
	servers        []netip.AddrPort // of the API
	healthz        []netip.AddrPort // none: of the node's addresses
	metrics        netip.AddrPort
}

// rules is what the rules have to know.
func (s proxySettings) rules() nft.Config {
	return nft.Config{NodeName: s.name, NodeIPs: s.addrs, ClusterCIDRs: s.pods, ServiceCIDRs: s.services, APIServers: s.servers, ServicesOnly: true, MasqueradeAll: s.masqueradeAll, CountUpTo: countUpTo}
}

func (f proxyFlags) check() (s proxySettings, err error) {
	if s.name = f.nodeName; s.name == "" {
		if s.name, err = nodeName(""); err != nil {
			return s, err
		}
	}
	s.masqueradeAll = f.masqueradeAll
	errs := make([]error, 5)
	s.addrs, errs[0] = addrsOf("node-ip", f.nodeIPs)
	s.pods, errs[1] = prefixesOf("cluster-cidr", f.clusterCIDRs)
	s.services, errs[2] = prefixesOf("service-cidr", f.serviceCIDRs)
	if f.healthz != "" {
		s.healthz = make([]netip.AddrPort, 1)
		s.healthz[0], errs[3] = bindAddress("healthz-bind-address", f.healthz)
	}
	s.metrics, errs[4] = bindAddress("metrics-bind-address", f.metrics)
	return s, errors.Join(errs...)
}

func bindAddress(flag, text string) (netip.AddrPort, error) {
	at, err := netip.ParseAddrPort(text)
	if err != nil {
		return at, fmt.Errorf("%s %q: must be ADDRESS:PORT, such as 127.0.0.1:10249", flag, text)
	}
	return at, nil
}

func runProxy(ctx context.Context, f proxyFlags, out io.Writer) error {
	if err := needRoot(); err != nil {
		return err
	}
	if f.cleanup {
		if err := nft.Clean(); err != nil {
			return fmt.Errorf("cleanup: %w; is the proxy still running?", err)
		}
		fmt.Fprintln(out, "All rules are removed.")
		return nil
	}
	s, err := f.check()
	if err != nil {
		return err
	}
	log, err := logger(f.logLevel)
	if err != nil {
		return err
	}
	cfg, err := f.client()
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
	if s.servers, err = reachAPI(ctx, cfg.Host); err != nil {
		return err
	}
	go heap.Tend(ctx)
	w := world.New()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(named("world", ctx, func(ctx context.Context) error {
		return w.Follow(ctx, client, world.Services, world.EndpointSlices, world.Nodes)
	}))
	g.Go(func() error { return sayWaiting(ctx, w, cfg.Host, log) })
	if err := startProxy(ctx, g, s, client, w, log); err != nil && ctx.Err() == nil {
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
func startProxy(ctx context.Context, g *errgroup.Group, s proxySettings, client kubernetes.Interface, w *world.World, log *slog.Logger) error {
	if len(s.addrs) == 0 {
		var err error
		if s.addrs, err = awaitNodeIPs(ctx, w, s.name, log); err != nil {
			return err
		}
		g.Go(func() error { return watchNodeIPs(ctx, w, s.name, s.addrs) })
	}
	if len(s.services) == 0 {
		s.services = serviceRanges(ctx, client, log)
	}
	metrics := newMetrics()
	rules := s.rules()
	rules.Metrics = metrics
	proxy := nft.New(rules, w, log.With("part", "nft"))
	if len(s.healthz) == 0 {
		s.healthz = onPort(healthzPort, append(slices.Clone(s.addrs), loopbacks(s.addrs)...)...)
	}
	answers := newHealth(nodeHealth{name: s.name, addrs: s.addrs, listen: s.healthz, events: newRecorder(ctx, client, s.name), metrics: metrics,
		pages: map[netip.AddrPort]http.Handler{s.metrics: proxyPages(metricsPage(metrics))}}, proxy, w, log)
	g.Go(named("nft", ctx, proxy.Run))
	g.Go(named("health", ctx, answers.Run))
	log.Info("programming Services", "node", s.name, "addresses", s.addrs, "pods", podRanges(s, w), "services", s.services)
	if text, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward"); err == nil && strings.TrimSpace(string(text)) == "0" {
		log.Warn("this host forwards no packets: Services reach no pods until net.ipv4.ip_forward is 1, which the pod network usually sets")
	}
	dropStart(log)
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
	for _, a := range n.Status.Addresses {
		ip, err := netip.ParseAddr(a.Address)
		if err != nil || a.Type != corev1.NodeInternalIP || slices.ContainsFunc(all, func(b netip.Addr) bool { return b.Is6() == ip.Is6() }) {
			continue
		}
		all = append(all, ip)
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
	changes := w.Subscribe()
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
	changes := w.Subscribe()
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
	ranges, err := prefixesOf("ServiceCIDR "+first, object.Spec.CIDRs)
	if err != nil {
		log.Warn("ignoring what the cluster says about Services' addresses", "err", err)
	}
	return ranges
}

// podRanges are the addresses of this node's pods, for the log.
func podRanges(s proxySettings, w *world.World) any {
	if n := w.Node(s.name); n != nil && len(n.Spec.PodCIDRs) > 0 {
		return n.Spec.PodCIDRs
	}
	if len(s.pods) > 0 {
		return s.pods
	}
	return "unknown: Services see an address of this node in place of a pod's; --cluster-cidr tells"
}

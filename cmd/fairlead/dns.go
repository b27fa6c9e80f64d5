package main

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"

	"fairlead.dev/fairlead/internal/heap"
	"fairlead.dev/fairlead/network/dns"
	"fairlead.dev/fairlead/network/world"
)

// dnsFlags say which names are served where.
type dnsFlags struct {
	aloneFlags
	listen, clients             []string
	domain, resolvConf, metrics string
}

func dnsCommand() *cobra.Command {
	// Private networks (RFC 1918, 6598, 4193): whoever asks from elsewhere could be a forged victim.
	private := []string{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"}
	var f dnsFlags
	c := &cobra.Command{
		Use: "dns --kubeconfig FILE --listen ADDR:53",

		Annotations: usersEnvironment, // the API server may be anywhere
		Short:       "Run the cluster's DNS server alone, in the foreground",
		Args:        cobra.NoArgs,
		RunE:        func(c *cobra.Command, _ []string) error { return runDNS(c.Context(), f) },
	}
	f.bind(c)
	c.Flags().StringSliceVar(&f.listen, "listen", nil, "where to answer, one address of a family")
	c.Flags().StringSliceVar(&f.clients, "clients", private, "for whom names outside the cluster are looked up, besides this host")
	c.Flags().StringVar(&f.domain, "domain", "cluster.local", "the zone of the cluster")
	c.Flags().StringVar(&f.resolvConf, "resolv-conf", "/etc/resolv.conf", "names the servers that are asked about all other names")
	c.Flags().StringVar(&f.metrics, "metrics-bind-address", "", "where to serve /metrics, such as 127.0.0.1:9153 (default: nowhere)")
	c.MarkFlagRequired("listen")
	return c
}

func runDNS(ctx context.Context, f dnsFlags) error {
	at, err := parsed("listen", f.listen, netip.ParseAddrPort, func(a netip.AddrPort) bool { return a.Addr().Is6() })
	if err != nil {
		return err
	}
	var clients []netip.Prefix
	for _, text := range f.clients {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return fmt.Errorf("clients %q: must be a network such as 10.244.0.0/16", text)
		}
		clients = append(clients, p)
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
	go heap.Tend(ctx)
	w, metrics := world.New(), newMetrics()
	names := dns.New(dns.Config{Addrs: at, Domain: f.domain, Clients: clients, ResolvConf: f.resolvConf, Metrics: metrics}, w, log.With("part", "dns"))
	g, ctx := errgroup.WithContext(ctx)
	g.Go(named("world", ctx, func(ctx context.Context) error {
		return w.Follow(ctx, client, world.Services, world.EndpointSlices, world.Namespaces)
	}))
	g.Go(func() error { return sayWaiting(ctx, w, cfg.Host, log) })
	g.Go(named("dns", ctx, names.Run))
	if f.metrics != "" {
		g.Go(named("metrics", ctx, func(ctx context.Context) error { return servePage(ctx, f.metrics, metricsPage(metrics)) }))
	}
	select {
	case <-names.Ready():
		log.Info("answering", "addresses", at, "zone", f.domain)
		dropStart(log)
	case <-ctx.Done():
	}
	return g.Wait()
}

// servePage serves /metrics until ctx ends.
func servePage(ctx context.Context, at string, page http.Handler) error {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", page)
	server := &http.Server{Addr: at, Handler: mux, ReadHeaderTimeout: readHeaderTimeout}
	defer context.AfterFunc(ctx, func() { server.Close() })()
	return server.ListenAndServe()
}

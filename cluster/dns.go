package cluster

import (
	"context"
	"net/http"
	"net/netip"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"

	"fairlead.dev/fairlead/internal/heap"
	"fairlead.dev/fairlead/network/dns"
	"fairlead.dev/fairlead/network/world"
)

// DNS is the name server of a cluster by itself.
type DNS struct {
	API
	LogLevel   string
	Addrs      []netip.AddrPort // where it answers, one of each family
	Clients    []netip.Prefix   // for whom names outside the cluster are looked up, besides this host
	Domain     string           // the zone of the cluster
	ResolvConf string           // a file that names the servers of all other names
	Metrics    string           // ADDR:PORT of /metrics; empty: nowhere
}

// RunDNS serves the names of a cluster until ctx ends.
func RunDNS(ctx context.Context, p Process, d DNS) error {
	log, err := p.logger(d.LogLevel)
	if err != nil {
		return err
	}
	cfg, err := d.client(p.Version)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	go heap.Tend(ctx)
	w, metrics := world.New(), newMetrics()
	names := dns.New(dns.Config{Addrs: d.Addrs, Domain: d.Domain, Clients: d.Clients, ResolvConf: d.ResolvConf, Metrics: metrics}, w, log.With("part", "dns"))
	g, ctx := errgroup.WithContext(ctx)
	g.Go(named("world", ctx, func(ctx context.Context) error {
		return w.Follow(ctx, client, world.Services, world.EndpointSlices, world.Namespaces)
	}))
	g.Go(func() error { return sayWaiting(ctx, w, cfg.Host, log) })
	g.Go(named("dns", ctx, names.Run))
	if d.Metrics != "" {
		g.Go(named("metrics", ctx, func(ctx context.Context) error { return servePage(ctx, d.Metrics, metricsPage(metrics)) }))
	}
	select {
	case <-names.Ready():
		log.Info("answering", "addresses", d.Addrs, "zone", d.Domain)
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

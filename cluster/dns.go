package cluster

import (
	"context"
	"net/http"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"

	"fairlead.dev/fairlead/internal/heap"
	"fairlead.dev/fairlead/network/dns"
	"fairlead.dev/fairlead/network/world"
)

// DNS is the name server of a cluster by itself.
type DNS struct {
	API
	dns.Config
	LogLevel    string
	MetricsAddr string // ADDR:PORT of /metrics; empty: nowhere
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
	d.Metrics = metrics
	names := dns.New(d.Config, w, log.With("part", "dns"))
	g, ctx := errgroup.WithContext(ctx)
	if err := serveProfiles(ctx, g, p.Pprof); err != nil {
		return err
	}
	g.Go(named("world", ctx, func(ctx context.Context) error {
		return w.Follow(ctx, client, world.Services, world.EndpointSlices, world.Namespaces)
	}))
	g.Go(func() error { return sayWaiting(ctx, w, cfg.Host, log) })
	g.Go(named("dns", ctx, names.Run))
	if d.MetricsAddr != "" {
		g.Go(named("metrics", ctx, func(ctx context.Context) error { return servePage(ctx, d.MetricsAddr, metricsPage(metrics)) }))
	}
	select {
	case <-names.Ready():
		log.Info("answering", "addresses", d.Addrs, "zone", d.Domain)
		dropStart(ctx, log)
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

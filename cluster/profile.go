package cluster

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"

	"golang.org/x/sync/errgroup"
)

// serveProfiles serves Go's profiles at addr until ctx ends; empty: it does nothing. Profiles show memory and need no
// password, so only a loopback address is accepted.
func serveProfiles(ctx context.Context, g *errgroup.Group, addr string) error {
	if addr == "" {
		return nil
	}
	at, err := netip.ParseAddrPort(addr)
	if err != nil || !at.Addr().IsLoopback() {
		return fmt.Errorf("pprof %q: must be a loopback address with a port, such as 127.0.0.1:6060", addr)
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("pprof: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	server := &http.Server{Handler: mux}
	context.AfterFunc(ctx, func() { server.Close() })
	g.Go(named("pprof", ctx, func(context.Context) error { return server.Serve(listener) }))
	return nil
}

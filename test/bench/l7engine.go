package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/internal/heap"
	"fairlead.dev/fairlead/network/l7"
	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/lb"
)

// serveEngine is the L7 engine of the program with one route, which leads to the backend, plain and with TLS, without an access log.
func serveEngine(ctx context.Context, text []byte) error {
	var at place
	if err := json.Unmarshal(text, &at); err != nil {
		return err
	}
	cert, err := tls.LoadX509KeyPair(filepath.Join(at.Dir, certFile), filepath.Join(at.Dir, keyFile))
	if err != nil {
		return err
	}
	go heap.Tend(ctx)
	e := l7.New(l7.Config{Certificate: func(types.NamespacedName) *tls.Certificate { return &cert }}, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	service := types.NamespacedName{Namespace: "default", Name: "web"}
	e.Endpoints(service, 80, []lb.Backend{{Addr: at.Backend}})
	e.Serve(tableOf(at, service))
	for _, addr := range []netip.AddrPort{at.Plain, at.Secure} {
		l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(addr))
		if err != nil {
			return err
		}
		if _, err := e.Listen(l, l7.At(route.Point{Port: addr.Port()})); err != nil {
			return err
		}
	}
	<-ctx.Done()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	return e.Shutdown(ctx)
}

// tableOf has a route for the host of a place, at both of its ports.
func tableOf(at place, service types.NamespacedName) *route.Table {
	rule := &route.Rule{Action: route.Action{Backends: []route.Backend{{Service: service, Port: 80, Weight: 1}}}}
	rule.Match.Path.Value = "/"
	hosts := route.NewHosts([]*route.Host{{Name: at.Host, Rules: []*route.Rule{rule}}})
	table := &route.Table{Entries: map[route.Point]*route.Entry{}}
	for _, addr := range []netip.AddrPort{at.Plain, at.Secure} {
		l := &route.Listener{Name: "bench", Hosts: hosts}
		entry := &route.Entry{Point: route.Point{Port: addr.Port()}, Listeners: []*route.Listener{l}}
		if addr == at.Secure {
			l.TLS = &route.Termination{Certificates: []route.Certificate{{Secret: service}}}
			entry.Protocol = route.HTTPS
		}
		table.Entries[entry.Point] = entry
	}
	return table
}

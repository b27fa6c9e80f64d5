package health

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/host"
)

// listeners are the addresses on which a Server wants to answer, and the listeners it has. One goroutine has them.
type listeners struct {
	log      *slog.Logger
	complain func(types.NamespacedName, netip.AddrPort, error)
	wanted   map[netip.AddrPort]listener
	open     map[netip.AddrPort]opened
	refused  map[netip.AddrPort]error // why a wanted one is not open; each is complained about once
}

// listener is who answers at an address: a Service's health, or with an empty name the node's.
type listener struct {
	of      types.NamespacedName
	handler http.Handler
}

type opened struct {
	of     types.NamespacedName
	server *http.Server
}

func newListeners(log *slog.Logger, complain func(types.NamespacedName, netip.AddrPort, error)) *listeners {
	return &listeners{log: log, complain: complain, wanted: map[netip.AddrPort]listener{}, open: map[netip.AddrPort]opened{},
		refused: map[netip.AddrPort]error{}}
}

// want asks for a listener; settle makes it. Of two Services that want the same address the later one gets it.
func (d *listeners) want(at netip.AddrPort, of types.NamespacedName, handler http.Handler) {
	d.wanted[at] = listener{of, handler}
}

// unwant takes back what the Service wanted.
func (d *listeners) unwant(at netip.AddrPort, of types.NamespacedName) {
	if d.wanted[at].of == of {
		delete(d.wanted, at)
	}
}

// settle closes what is not wanted any more and opens what is.
func (d *listeners) settle(ctx context.Context) {
	for at, o := range d.open {
		if w, ok := d.wanted[at]; !ok || w.of != o.of {
			o.server.Close()
			delete(d.open, at)
			d.log.Info("health check closed", about(o.of, at)...)
		}
	}
	for at := range d.refused {
		if _, ok := d.wanted[at]; !ok {
			delete(d.refused, at)
		}
	}
	for at, w := range d.wanted {
		if _, ok := d.open[at]; ok {
			continue
		}
		server, err := listen(ctx, at, w.handler, d.log)
		if ctx.Err() != nil {
			return
		}
		before := d.refused[at]
		if err != nil {
			d.refused[at] = err
			if before == nil || before.Error() != err.Error() {
				d.log.Warn("cannot answer here; trying again every second", append(about(w.of, at), "err", err)...)
				d.complain(w.of, at, err)
			}
			continue
		}
		delete(d.refused, at)
		d.open[at] = opened{w.of, server}
		d.log.Info("answering", about(w.of, at)...)
	}
}

// about is what a listener is, for the log.
func about(of types.NamespacedName, at netip.AddrPort) []any {
	if of.Name == "" {
		return []any{"address", at}
	}
	return []any{"address", at, "service", of}
}

func (d *listeners) closeAll() {
	for _, o := range d.open {
		o.server.Close()
	}
}

// Health checks are small, frequent and anonymous: nothing of a caller is waited for long.
const (
	readTimeout = 5 * time.Second
	idleTimeout = 30 * time.Second
	maxHeader   = 8 << 10
)

// listen serves a handler at an address until the returned server is closed.
func listen(ctx context.Context, at netip.AddrPort, handler http.Handler, log *slog.Logger) (*http.Server, error) {
	socket, err := new(net.ListenConfig).Listen(ctx, "tcp", at.String())
	if err != nil {
		return nil, explain(err, at)
	}
	server := &http.Server{
		Handler: handler, ReadTimeout: readTimeout, WriteTimeout: readTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	go func() { _ = server.Serve(socket) }() // ends with Close, with an error that says so
	return server, nil
}

// explain says what to do about an address that cannot be bound.
func explain(err error, at netip.AddrPort) error {
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		if pid, name, taken := host.PortHolder("tcp", at); taken && pid != 0 {
			return fmt.Errorf("%w: %s (pid %d) holds the port: stop it, or give it another port", err, name, pid)
		}
		return fmt.Errorf("%w: `ss -lntp sport = :%d` names the program that holds the port", err, at.Port())
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("%w: no interface of this node holds %s", err, at.Addr())
	}
	return err
}

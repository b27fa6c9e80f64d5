// Package apitest starts the real API server inside a test, over its own store in a temporary directory.
package apitest

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/alloc"
	"fairlead.dev/fairlead/apiserver"
	"fairlead.dev/fairlead/pki"
)

// patience bounds starting and stopping; both take well under a second on a quiet machine.
const patience = 60 * time.Second

// Start runs the API server until the test ends and returns its administrator's configuration: an own copy,
// in protobuf, without a rate limit.
func Start(t testing.TB) *rest.Config {
	t.Helper()
	server, _ := Run(t, Config(t, t.TempDir()))
	return server.ClientConfig()
}

// Config is the configuration Start uses, over the data directory dir, for tests that change it or restart
// the server. Its Bind is a free port of the loopback address.
func Config(t testing.TB, dir string) apiserver.Config {
	t.Helper()
	ca, err := pki.LoadOrCreate(dir + "/pki")
	if err != nil {
		t.Fatal(err)
	}
	keys, err := pki.AccountKeys(dir + "/pki")
	if err != nil {
		t.Fatal(err)
	}
	return apiserver.Config{
		DataDir:      dir,
		Bind:         netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), freePort(t)),
		Advertise:    netip.AddrFrom4([4]byte{127, 0, 0, 1}),
		ServiceCIDRs: []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12")},
		ClusterDNS:   []netip.Addr{netip.MustParseAddr("10.96.0.10")},
		Domain:       "cluster.local",
		NodePorts:    alloc.PortRange{First: 30000, Last: 32767},
		CA:           ca,
		AccountKeys:  keys,
	}
}

// latest is whose test the libraries' log lines are: where they log to is one variable of the process, which must be set before
// anything of theirs runs.
var latest atomic.Pointer[quiet]

func init() {
	apiserver.RedirectLogs(slog.New(slog.NewTextHandler(toLatest{}, &slog.HandlerOptions{Level: slog.LevelWarn})))
}

type toLatest struct{}

// Write is part of io.Writer.
func (toLatest) Write(p []byte) (int, error) {
	if test := latest.Load(); test != nil {
		return test.Write(p)
	}
	return len(p), nil
}

// Run starts a server with cfg, waits until it is ready, and returns it with a function that stops it and
// waits for its end. The test's end stops it too.
func Run(t testing.TB, cfg apiserver.Config) (server *apiserver.Server, stop func()) {
	t.Helper()
	log := slog.New(slog.NewTextHandler(quiet{t}, &slog.HandlerOptions{Level: slog.LevelWarn}))
	latest.Store(&quiet{t})
	server, err := apiserver.New(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-ended:
				if err != nil && !errors.Is(err, context.Canceled) {
					t.Errorf("api server: %v", err)
				}
			case <-time.After(patience):
				t.Error("api server did not stop")
			}
		})
	}
	t.Cleanup(stop)
	select {
	case <-server.Ready():
	case err := <-ended:
		ended <- err
		t.Fatalf("api server ended before it was ready: %v", err)
	case <-time.After(patience):
		t.Fatal("api server not ready")
	}
	return server, stop
}

func freePort(t testing.TB) uint16 {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}

// quiet writes log lines into the test's output; lines that come after the test's end are dropped.
type quiet struct{ t testing.TB }

// Write is part of io.Writer.
func (q quiet) Write(p []byte) (int, error) {
	if q.t.Context().Err() == nil {
		_, _ = io.WriteString(q.t.Output(), strings.TrimRight(string(p), "\n")+"\n")
	}
	return len(p), nil
}

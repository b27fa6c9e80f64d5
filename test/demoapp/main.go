// Command demoapp is the web server of the demonstrations. It answers as
// ikubernetes/demoapp:v1.0 does: who asked, which pod answered, and health
// endpoints that a POST can turn bad and good again.
//
//	/            iKubernetes demoapp v1.0 !! ClientIP: 10.244.1.5, ServerName: demoapp-x, ServerIP: 10.244.2.7!
//	/hostname    ServerName: demoapp-x
//	/user-agent  User-Agent: curl/7.88.1
//	/version     v1.0
//	/livez       OK, or 506 after POST livez=FAIL
//	/readyz      OK, or 507 after POST readyz=FAIL
//
// PORT (80), HOST (every address) and VERSION (v1.0) come from the environment.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// grace is how long requests under way may take after SIGTERM.
const grace = 5 * time.Second

func main() {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	hostname, err := os.Hostname()
	if err != nil {
		log.Error("demoapp: no host name", "error", err)
		os.Exit(1)
	}
	addr := net.JoinHostPort(os.Getenv("HOST"), env("PORT", "80"))
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		log.Error("demoapp: cannot listen; set HOST or PORT", "error", err)
		os.Exit(1)
	}
	log.Info("demoapp serves", "address", listener.Addr().String(), "hostname", hostname)
	if err := serve(ctx, listener, newHandler(hostname, env("VERSION", "v1.0"))); err != nil {
		log.Error("demoapp", "error", err)
		os.Exit(1)
	}
}

// serve answers on listener until ctx ends, then lets requests under way finish.
func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		limit, cancel := context.WithTimeout(context.Background(), grace)
		defer cancel()
		stopped <- server.Shutdown(limit)
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", listener.Addr(), err)
	}
	return <-stopped
}

func env(key, fallback string) string {
	if v := os.Getenv(key); v != "" {
		return v
	}
	return fallback
}

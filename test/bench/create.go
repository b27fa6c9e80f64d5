package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

// growth is what a bulk of objects took.
type growth struct {
	objects int
	took    time.Duration
	cpu     time.Duration // of the program
}

// grown makes Services until there are size, and returns, if that is wanted, what the bulk of them took, beside what the
// same clients reach against a server that only gives back what it was sent.
func (w *crowd) grown(ctx context.Context, size int, wanted bool) ([]row, error) {
	g, err := w.grow(ctx, size)
	if err != nil || g.objects == 0 || !wanted {
		return nil, err
	}
	floor, err := w.echoRate(ctx, 5000)
	if err != nil {
		return nil, err
	}
	speed := float64(g.objects) / g.took.Seconds()
	return []row{{
		fmt.Sprintf("create Service + EndpointSlice, %d clients, up to %s Services", clients, thousands(size)),
		fmt.Sprintf("%.0f objects/s (%s in %s, %.2f ms of processor each)", speed, thousands(g.objects), show(g.took), g.cpu.Seconds()*1000/float64(g.objects)),
		fmt.Sprintf("a server that only echoes: %.0f/s", floor), held(">= 1 500 objects/s", speed >= 1500),
	}}, nil
}

// echoRate is how many objects a second the clients write to a server that does nothing with them.
func (w *crowd) echoRate(ctx context.Context, n int) (float64, error) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", r.Header.Get("Content-Type"))
		rw.WriteHeader(http.StatusCreated)
		io.Copy(rw, r.Body)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	echo := &crowd{cluster: w.cluster}
	for range clients {
		cfg := &rest.Config{Host: server.URL, QPS: -1, TLSClientConfig: rest.TLSClientConfig{Insecure: true}, ContentConfig: rest.ContentConfig{ContentType: "application/vnd.kubernetes.protobuf"}}
		client, err := dialing(cfg)
		if err != nil {
			return 0, err
		}
		echo.clients = append(echo.clients, client)
	}
	start := time.Now()
	err := echo.each(ctx, n, func(client kubernetes.Interface, i int) error { return makeBulk(ctx, client, i) })
	return float64(2*n) / time.Since(start).Seconds(), err
}

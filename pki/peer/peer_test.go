package peer

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"fairlead.dev/fairlead/pki"
)

func authority(t *testing.T) *pki.Authority {
	t.Helper()
	ca, err := pki.LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func source(t *testing.T, ca *pki.Authority, r pki.Request) *pki.Source {
	t.Helper()
	s, err := ca.Source(r)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// serve answers over TLS as whoever a source speaks for, with the caller's name and the certificate's number.
func serve(t *testing.T, ca *pki.Authority, as *pki.Source, now func() time.Time, next <-chan struct{}) (server *httptest.Server, connections *atomic.Int32) {
	t.Helper()
	connections = new(atomic.Int32)
	server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := r.TLS.PeerCertificates[0]
		if r.URL.Path == "/wait" { // a watch
			io.WriteString(w, "begun\n")
			w.(http.Flusher).Flush()
			<-next
			io.WriteString(w, "still\n")
			return
		}
		io.WriteString(w, c.Subject.CommonName+" "+c.SerialNumber.String())
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{*as.Current()}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool(), Time: now, NextProtos: []string{"h2", "http/1.1"}}
	server.EnableHTTP2 = true
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server, connections
}

func get(t *testing.T, transport http.RoundTripper, url string) (string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

func TestAnAgentMustBeTheOneThatIsMeant(t *testing.T) {
	ca := authority(t)
	node := func(common, name string) pki.Request {
		return pki.Request{CommonName: common, Organizations: []string{"system:nodes"}, Names: []string{name}, Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Server: true}
	}
	for name, tt := range map[string]struct {
		as   pki.Request
		want string
	}{
		"the node":                        {node("system:node:n1", "n1"), ""},
		"another node":                    {node("system:node:n2", "n2"), "n1"},
		"the API server, under this name": {node(pki.APIServer, "n1"), "in place of node n1"},
		"another node, under this name":   {node("system:node:n2", "n1"), "in place of node n1"},
		"the node's own client":           {pki.Request{CommonName: "system:node:n1", Names: []string{"n1"}, Client: true}, "usage"},
	} {
		server, _ := serve(t, ca, source(t, ca, tt.as), time.Now, nil)
		transport := Agents(source(t, ca, Caller()), ca.Pool(), func(_ context.Context, name string) (netip.AddrPort, error) {
			return netip.MustParseAddrPort(server.Listener.Addr().String()), nil
		})
		got, err := get(t, transport, "https://n1:10250/")
		transport.CloseIdleConnections()
		if tt.want == "" && (err != nil || !strings.HasPrefix(got, callerName)) || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// TestClientsRenewTheirCertificate moves the clock: new requests show the new certificate, and a watch that began with the old
// one is not broken.
func TestClientsRenewTheirCertificate(t *testing.T) {
	ca := authority(t)
	var moved atomic.Int64
	next := make(chan struct{})
	now := func() time.Time { return time.Now().Add(time.Duration(moved.Load())) }
	ca.Now = now
	server, connections := serve(t, ca, source(t, ca, pki.Request{CommonName: pki.APIServer, Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Server: true}), now, next)
	api := API(source(t, ca, pki.Request{CommonName: "system:node:n1", Client: true}), ca.CertPEM())
	first, err := get(t, api, server.URL)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/wait", nil)
	if err != nil {
		t.Fatal(err)
	}
	watch, err := api.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Body.Close()
	moved.Store(int64(250 * 24 * time.Hour))
	second, err := get(t, api, server.URL)
	if err != nil || second == first {
		t.Errorf("first %s, eight months later %s, %v", first, second, err)
	}
	if again, err := get(t, api, server.URL); again != second || err != nil || connections.Load() != 2 {
		t.Errorf("then %s, %v; %d connections, want 2", again, err, connections.Load())
	}
	close(next)
	if lines, err := io.ReadAll(watch.Body); err != nil || string(lines) != "begun\nstill\n" {
		t.Errorf("the watch: %q, %v", lines, err)
	}
}

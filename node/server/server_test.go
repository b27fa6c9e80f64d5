package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"fairlead.dev/fairlead/api/probe"
	"fairlead.dev/fairlead/pki"
	"fairlead.dev/fairlead/pki/peer"
)

// TestProbesAreForTheControlPlane: the path that makes a node open connections obeys the control plane, over
// TLS with a certificate of the cluster, and nobody else: not a node, not a stranger, not a certificate of another cluster.
func TestProbesAreForTheControlPlane(t *testing.T) {
	ca, other := authority(t), authority(t)
	at := freePort(t)
	cert, err := ca.Source(pki.Request{CommonName: "system:node:n1", Organizations: []string{"system:nodes"}, Addrs: []netip.Addr{at.Addr()}, Server: true})
	if err != nil {
		t.Fatal(err)
	}
	server := New(Config{Listen: at, Cert: cert, ClientCAs: ca.Pool()}, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	listening(t, at)

	for _, c := range []struct {
		who   string
		certs []tls.Certificate
		want  string
	}{
		{"the control plane", client(t, ca, "fairlead-apiserver-agent-client", peer.CallerGroup), `200 {"ok":false,"message":"`},
		{"the API server's name alone", client(t, ca, "fairlead-apiserver-agent-client"), "403 Forbidden"},
		{"an administrator, who has to come by the API server", client(t, ca, "admin", "system:masters"), "403 Forbidden (user=admin)"},
		{"a node", client(t, ca, "system:node:n2", "system:nodes"), "403 Forbidden (user=system:node:n2)"},
		{"a user", client(t, ca, "jane", "developers"), "403 Forbidden (user=jane)"},
		{"the control plane of another cluster", client(t, other, "fairlead-apiserver-agent-client", peer.CallerGroup), "tls: "},
		{"nobody", nil, "tls: "},
	} {
		if got := askProbe(t, ca, "https://"+at.String(), c.certs); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", c.who, got, c.want)
		}
	}
	if got := askProbe(t, ca, "http://"+at.String(), nil); strings.HasPrefix(got, "200") {
		t.Errorf("without TLS: %q", got)
	}
}

// askProbe asks for a probe that fails and returns the status and the answer, or the error.
func askProbe(t *testing.T, ca *pki.Authority, server string, certs []tls.Certificate) string {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool(), Certificates: certs}}
	defer transport.CloseIdleConnections()
	var request probe.Request
	if err := json.Unmarshal([]byte(`{"address":"192.0.2.1","port":1,"timeoutSeconds":1,"handler":{"tcpSocket":{"port":1}}}`), &request); err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	response, err := (&http.Client{Transport: transport, Timeout: time.Minute}).Post(server+probe.Path, "application/json", strings.NewReader(string(body)))
	if err != nil {
		return err.Error()
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return err.Error()
	}
	return response.Status[:4] + string(text)
}

func authority(t *testing.T) *pki.Authority {
	t.Helper()
	ca, err := pki.LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// client is a certificate for a caller.
func client(t *testing.T, ca *pki.Authority, name string, groups ...string) []tls.Certificate {
	t.Helper()
	cert, key, err := ca.Issue(pki.Request{CommonName: name, Organizations: groups, Client: true})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return []tls.Certificate{pair}
}

// listening waits until somebody accepts connections.
func listening(t *testing.T, at netip.AddrPort) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		conn, err := net.Dial("tcp", at.String())
		if err == nil {
			conn.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func freePort(t *testing.T) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return netip.MustParseAddrPort(l.Addr().String())
}

func TestOnlyTheControlPlaneMayAsk(t *testing.T) {
	handler := onlyControlPlane(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	for _, test := range []struct {
		subject *pkix.Name
		want    int
	}{
		{nil, http.StatusUnauthorized},
		{&pkix.Name{CommonName: "system:node:n2", Organization: []string{"system:nodes"}}, http.StatusForbidden},
		{&pkix.Name{CommonName: "fairlead-apiserver"}, http.StatusForbidden},
		{&pkix.Name{CommonName: "admin", Organization: []string{"system:masters"}}, http.StatusForbidden},
		{&pkix.Name{CommonName: "fairlead-apiserver-agent-client", Organization: []string{peer.CallerGroup}}, http.StatusNoContent},
	} {
		r := httptest.NewRequest(http.MethodGet, "/pods", nil)
		if test.subject != nil {
			r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Subject: *test.subject}}}
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		if w.Code != test.want {
			t.Errorf("%v: got %d, want %d", test.subject, w.Code, test.want)
		}
	}
}

// TestMetricsPage: metrics are served to those whom the agent obeys, if there are any.
func TestMetricsPage(t *testing.T) {
	page := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("up 1\n")) })
	for name, c := range map[string]struct {
		cfg    Config
		caller string
		code   int
		body   string
	}{
		"the API server": {Config{Handlers: map[string]http.Handler{"/metrics": page}}, peer.CallerGroup, 200, "up 1\n"},
		"a node":         {Config{Handlers: map[string]http.Handler{"/metrics": page}}, "system:nodes", 403, "Forbidden (user=someone)\n"},
		"none":           {Config{}, peer.CallerGroup, 404, "404 page not found\n"},
	} {
		r := httptest.NewRequest("GET", "/metrics", nil)
		r.TLS = &tls.ConnectionState{PeerCertificates: []*x509.Certificate{{Subject: pkix.Name{CommonName: "someone", Organization: []string{c.caller}}}}}
		w := httptest.NewRecorder()
		New(c.cfg, slog.New(slog.DiscardHandler)).handler().ServeHTTP(w, r)
		if w.Code != c.code || w.Body.String() != c.body {
			t.Errorf("%s: %d %q, want %d %q", name, w.Code, w.Body, c.code, c.body)
		}
	}
}

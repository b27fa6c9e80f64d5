package node

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
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
	agent := New(Config{Listen: at, Cert: serving(t, ca, []netip.Addr{at.Addr()}), ClientCAs: ca.Pool()}, nil, nil, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- agent.serve(ctx) }()
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

package join

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"fairlead.dev/fairlead/pki"
)

var (
	nodeAddr = []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("fd00::2")}
	cluster  = Cluster{Pods: []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}, Services: []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12")}, DNS: []netip.Addr{netip.MustParseAddr("10.96.0.10")}, Domain: "cluster.local"}
)

// serve runs the handler behind a certificate of its own authority, as the API server does.
func serve(t *testing.T) (url string, ca *pki.Authority) {
	t.Helper()
	ca, err := pki.LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	certPEM, keyPEM, err := ca.Issue(pki.Request{CommonName: "kube-apiserver", Addrs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Server: true})
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(append(certPEM, ca.CertPEM()...), keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(Path, &Handler{CA: ca, Secret: "open-sesame", Cluster: cluster, Dir: t.TempDir()})
	srv := httptest.NewUnstartedServer(mux)
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv.URL, ca
}

func TestJoin(t *testing.T) {
	url, ca := serve(t)
	got, err := Node(context.Background(), url, Token(ca, "open-sesame"), "node1", strings.Repeat("s", 16), nodeAddr)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got.Cluster, cluster) {
		t.Errorf("cluster %+v", got.Cluster)
	}
	block, _ := pem.Decode(got.ClientCert)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if cert.Subject.CommonName != "system:node:node1" || cert.Subject.Organization[0] != "system:nodes" {
		t.Errorf("client certificate of %v", cert.Subject)
	}
	if _, err := tls.X509KeyPair(got.ServingCert, got.ServingKey); err != nil {
		t.Errorf("serving pair: %v", err)
	}
}

func TestJoinRefusals(t *testing.T) {
	url, ca := serve(t)
	_, other := serve(t)
	secret := strings.Repeat("s", 16)
	if _, err := Node(context.Background(), url, Token(ca, "open-sesame"), "node1", secret, nodeAddr); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ token, node, secret, want string }{
		"wrong secret":      {Token(ca, "guess"), "node2", secret, "wrong token"},
		"another authority": {Token(other, "open-sesame"), "node2", secret, "not the one the token names"},
		"not a token":       {"hello", "node2", secret, "token: must be"},
		"name taken":        {Token(ca, "open-sesame"), "node1", strings.Repeat("x", 16), "another machine joined"},
		"bad name":          {Token(ca, "open-sesame"), "../etc", secret, "bad name"},
	} {
		if _, err := Node(context.Background(), url, c.token, c.node, c.secret, nodeAddr); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	if _, err := Node(context.Background(), url, Token(ca, "open-sesame"), "node1", secret, nodeAddr); err != nil {
		t.Errorf("the same machine again: %v", err)
	}
}

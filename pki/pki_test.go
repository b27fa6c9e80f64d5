package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func leaf(t *testing.T, certPEM, keyPEM []byte) *x509.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}

func TestIssuedCertificateIsTrustedForItsUseOnly(t *testing.T) {
	ca, err := LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := ca.Issue(Request{CommonName: "web", Names: []string{"kubernetes"}, Addrs: []netip.Addr{netip.MustParseAddr("10.96.0.1")}, Server: true})
	if err != nil {
		t.Fatal(err)
	}
	c := leaf(t, cert, key)
	for _, name := range []string{"kubernetes", "10.96.0.1"} {
		if _, err := c.Verify(x509.VerifyOptions{Roots: ca.Pool(), DNSName: name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.Verify(x509.VerifyOptions{Roots: ca.Pool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}); err == nil {
		t.Error("a server certificate was accepted as a client's")
	}
}

func TestLoadGivesTheSameAuthority(t *testing.T) {
	dir := t.TempDir()
	first, err := LoadOrCreate(dir)
	if err != nil {
		t.Fatal(err)
	}
	second, err := LoadOrCreate(dir)
	if err != nil {
		t.Fatal(err)
	}
	if first.Fingerprint() != second.Fingerprint() {
		t.Error("a second load made another authority")
	}
	if info, err := os.Stat(filepath.Join(dir, "ca.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("ca.key: mode %v, err %v; want 0600", info.Mode(), err)
	}
}

func TestHalfAnAuthorityIsRefused(t *testing.T) {
	dir := t.TempDir()
	if _, err := LoadOrCreate(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "ca.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadOrCreate(dir); err == nil || !strings.Contains(err.Error(), "ca.key") {
		t.Errorf("got %v, want an error that names ca.key", err)
	}
}

func TestSignTakesOnlyTheKeyFromTheRequest(t *testing.T) {
	ca, err := LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	csr, key, err := NewRequest()
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ca.Sign(Request{CommonName: "system:node:a", Organizations: []string{"system:nodes"}, Client: true}, csr)
	if err != nil {
		t.Fatal(err)
	}
	if c := leaf(t, cert, key); c.Subject.CommonName != "system:node:a" || c.Subject.Organization[0] != "system:nodes" {
		t.Errorf("subject %v", c.Subject)
	}
	if _, err := ca.Sign(Request{}, []byte("junk")); err == nil {
		t.Error("junk was signed")
	}
}

// request is a signing request for a key, with everything in it that an attacker may wish for.
func request(t *testing.T, key any) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:  pkix.Name{CommonName: "admin", Organization: []string{"system:masters"}},
		DNSNames: []string{"kubernetes.default.svc"}, IPAddresses: []net.IP{net.IPv4(10, 96, 0, 1)}, EmailAddresses: []string{"a@b"},
		URIs:            []*url.URL{{Scheme: "spiffe", Host: "cluster", Path: "/admin"}},
		ExtraExtensions: []pkix.Extension{{Id: []int{2, 5, 29, 19}, Critical: true, Value: []byte{0x30, 3, 1, 1, 0xff}}}, // CA: true
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func TestARequestSmugglesNothingIn(t *testing.T) {
	ca, err := LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	certPEM, err := ca.Sign(Request{CommonName: "system:node:a", Names: []string{"a"}, Server: true}, request(t, key))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(certPEM)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if c.Subject.String() != "CN=system:node:a" || !slices.Equal(c.DNSNames, []string{"a"}) || len(c.IPAddresses)+len(c.URIs)+len(c.EmailAddresses) > 0 ||
		c.IsCA || c.KeyUsage != x509.KeyUsageDigitalSignature || !slices.Equal(c.ExtKeyUsage, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}) {
		t.Errorf("%v, names %v %v %v, authority %v, usage %v %v", c.Subject, c.DNSNames, c.IPAddresses, c.URIs, c.IsCA, c.KeyUsage, c.ExtKeyUsage)
	}
}

func TestOnlyStrongKeysAreSigned(t *testing.T) {
	ca, err := LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	small, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	large, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []any{small, large} {
		if _, err := ca.Sign(Request{CommonName: "a"}, request(t, key)); err == nil {
			t.Errorf("a key of type %T was signed", key)
		}
	}
}

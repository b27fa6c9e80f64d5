package pki

import (
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"os"
	"path/filepath"
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

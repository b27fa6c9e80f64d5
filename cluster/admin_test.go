package cluster

import (
	"crypto/x509"
	"net/netip"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"fairlead.dev/fairlead/cluster/instance"
	"fairlead.dev/fairlead/pki"
)

// TestAdminKubeconfigHoldsAValidCertificate moves the clock by eight months, twice.
func TestAdminKubeconfigHoldsAValidCertificate(t *testing.T) {
	ca, err := pki.LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	ca.Now = func() time.Time { return now }
	a, err := newAdminAccess(instance.Instance{Dir: t.TempDir()}, "c", netip.MustParseAddrPort("127.0.0.1:6443"), ca)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		cfg, err := clientcmd.BuildConfigFromFlags("", a.path)
		if err != nil {
			t.Fatal(err)
		}
		held, err := pki.NewSource(cfg.CertData, cfg.KeyData)
		if err != nil {
			t.Fatal(err)
		}
		options := x509.VerifyOptions{Roots: ca.Pool(), CurrentTime: now.Add(90 * 24 * time.Hour), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
		if _, err := held.Current().Leaf.Verify(options); err != nil {
			t.Errorf("three months after %s: %v", now, err)
		}
		now = now.Add(245 * 24 * time.Hour)
		if err := a.write(); err != nil {
			t.Fatal(err)
		}
	}
}

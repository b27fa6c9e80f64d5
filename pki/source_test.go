package pki

import (
	"crypto/x509"
	"testing"
	"time"
)

// ends is when a source's present certificate ends.
func ends(s *Source) time.Time { return s.Current().Leaf.NotAfter }

func TestASourceRenewsItselfLongBeforeItsEnd(t *testing.T) {
	ca, err := LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	ca.Now = func() time.Time { return now }
	s, err := ca.Source(Request{CommonName: "web", Names: []string{"web"}, Server: true})
	if err != nil {
		t.Fatal(err)
	}
	first := ends(s)
	now = now.Add(leafLifetime / 2)
	if ends(s) != first || s.Due() {
		t.Error("renewed at half of its life")
	}
	for range 9 { // nine times eight months
		now = now.Add(leafLifetime * 2 / 3)
		c := s.Current().Leaf
		if left := c.NotAfter.Sub(now); left < leafLifetime/4 {
			t.Errorf("only %s left", left)
		}
		if _, err := c.Verify(x509.VerifyOptions{Roots: ca.Pool(), DNSName: "web", CurrentTime: now}); err != nil {
			t.Error(err)
		}
	}
}

func TestNothingOutlivesTheAuthority(t *testing.T) {
	ca, err := LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ca.Now = func() time.Time { return ca.Ends().Add(-time.Hour) }
	s, err := ca.Source(Request{CommonName: "web", Server: true})
	if err != nil {
		t.Fatal(err)
	}
	if got := ends(s); got.After(ca.Ends()) {
		t.Errorf("ends %s, after its authority", got)
	}
}

func TestAForeignSourceIsRenewedFromOutside(t *testing.T) {
	ca, err := LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	issue := func() *Source {
		cert, key, err := ca.Issue(Request{CommonName: "web", Client: true})
		if err != nil {
			t.Fatal(err)
		}
		s, err := NewSource(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := issue()
	s.now = func() time.Time { return time.Now().Add(leafLifetime * 3 / 4) }
	if old := s.Current(); !s.Due() || s.Current() != old {
		t.Error("not due, or renewed by itself")
	}
	if err := s.Replace(issue().PEM()); err != nil {
		t.Error(err)
	}
	if err := s.Replace([]byte("junk"), nil); err == nil || s.Current() == nil {
		t.Error("junk took its place")
	}
}

package l7

import (
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"fairlead.dev/fairlead/network/l7/route"
)

// A client's certificate is looked at once for each set of authorities and depth, as long as what came of it can be so.
func TestClientsCertificatesAreLookedAtOnce(t *testing.T) {
	leaf := certFor(t, nil, "client").Leaf
	ours, others := x509.NewCertPool(), x509.NewCertPool()
	ours.AddCert(leaf)
	v, shown := &verified{}, []*x509.Certificate{leaf}
	ask := func(cas *x509.CertPool, at time.Time) error {
		return v.verify(shown, &route.CertificateAuth{CAs: cas, Depth: 1}, at)
	}
	now := leaf.NotBefore.Add(time.Minute)
	if err := ask(ours, now); err != nil {
		t.Fatal(err)
	}
	if err := ask(others, now); err == nil {
		t.Error("by authorities that do not know it, it is good as well")
	}
	was := errors.New("what came of it before")
	for by, o := range v.of {
		o.err = was
		v.of[by] = o
	}
	for what, at := range map[string]time.Time{"at once": now, "until it expires": leaf.NotAfter.Add(-time.Second)} {
		if err := ask(ours, at); !errors.Is(err, was) {
			t.Errorf("good, %s: looked at again, %v", what, err)
		}
	}
	if err := ask(others, now.Add(refusedFor-time.Second)); !errors.Is(err, was) {
		t.Errorf("refused, soon after: looked at again, %v", err)
	}
	if err := ask(others, now.Add(refusedFor)); errors.Is(err, was) {
		t.Error("refused, and not looked at again later")
	}
	if err := ask(ours, leaf.NotAfter.Add(time.Second)); err == nil || errors.Is(err, was) {
		t.Errorf("after it has expired: %v", err)
	}
}

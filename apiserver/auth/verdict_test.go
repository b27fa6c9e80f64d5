package auth

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/url"
	"testing"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"

	"fairlead.dev/fairlead/pki"
)

// counting counts how often a chain is really verified.
type counting struct {
	authenticator.Request
	calls int
}

func (c *counting) AuthenticateRequest(r *http.Request) (*authenticator.Response, bool, error) {
	c.calls++
	return c.Request.AuthenticateRequest(r)
}

func authority(t *testing.T) *pki.Authority {
	t.Helper()
	ca, err := pki.LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// showing is a request whose client showed a certificate of its own.
func showing(t *testing.T, ca *pki.Authority, name string) *http.Request {
	t.Helper()
	text, _, err := ca.Issue(pki.Request{CommonName: name, Organizations: []string{"team"}, Client: true})
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Request{URL: &url.URL{Path: "/api"}, TLS: &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}}}
}

// nobodys finds every token to be nobody's.
var nobodys = authenticator.TokenFunc(func(context.Context, string) (*authenticator.Response, bool, error) { return nil, false, nil })

func TestVerdictsAreRememberedForAWhile(t *testing.T) {
	ca := authority(t)
	real := &counting{Request: Authenticator(ca.Pool(), nobodys)}
	v := newVerdicts(real)
	now := time.Now()
	v.now = func() time.Time { return now }
	jane, joe := showing(t, ca, "jane"), showing(t, ca, "joe")
	ask := func(r *http.Request, name string, calls int) {
		t.Helper()
		response, ok, err := v.AuthenticateRequest(r)
		if err != nil || !ok || response.User.GetName() != name {
			t.Fatalf("%v, %v, %v: want user %s", response, ok, err, name)
		}
		if real.calls != calls {
			t.Errorf("%d chains were verified, want %d", real.calls, calls)
		}
	}
	ask(jane, "jane", 1)
	ask(jane, "jane", 1)
	ask(joe, "joe", 2)
	ask(jane, "jane", 2)
	now = now.Add(verdictLife + time.Second)
	ask(jane, "jane", 3)
	now = jane.TLS.PeerCertificates[0].NotAfter.Add(-time.Second) // within a minute of its end
	ask(jane, "jane", 4)
	now = now.Add(time.Second)
	ask(jane, "jane", 5) // not remembered beyond its end: verified again, by the real clock
}

func TestRefusalsAreNotRemembered(t *testing.T) {
	real := &counting{Request: Authenticator(authority(t).Pool(), nobodys)}
	v := newVerdicts(real)
	stranger := showing(t, authority(t), "mallory")
	for i := range 2 {
		if response, ok, err := v.AuthenticateRequest(stranger); ok || err == nil {
			t.Errorf("a certificate of another authority: %v, %v, %v", response, ok, err)
		}
		if real.calls != i+1 {
			t.Errorf("%d chains were verified after %d requests", real.calls, i+1)
		}
	}
	if len(v.known) > 0 {
		t.Errorf("%d verdicts are kept", len(v.known))
	}
}

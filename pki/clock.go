package pki

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Untimely says why a certificate is not good now: in nearly all cases a clock is wrong, here or where it was made. "" if it is good.
func Untimely(cert *x509.Certificate, now time.Time) string {
	says := "the clock here says " + now.UTC().Format(time.RFC3339)
	switch {
	case now.Before(cert.NotBefore):
		return fmt.Sprintf("the certificate of %q begins at %s, and %s: one of the two machines has a wrong clock", cert.Subject.CommonName, cert.NotBefore.UTC().Format(time.RFC3339), says)
	case now.After(cert.NotAfter):
		return fmt.Sprintf("the certificate of %q has ended at %s, and %s: one of the two machines has a wrong clock, or it was not renewed",
			cert.Subject.CommonName, cert.NotAfter.UTC().Format(time.RFC3339), says)
	}
	return ""
}

// Clock explains an error of a connection that was about the time of a certificate. Others it returns as they are.
func Clock(err error) error {
	var invalid x509.CertificateInvalidError
	if !errors.As(err, &invalid) || invalid.Reason != x509.Expired || invalid.Cert == nil {
		return err
	}
	if why := Untimely(invalid.Cert, time.Now()); why != "" {
		return fmt.Errorf("%s (%w)", why, err)
	}
	return err
}

// Clocked is a transport whose errors Clock has explained.
func Clocked(rt http.RoundTripper) http.RoundTripper { return clocked{rt} }

type clocked struct{ http.RoundTripper }

// RoundTrip is part of http.RoundTripper.
func (c clocked) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := c.RoundTripper.RoundTrip(r)
	return answer, Clock(err)
}

// WrappedRoundTripper is the transport that makes the requests, as k8s.io/apimachinery looks for it.
func (c clocked) WrappedRoundTripper() http.RoundTripper { return c.RoundTripper }

// Untimely says why the authority is not good now; "" if it is.
func (a *Authority) Untimely(now time.Time) string { return Untimely(a.cert, now) }

// Knows says whether the authority has signed a certificate, whatever the time and whatever for.
func (a *Authority) Knows(cert *x509.Certificate) bool { return cert.CheckSignatureFrom(a.cert) == nil }

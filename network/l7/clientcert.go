package l7

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"fairlead.dev/fairlead/network/l7/route"
)

// clientHeaders tell a backend of the client's certificate.
var clientHeaders = []string{"Ssl-Client-Verify", "Ssl-Client-Subject-Dn", "Ssl-Client-Issuer-Dn", "Ssl-Client-Cert"}

// certified checks the certificate that the client has shown, and has the backend know it.
func (x *exchange) certified() bool {
	a := x.plan.Certificate
	if a == nil {
		return true
	}
	if x.conn.secure && !x.conn.asked {
		x.fail(http.StatusMisdirectedRequest, "the client has to show a certificate, which this connection was not asked for: open one for this host")
		return false
	}
	shown, said := x.conn.shown, "NONE"
	var err error
	if len(shown) > 0 {
		said = "SUCCESS"
		if err = x.conn.verified.verify(shown, a, time.Now()); err != nil {
			said = "FAILED:" + err.Error()
		}
	}
	if !a.Unverified && (err != nil || len(shown) == 0 && !a.Optional) {
		x.uncertified(a, err)
		return false
	}
	h := x.r.Header
	settle(h)
	for name := range h { // what the client says there is not so, with "_" neither: programs that get headers by way of CGI see no difference
		if slices.Contains(clientHeaders, http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))) {
			delete(h, name)
		}
	}
	h["Ssl-Client-Verify"] = []string{headerText(said)}
	if len(shown) > 0 {
		h["Ssl-Client-Subject-Dn"], h["Ssl-Client-Issuer-Dn"] = []string{headerText(shown[0].Subject.String())}, []string{headerText(shown[0].Issuer.String())}
		if a.Pass {
			h["Ssl-Client-Cert"] = []string{url.PathEscape(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: shown[0].Raw})))}
		}
	}
	return true
}

// uncertified answers who is not let in.
func (x *exchange) uncertified(a *route.CertificateAuth, err error) {
	switch {
	case a.ErrorPage != "":
		x.w.Header().Set("Location", x.expand(a.ErrorPage))
		x.respond(http.StatusFound, "")
	case err != nil:
		x.fail(http.StatusBadRequest, "the client's certificate is not one that is accepted here")
	case !x.conn.secure:
		x.fail(http.StatusBadRequest, "the client has to show a certificate, for which it has to come by https")
	default:
		x.fail(http.StatusBadRequest, "the client has to show a certificate")
	}
}

// verified is what came of looking at the certificates that a client has shown on a connection, which costs as much as many requests:
// once for all requests, and for each set of authorities. A Secret that changes makes another set.
type verified struct {
	mu sync.Mutex // requests of HTTP/2 come at once
	of map[authorities]outcome
}

type authorities struct {
	cas   *x509.CertPool
	depth int
}

// outcome is good until a time: a certificate may expire while its connection is open, or begin to be valid.
type outcome struct {
	err   error
	until time.Time
}

// refusedFor is how long a certificate that was refused is not looked at again.
const refusedFor = time.Minute

func (v *verified) verify(shown []*x509.Certificate, a *route.CertificateAuth, now time.Time) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	by := authorities{a.CAs, a.Depth}
	have, known := v.of[by]
	if !known || !now.Before(have.until) {
		have.until, have.err = verify(shown, a, now)
		if have.err != nil {
			have.until = now.Add(refusedFor)
		}
		if v.of == nil {
			v.of = map[authorities]outcome{}
		}
		v.of[by] = have
	}
	return have.err
}

// verify checks a certificate, which may come with authorities of its own, and tells until when it stays good.
func verify(shown []*x509.Certificate, a *route.CertificateAuth, now time.Time) (until time.Time, err error) {
	options := x509.VerifyOptions{Roots: a.CAs, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, CurrentTime: now}
	for _, c := range shown[1:] {
		options.Intermediates.AddCert(c)
	}
	chains, err := shown[0].Verify(options)
	if err != nil {
		return time.Time{}, err
	}
	for _, chain := range chains {
		if len(chain)-2 > a.Depth {
			continue
		}
		end := slices.MinFunc(chain, func(a, b *x509.Certificate) int { return a.NotAfter.Compare(b.NotAfter) }).NotAfter
		if end.After(until) {
			until = end
		}
	}
	if until.IsZero() {
		return until, errors.New("certificate chain too long")
	}
	return until, nil
}

// headerText is a text as a header may have it: what a certificate says may have any character.
func headerText(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c < ' ' || c == 0x7f {
			b[i] = ' '
		}
	}
	return string(b)
}

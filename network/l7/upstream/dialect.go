package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"slices"
	"time"

	"fairlead.dev/fairlead/network/l7/route"
)

// ConnectTimeout is how long a connection to an endpoint may take, unless an Action says otherwise.
const ConnectTimeout = 5 * time.Second

// Dialect is how endpoints are spoken to. Connections are shared by those who use the same.
type Dialect struct {
	Protocol route.BackendProtocol
	TLS      *tls.Config // nil: plain
	Connect  time.Duration
}

// Scheme is http or https.
func (d *Dialect) Scheme() string {
	if d.TLS != nil {
		return "https"
	}
	return "http"
}

// Transport is the endpoint's connections in a dialect.
func (e *Endpoint) Transport(d *Dialect) *http.Transport {
	if t, ok := e.transports.Load(d); ok {
		return t.(*http.Transport)
	}
	t, _ := e.transports.LoadOrStore(d, e.newTransport(d))
	return t.(*http.Transport)
}

func (e *Endpoint) newTransport(d *Dialect) *http.Transport {
	var protocols http.Protocols
	switch {
	case d.Protocol == route.HTTP1:
		protocols.SetHTTP1(true)
	case d.TLS != nil:
		protocols.SetHTTP1(true)
		protocols.SetHTTP2(true)
	default:
		protocols.SetUnencryptedHTTP2(true)
	}
	return &http.Transport{
		Protocols:             &protocols,
		DialContext:           func(ctx context.Context, _, _ string) (net.Conn, error) { return e.Dial(ctx, d.Connect) },
		TLSClientConfig:       d.TLS,
		TLSHandshakeTimeout:   10 * time.Second,
		DisableCompression:    true,
		MaxIdleConnsPerHost:   256,
		IdleConnTimeout:       time.Minute,
		ExpectContinueTimeout: time.Second,
	}
}

// ClientTLS is how TLS is begun with an endpoint. The client's certificate may be nil.
func ClientTLS(b *route.BackendTLS, client func() *tls.Certificate) *tls.Config {
	c := &tls.Config{ServerName: b.ServerName, MinVersion: tls.VersionTLS12, InsecureSkipVerify: true}
	if client != nil {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if cert := client(); cert != nil {
				return cert, nil
			}
			return &tls.Certificate{}, nil
		}
	}
	if b.CAs == nil && !b.System {
		return c
	}
	// The library verifies one name that is also the SNI; here they may differ.
	c.VerifyConnection = func(s tls.ConnectionState) error { return verify(b, s.PeerCertificates) }
	return c
}

func verify(b *route.BackendTLS, chain []*x509.Certificate) error {
	if len(chain) == 0 {
		return errors.New("the endpoint has shown no certificate")
	}
	options := x509.VerifyOptions{Intermediates: x509.NewCertPool()}
	if !b.System {
		options.Roots = b.CAs
	}
	for _, c := range chain[1:] {
		options.Intermediates.AddCert(c)
	}
	if len(b.Names) == 0 {
		options.DNSName = b.ServerName
	}
	if _, err := chain[0].Verify(options); err != nil {
		return err
	}
	if len(b.Names) > 0 && !slices.ContainsFunc(b.Names, func(name string) bool { return hasName(chain[0], name) }) {
		return errors.New("the endpoint's certificate is for none of the names that it may have")
	}
	return nil
}

func hasName(c *x509.Certificate, name string) bool {
	for _, u := range c.URIs {
		if u.String() == name {
			return true
		}
	}
	return c.VerifyHostname(name) == nil
}

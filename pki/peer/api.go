package peer

import (
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
	"sync"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"

	"fairlead.dev/fairlead/pki"
)

// toAPI is a transport to the API server.
type toAPI struct {
	as    *pki.Source
	roots *x509.CertPool

	mu      sync.Mutex
	shown   *tls.Certificate // by the present transport
	present *http.Transport
}

// API is a transport to the API server for whoever a source speaks for. When the source has a new certificate, new requests
// show that one; those under way, watches among them, end as they began.
func API(as *pki.Source, caPEM []byte) http.RoundTripper {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(caPEM)
	return &toAPI{as: as, roots: pool}
}

// RoundTrip is part of http.RoundTripper.
func (t *toAPI) RoundTrip(r *http.Request) (*http.Response, error) { return t.transport().RoundTrip(r) }

func (t *toAPI) transport() *http.Transport {
	cert := t.as.Current()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.shown == cert {
		return t.present
	}
	if t.present != nil {
		t.present.CloseIdleConnections() // those in use close when they have been idle for a while
	}
	t.shown, t.present = cert, utilnet.SetTransportDefaults(&http.Transport{
		TLSClientConfig:     &tls.Config{RootCAs: t.roots, Certificates: []tls.Certificate{*cert}, MinVersion: tls.VersionTLS12},
		Proxy:               func(*http.Request) (*url.URL, error) { return nil, nil }, // what belongs to one cluster goes by no proxy
		TLSHandshakeTimeout: dialTimeout,
		IdleConnTimeout:     90 * time.Second,
		DisableCompression:  true, // a local network is faster than a processor that compresses and one that expands
	})
	return t.present
}

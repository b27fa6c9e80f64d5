package apiserver

import (
	"crypto/x509"
	"net/http"

	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/apiserver/loopback"
	"fairlead.dev/fairlead/pki"
)

// inProcess is config for a client that calls api directly, as whoever a source speaks for; nil: by the config's token.
func inProcess(config *rest.Config, as *pki.Source, api http.Handler) *rest.Config {
	direct := rest.CopyConfig(config)
	transport := &loopback.Transport{Handler: api}
	if as != nil {
		transport.Certs = func() []*x509.Certificate { return []*x509.Certificate{as.Current().Leaf} }
	}
	direct.TLSClientConfig, direct.Transport = rest.TLSClientConfig{}, transport
	return direct
}

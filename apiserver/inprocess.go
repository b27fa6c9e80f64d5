package apiserver

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"

	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/apiserver/loopback"
)

// inProcess is config for a client that calls api directly.
func inProcess(config *rest.Config, api http.Handler) (*rest.Config, error) {
	direct := rest.CopyConfig(config)
	transport := &loopback.Transport{Handler: api}
	for left := config.CertData; len(left) > 0; {
		var block *pem.Block
		if block, left = pem.Decode(left); block == nil {
			break
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("api server: certificate of a client in this process: %w", err)
		}
		transport.Certs = append(transport.Certs, cert)
	}
	direct.TLSClientConfig, direct.Transport = rest.TLSClientConfig{}, transport
	return direct, nil
}

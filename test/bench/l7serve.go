package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"time"
)

// serveGo is the proxy that the standard library has ready, with as many kept connections as there are clients.
func serveGo(ctx context.Context, text []byte) error {
	var at place
	if err := json.Unmarshal(text, &at); err != nil {
		return err
	}
	to := &url.URL{Scheme: "http", Host: at.Backend.String()}
	transport := &http.Transport{MaxIdleConnsPerHost: 1024, DisableCompression: true}
	server := &http.Server{Handler: &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.SetXForwarded()
		r.Out.Host = r.In.Host
	}}}
	plain, err := net.Listen("tcp", at.Plain.String())
	if err != nil {
		return err
	}
	secure, err := net.Listen("tcp", at.Secure.String())
	if err != nil {
		return err
	}
	ended := make(chan error, 2)
	go func() { ended <- server.Serve(plain) }()
	go func() {
		ended <- server.ServeTLS(secure, filepath.Join(at.Dir, certFile), filepath.Join(at.Dir, keyFile))
	}()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return server.Close()
	}
}

// Files of a rig's certificate; HAProxy wants both in one.
const (
	certFile = "cert.pem"
	keyFile  = "key.pem"
	bothFile = "both.pem"
)

// certificate makes a certificate for a host, of a key on P-256, which signs itself.
func certificate(host string) (cert, key []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{host}, NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return nil, nil, err
	}
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), nil
}

func writeCertificate(dir, host string) error {
	cert, key, err := certificate(host)
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(filepath.Join(dir, certFile), cert, 0o600), os.WriteFile(filepath.Join(dir, keyFile), key, 0o600),
		os.WriteFile(filepath.Join(dir, bothFile), append(cert, key...), 0o600))
}

package l7

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"strings"
	"time"

	"fairlead.dev/fairlead/network/l7/route"
)

// configForClient is how TLS is ended for a client, by the SNI that it sends. Tickets of earlier sessions are the engine's, so
// they are good for every listener.
func (e *Engine) configForClient(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	c, ok := hello.Conn.(*connection)
	if !ok {
		return nil, errors.New("no connection of this engine")
	}
	c.sni = strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	now := e.table.Load()
	entry := now.Entries[c.point]
	if entry == nil {
		return nil, errors.New("nothing is served here any more")
	}
	c.listener = now.listener(entry, c.sni)
	if c.listener == nil || c.listener.TLS == nil {
		return nil, errors.New("no listener for the name " + c.sni)
	}
	t := c.listener.TLS
	config := &tls.Config{MinVersion: tls.VersionTLS12, DynamicRecordSizingDisabled: true, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		return e.certificate(t, c.sni)
	}}
	if c.listener.Hosts != nil {
		config.NextProtos = []string{"h2", "http/1.1"}
	}
	if c.asked = t.Asks(c.sni); c.asked {
		config.ClientAuth = tls.RequestClientCert
	}
	if t.Clients != nil {
		config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, t.Clients.CAs
		if t.Clients.Insecure {
			config.ClientAuth = tls.RequestClientCert
		}
	}
	return config, nil
}

// certificate is the one for an SNI: of the names that the table has, exact ones first; then by the certificates' own names; then the
// first that may serve for every name.
func (e *Engine) certificate(t *route.Termination, sni string) (*tls.Certificate, error) {
	exact, wildcard, any := t.For(sni)
	for _, named := range [][]route.Certificate{exact, wildcard} {
		for i := range named {
			if cert := e.config.Certificate(named[i].Secret); cert != nil {
				return cert, nil
			}
		}
	}
	var first *tls.Certificate
	for i := range any {
		cert := e.config.Certificate(any[i].Secret)
		switch {
		case cert == nil:
		case sni != "" && cert.Leaf != nil && cert.Leaf.VerifyHostname(sni) == nil:
			return cert, nil
		case first == nil:
			first = cert
		}
	}
	if first != nil {
		return first, nil
	}
	return e.selfSigned()
}

// selfSigned makes the certificate that is shown where there is no other. No client believes it, but it says what is wrong.
func selfSigned() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "Fairlead Ingress, no certificate for this name"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(10, 0, 0), DNSNames: []string{"ingress.local"},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}, nil
}

var errPeeked = errors.New("the first message was read")

// peekHello reads the client's first message of TLS, and gives it back to the connection.
func peekHello(c *connection) (*tls.ClientHelloInfo, error) {
	record := &recording{connection: c}
	var hello *tls.ClientHelloInfo
	err := tls.Server(record, &tls.Config{GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		hello = h
		return nil, errPeeked
	}}).Handshake()
	if hello == nil {
		return nil, err
	}
	c.before = append(record.read, c.before...)
	return hello, nil
}

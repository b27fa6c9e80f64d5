package join

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"fairlead.dev/fairlead/cluster/config"
	"fairlead.dev/fairlead/pki"
)

// Member is a machine that has become a node, with what it works with.
type Member struct {
	Machine
	CA              []byte // the authority's certificate, PEM encoded
	Client, Serving *pki.Source
	Networking      config.Networking // of the cluster
}

// ErrLater says that the server wants to be asked again in a moment.
var ErrLater = errors.New("the server is busy or starting")

// Machine is who asks, and where.
type Machine struct {
	Server string // https://ADDR:PORT
	Name   string // of the node
	Secret string // its own, kept on the machine
	Addrs  []netip.Addr
}

// Join asks the server to accept this machine. The server must show a certificate chain that ends in the
// authority named by the token.
func (m Machine) Join(ctx context.Context, token string) (*Member, error) {
	fingerprint, secret, ok := strings.Cut(token, ".")
	if !ok || len(fingerprint) != 64 || len(secret) < minSecret {
		return nil, errors.New("token: must be the text that 'fairlead server' prints, '<64 hex digits>.<secret>'")
	}
	got, err := m.ask(ctx, "Bearer "+secret, &tls.Config{
		// The usual verification cannot work before the authority is known; verifyRoot does it
		// against the fingerprint instead, before anything is sent.
		InsecureSkipVerify:    true,
		VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error { return verifyRoot(raw, fingerprint) },
	})
	if err != nil {
		return nil, err
	}
	member := &Member{Machine: m, CA: got.CA, Networking: got.Networking}
	if member.Client, err = pki.NewSource(got.ClientCert, got.clientKey); err != nil {
		return nil, err
	}
	member.Serving, err = pki.NewSource(got.ServingCert, got.servingKey)
	return member, err
}

// Renew replaces both certificates by new ones, which it asks for with the present one.
func (m *Member) Renew(ctx context.Context) error {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(m.CA)
	got, err := m.ask(ctx, "", &tls.Config{RootCAs: pool, GetClientCertificate: m.Client.ForClient})
	if err != nil {
		return err
	}
	if err := m.Client.Replace(got.ClientCert, got.clientKey); err != nil {
		return err
	}
	return m.Serving.Replace(got.ServingCert, got.servingKey)
}

// credentials are an answer with the keys that it is about, PEM encoded.
type credentials struct {
	*Answer
	clientKey, servingKey []byte
}

func (m Machine) ask(ctx context.Context, authorization string, tlsConfig *tls.Config) (*credentials, error) {
	var c credentials
	req := Request{Node: m.Name, NodeSecret: m.Secret, Addrs: m.Addrs}
	var err error
	if req.ClientCSR, c.clientKey, err = pki.NewRequest(); err != nil {
		return nil, err
	}
	if req.ServingCSR, c.servingKey, err = pki.NewRequest(); err != nil {
		return nil, err
	}
	if c.Answer, err = post(ctx, m.Server, authorization, tlsConfig, req); err != nil {
		return nil, fmt.Errorf("join %s: %w", m.Server, pki.Clock(err))
	}
	return &c, nil
}

func post(ctx context.Context, server, authorization string, tlsConfig *tls.Config, req Request) (*Answer, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(server, "/")+Path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	r.Header.Set("Content-Type", "application/json")
	client := http.Client{
		Timeout:       10 * time.Second,
		Transport:     &http.Transport{TLSClientConfig: tlsConfig, DisableKeepAlives: true}, // and no proxy: it is asked directly
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxRequest))
	if err != nil {
		return nil, err
	}
	said := strings.TrimPrefix(strings.TrimSpace(string(text)), "join: ")
	switch resp.StatusCode {
	case http.StatusOK:
		var answer Answer
		return &answer, json.Unmarshal(text, &answer)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		return nil, fmt.Errorf("%w: %s", ErrLater, said)
	}
	return nil, errors.New(said)
}

// verifyRoot accepts a chain whose last certificate is the authority with the wanted fingerprint and whose
// first one that authority signed for a server.
func verifyRoot(raw [][]byte, fingerprint string) error {
	if len(raw) < 2 {
		return errors.New("the server does not show its authority; is this a Fairlead API server?")
	}
	leaf, err := x509.ParseCertificate(raw[0])
	if err != nil {
		return err
	}
	root, err := x509.ParseCertificate(raw[len(raw)-1])
	if err != nil {
		return err
	}
	if pki.Fingerprint(root) != fingerprint {
		return errors.New("the server's authority is not the one the token names; wrong server, or a token of another cluster")
	}
	if leaf.Subject.CommonName != pki.APIServer { // nodes serve with certificates of the same authority
		return fmt.Errorf("%q answers in place of the API server", leaf.Subject.CommonName)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	_, err = leaf.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	return err
}

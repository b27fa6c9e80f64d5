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

	"fairlead.dev/fairlead/pki"
)

// Credentials are what a joined node works with, PEM encoded.
type Credentials struct {
	CA                      []byte
	ClientCert, ClientKey   []byte
	ServingCert, ServingKey []byte
	Cluster                 Cluster
}

// Node asks the server to accept this machine. The server must show a certificate chain that ends in the
// authority named by the token.
func Node(ctx context.Context, server, token, name, nodeSecret string, addrs []netip.Addr) (*Credentials, error) {
	fingerprint, secret, ok := strings.Cut(token, ".")
	if !ok || len(fingerprint) != 64 || secret == "" {
		return nil, errors.New("token: must be the text that 'fairlead server' prints, '<64 hex digits>.<secret>'")
	}
	var c Credentials
	req := Request{Node: name, NodeSecret: nodeSecret, Addrs: addrs}
	var err error
	if req.ClientCSR, c.ClientKey, err = pki.NewRequest(); err != nil {
		return nil, err
	}
	if req.ServingCSR, c.ServingKey, err = pki.NewRequest(); err != nil {
		return nil, err
	}
	answer, err := post(ctx, server, fingerprint, secret, req)
	if err != nil {
		return nil, fmt.Errorf("join %s: %w", server, err)
	}
	c.CA, c.ClientCert, c.ServingCert, c.Cluster = answer.CA, answer.ClientCert, answer.ServingCert, answer.Cluster
	return &c, nil
}

func post(ctx context.Context, server, fingerprint, secret string, req Request) (*Answer, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(server, "/")+Path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+secret)
	r.Header.Set("Content-Type", "application/json")
	client := http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{
			// The usual verification cannot work before the authority is known; verifyRoot does it
			// against the fingerprint instead, before anything is sent.
			InsecureSkipVerify:    true,
			VerifyPeerCertificate: func(raw [][]byte, _ [][]*x509.Certificate) error { return verifyRoot(raw, fingerprint) },
		}},
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
	if resp.StatusCode != http.StatusOK {
		return nil, errors.New(strings.TrimPrefix(strings.TrimSpace(string(text)), "join: "))
	}
	var answer Answer
	return &answer, json.Unmarshal(text, &answer)
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
	pool := x509.NewCertPool()
	pool.AddCert(root)
	_, err = leaf.Verify(x509.VerifyOptions{Roots: pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	return err
}

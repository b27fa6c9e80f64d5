package pki

import (
	"crypto/tls"
	"fmt"
	"sync"
	"time"
)

// retry is how long a certificate that could not be issued anew stays as it is.
const retry = time.Minute

// Source is a certificate that never ends: it is issued anew when two thirds of its life are over. Connections that were
// made with an older one go on. It is safe for concurrent use.
type Source struct {
	now   func() time.Time
	issue func() (certPEM, keyPEM []byte, err error) // nil: it is renewed from outside, by Replace

	mu              sync.Mutex
	certPEM, keyPEM []byte
	pair            *tls.Certificate
	lastTry         time.Time
}

// Source issues certificates for r, as they are needed.
func (a *Authority) Source(r Request) (*Source, error) {
	s := &Source{now: a.Now, issue: func() ([]byte, []byte, error) { return a.Issue(r) }}
	certPEM, keyPEM, err := s.issue()
	if err != nil {
		return nil, err
	}
	return s, s.Replace(certPEM, keyPEM)
}

// NewSource begins with a certificate that somebody else issued, who is asked for new ones by whoever calls Replace.
func NewSource(certPEM, keyPEM []byte) (*Source, error) {
	s := &Source{now: time.Now}
	return s, s.Replace(certPEM, keyPEM)
}

// Replace makes another certificate the present one.
func (s *Source) Replace(certPEM, keyPEM []byte) error {
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return fmt.Errorf("certificate: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.certPEM, s.keyPEM, s.pair = certPEM, keyPEM, &pair
	return nil
}

// Due says whether it is time for a new certificate.
func (s *Source) Due() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.due(s.now())
}

func (s *Source) due(now time.Time) bool {
	life := s.pair.Leaf.NotAfter.Sub(s.pair.Leaf.NotBefore)
	return now.After(s.pair.Leaf.NotBefore.Add(life / 3 * 2))
}

// Current is the present certificate. One that cannot be issued anew stays until it can.
func (s *Source) Current() *tls.Certificate {
	s.mu.Lock()
	now := s.now()
	try := s.issue != nil && s.due(now) && (s.lastTry.IsZero() || now.Sub(s.lastTry) > retry)
	if try {
		s.lastTry = now
	}
	s.mu.Unlock()
	if try {
		if certPEM, keyPEM, err := s.issue(); err == nil {
			_ = s.Replace(certPEM, keyPEM) // an authority issues what can be parsed
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pair
}

// PEM is the present certificate and its key, encoded.
func (s *Source) PEM() (certPEM, keyPEM []byte) {
	s.Current()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.certPEM, s.keyPEM
}

// ForServer is tls.Config.GetCertificate.
func (s *Source) ForServer(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.Current(), nil }

// ForClient is tls.Config.GetClientCertificate.
func (s *Source) ForClient(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	return s.Current(), nil
}

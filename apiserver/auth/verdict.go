package auth

import (
	"crypto/sha256"
	"net/http"
	"sync"
	"time"

	"k8s.io/apiserver/pkg/authentication/authenticator"
)

const (
	// verdictLife is how long a certificate that was found good is believed to be so. It bounds for how long a
	// certificate whose authority has expired meanwhile is accepted.
	verdictLife = time.Minute
	// mostVerdicts bounds the memory: all are forgotten when there are more.
	mostVerdicts = 4096
)

// verdicts remembers which client certificates were found good, and whose they are. Verifying a chain costs a
// signature check, a tenth of the processor time of a small request, and a client shows the same certificate with
// every request of its connection.
type verdicts struct {
	verify authenticator.Request
	now    func() time.Time

	mu    sync.RWMutex // guards known
	known map[[sha256.Size]byte]verdict
}

// verdict is what was found about a chain, until it has to be looked at again.
type verdict struct {
	response *authenticator.Response
	until    time.Time
}

func newVerdicts(verify authenticator.Request) *verdicts {
	return &verdicts{verify: verify, now: time.Now, known: map[[sha256.Size]byte]verdict{}}
}

// AuthenticateRequest answers what verify would. Refusals are not remembered.
func (v *verdicts) AuthenticateRequest(r *http.Request) (*authenticator.Response, bool, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return v.verify.AuthenticateRequest(r)
	}
	id, now := chainID(r), v.now()
	v.mu.RLock()
	known, ok := v.known[id]
	v.mu.RUnlock()
	if ok && now.Before(known.until) {
		return known.response, true, nil
	}
	response, ok, err := v.verify.AuthenticateRequest(r)
	if err != nil || !ok {
		return response, ok, err
	}
	until := now.Add(verdictLife)
	for _, c := range r.TLS.PeerCertificates {
		if c.NotAfter.Before(until) {
			until = c.NotAfter
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.known) >= mostVerdicts {
		clear(v.known)
	}
	v.known[id] = verdict{response: response, until: until}
	return response, true, nil
}

// chainID tells the certificates of a request, intermediate ones included, from all others.
func chainID(r *http.Request) (id [sha256.Size]byte) {
	h := sha256.New()
	for _, c := range r.TLS.PeerCertificates {
		h.Write(c.Raw) // its own length is part of each certificate's encoding
	}
	h.Sum(id[:0])
	return id
}

package feed

import (
	"bytes"
	"crypto/tls"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// certificates are the key pairs of Secrets, each parsed when it is first asked for. A Secret that is spoilt shows what it had before.
type certificates struct {
	mu sync.Mutex
	of map[types.NamespacedName]*shown
}

// shown is what a Secret shows.
type shown struct {
	now *corev1.Secret                            // as it is
	own func() (pair *tls.Certificate, err error) // of now

	// What it had before it was spoilt; nil: it is not, or was from the beginning.
	before     *tls.Certificate
	beforeFrom *corev1.Secret
}

func show(s *corev1.Secret) *shown {
	return &shown{now: s, own: sync.OnceValues(func() (*tls.Certificate, error) {
		pair, err := tls.X509KeyPair(s.Data[corev1.TLSCertKey], s.Data[corev1.TLSPrivateKeyKey])
		return &pair, err
	})}
}

// certificate is what is shown; nil: there is nothing to show.
func (s *shown) certificate() *tls.Certificate {
	if pair, err := s.own(); err == nil {
		return pair
	}
	return s.before
}

// good is the Secret that the certificate is from.
func (s *shown) good() *corev1.Secret {
	if s.before != nil {
		return s.beforeFrom
	}
	return s.now
}

// see takes in how a Secret is now, nil if there is none, and returns what it shows. One that is seen for the first time is not parsed
// yet; one that has changed is, to find out whether what it had before is to be shown.
func (c *certificates) see(name types.NamespacedName, secret *corev1.Secret, spoilt func(error)) *shown {
	c.mu.Lock()
	defer c.mu.Unlock()
	have := c.of[name]
	switch {
	case secret == nil:
		delete(c.of, name)
		return nil
	case have != nil && have.now == secret:
		return have
	case c.of == nil:
		c.of = map[types.NamespacedName]*shown{}
	}
	next := show(secret)
	if have != nil && samePair(have.now, secret) {
		next.own, next.before, next.beforeFrom = have.own, have.before, have.beforeFrom
	} else if have != nil {
		if _, err := next.own(); err != nil {
			if next.before = have.certificate(); next.before != nil {
				next.beforeFrom = have.good()
				spoilt(err)
			}
		}
	}
	c.of[name] = next
	return next
}

// samePair reports whether two Secrets have the same certificate and key.
func samePair(a, b *corev1.Secret) bool {
	return bytes.Equal(a.Data[corev1.TLSCertKey], b.Data[corev1.TLSCertKey]) && bytes.Equal(a.Data[corev1.TLSPrivateKeyKey], b.Data[corev1.TLSPrivateKeyKey])
}

func (f *Feed) data(name types.NamespacedName) map[string][]byte {
	if s := f.secret(name); s != nil {
		return s.Data
	}
	return nil
}

// see takes in how a Secret is now.
func (f *Feed) see(name types.NamespacedName) *shown {
	return f.certs.see(name, f.secret(name), func(err error) {
		f.log.Warn("a secret has no certificate with its key any more; the one that it had before is shown", "secret", name, "err", err)
	})
}

// seeAll takes in how the Secrets are that are served with.
func (f *Feed) seeAll() {
	for _, name := range f.wanted.secrets {
		f.see(name)
	}
}

// certificate is the key pair that a Secret shows, nil if there is none.
func (f *Feed) certificate(name types.NamespacedName) *tls.Certificate {
	if s := f.see(name); s != nil {
		return s.certificate()
	}
	return nil
}

package feed

import (
	"crypto/tls"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// certificates are the key pairs of Secrets, each parsed once.
type certificates struct {
	mu sync.RWMutex
	of map[types.NamespacedName]parsed
}

type parsed struct {
	from *corev1.Secret
	pair *tls.Certificate // nil: it is none
}

func (f *Feed) data(name types.NamespacedName) map[string][]byte {
	if s := f.secret(name); s != nil {
		return s.Data
	}
	return nil
}

// certificate is the key pair of a Secret, nil if there is none.
func (f *Feed) certificate(name types.NamespacedName) *tls.Certificate {
	secret := f.secret(name)
	f.certs.mu.RLock()
	p, known := f.certs.of[name]
	f.certs.mu.RUnlock()
	if known && p.from == secret {
		return p.pair
	}
	p = parsed{from: secret}
	if secret != nil {
		pair, err := tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
		if err == nil {
			p.pair = &pair
		} else {
			f.log.Warn("a secret has no certificate with its key; another is shown", "secret", name, "err", err)
		}
	}
	f.certs.mu.Lock()
	defer f.certs.mu.Unlock()
	if f.certs.of == nil {
		f.certs.of = map[types.NamespacedName]parsed{}
	}
	if secret == nil {
		delete(f.certs.of, name)
	} else {
		f.certs.of[name] = p
	}
	return p.pair
}

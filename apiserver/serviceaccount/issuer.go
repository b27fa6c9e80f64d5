package serviceaccount

import (
	"context"
	"crypto/ecdsa"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/kubernetes/pkg/routes"
	upstream "k8s.io/kubernetes/pkg/serviceaccount"
)

// Issuer signs the tokens of a cluster's service accounts.
type Issuer struct {
	url    string
	bound  upstream.TokenGenerator
	legacy upstream.TokenGenerator // of tokens that are kept in Secrets
	keys   upstream.PublicKeysGetter
}

// NewIssuer is the issuer of a cluster by the name of its DNS zone. The first key signs; each is believed.
func NewIssuer(domain string, keys []*ecdsa.PrivateKey) (*Issuer, error) {
	i := &Issuer{url: "https://kubernetes.default.svc." + domain}
	all := make([]any, len(keys))
	for n, key := range keys {
		all[n] = key
	}
	var err error
	if i.keys, err = upstream.StaticPublicKeysGetter(all); err != nil {
		return nil, fmt.Errorf("keys of service accounts: %w", err)
	}
	if i.bound, err = upstream.JWTTokenGenerator(i.url, keys[0]); err != nil {
		return nil, fmt.Errorf("key of service accounts: %w", err)
	}
	if i.legacy, err = upstream.JWTTokenGenerator(upstream.LegacyIssuer, keys[0]); err != nil {
		return nil, fmt.Errorf("key of service accounts: %w", err)
	}
	return i, nil
}

// Audiences are what a token is for that names none: the API server.
func (i *Issuer) Audiences() authenticator.Audiences { return authenticator.Audiences{i.url} }

// SecretToken is the token to be kept in a Secret, which is good for as long as the Secret and the account are there.
func (i *Issuer) SecretToken(ctx context.Context, account *corev1.ServiceAccount, secret *corev1.Secret) (string, error) {
	claims, private := upstream.LegacyClaims(*account, *secret)
	return i.legacy.GenerateToken(ctx, claims, private)
}

// Metadata is what others need to check tokens by themselves: OpenID Connect's discovery document and the public keys.
func (i *Issuer) Metadata(externalAddress string) (*routes.OpenIDMetadataServer, error) {
	metadata, err := upstream.NewOpenIDMetadataProvider(i.url, "", externalAddress, i.keys)
	if err != nil {
		return nil, fmt.Errorf("discovery document of service accounts' issuer %s: %w", i.url, err)
	}
	return routes.NewOpenIDMetadataServer(metadata), nil
}

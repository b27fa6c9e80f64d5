package serviceaccount

import (
	"context"
	"crypto/sha256"
	"fmt"
	"sync"

	"gopkg.in/go-jose/go-jose.v2/jwt"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/serviceaccount"
	"k8s.io/apiserver/pkg/authentication/token/union"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	upstream "k8s.io/kubernetes/pkg/serviceaccount"
)

// mostKnown bounds the memory: all are forgotten when there are more.
const mostKnown = 1024

// tokens says whose a token is. Of those whose signature was found good it remembers that, which is most of the work; whether a token
// has expired, and whether what it is bound to is still there, is looked at every time.
type tokens struct {
	verify    authenticator.Token
	audiences authenticator.Audiences

	mu    sync.RWMutex // guards known
	known map[[sha256.Size]byte]known
}

// known is a token whose signature is good.
type known struct {
	audiences authenticator.Audiences
	judge     judge
}

type judge func(context.Context) (*serviceaccount.ServiceAccountInfo, error)

// Authenticator says whose a token of the issuer is. secrets is where it is written down when a token out of a Secret was used.
func (i *Issuer) Authenticator(objects *Objects, secrets typedcorev1.SecretsGetter) (authenticator.Token, error) {
	t := &tokens{audiences: i.Audiences(), known: map[[sha256.Size]byte]known{}}
	cached, stored := lookup{objects, "0"}, lookup{objects, ""}
	legacyCached, err := upstream.NewLegacyValidator(true, cached, secrets)
	if err != nil {
		return nil, fmt.Errorf("tokens in secrets: %w", err)
	}
	legacyStored, err := upstream.NewLegacyValidator(true, stored, secrets)
	if err != nil {
		return nil, fmt.Errorf("tokens in secrets: %w", err)
	}
	t.verify = union.New(
		verifier(t, i.keys, i.url, upstream.NewValidator(cached), upstream.NewValidator(stored)),
		verifier(t, i.keys, upstream.LegacyIssuer, legacyCached, legacyStored),
	)
	return t, nil
}

func verifier[C any](t *tokens, keys upstream.PublicKeysGetter, issuer string, cached, stored upstream.Validator[C]) authenticator.Token {
	return upstream.JWTTokenAuthenticator([]string{issuer}, keys, t.audiences, validator[C]{t, cached, stored})
}

// AuthenticateToken is part of authenticator.Token.
func (t *tokens) AuthenticateToken(ctx context.Context, token string) (*authenticator.Response, bool, error) {
	id := sha256.Sum256([]byte(token))
	t.mu.RLock()
	k, ok := t.known[id]
	t.mu.RUnlock()
	if !ok {
		return t.verify.AuthenticateToken(ctx, token)
	}
	wanted, ok := authenticator.AudiencesFrom(ctx)
	if !ok {
		wanted = t.audiences
	}
	audiences := k.audiences.Intersect(wanted)
	if len(audiences) == 0 {
		return nil, false, fmt.Errorf("token audiences %q is invalid for the target audiences %q", k.audiences, wanted)
	}
	info, err := k.judge(ctx)
	if err != nil {
		t.forget(id)
		return nil, false, err
	}
	return &authenticator.Response{User: info.UserInfo(), Audiences: audiences}, true, nil
}

func (t *tokens) remember(token string, k known) {
	if len(k.audiences) == 0 {
		k.audiences = t.audiences // tokens in Secrets name none
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.known) >= mostKnown {
		clear(t.known)
	}
	t.known[sha256.Sum256([]byte(token))] = k
}

func (t *tokens) forget(id [sha256.Size]byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.known, id)
}

// validator judges a token whose signature is good: by the watch caches, and by what is stored if these refuse it, since they may be
// behind by a moment in which a pod has been made, or made again.
type validator[C any] struct {
	tokens         *tokens
	cached, stored upstream.Validator[C]
}

// Validate is part of upstream.Validator.
func (v validator[C]) Validate(ctx context.Context, token string, public *jwt.Claims, private *C) (*serviceaccount.ServiceAccountInfo, error) {
	judge := func(ctx context.Context) (*serviceaccount.ServiceAccountInfo, error) {
		info, err := v.cached.Validate(ctx, token, public, private)
		if err != nil {
			info, err = v.stored.Validate(ctx, token, public, private)
		}
		return info, err
	}
	info, err := judge(ctx)
	if err == nil {
		v.tokens.remember(token, known{authenticator.Audiences(public.Audience), judge})
	}
	return info, err
}

package join

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	bootstrapapi "k8s.io/cluster-bootstrap/token/api"
	bootstraptoken "k8s.io/cluster-bootstrap/token/util"

	"fairlead.dev/fairlead/pki"
)

// Tokens for a while are Secrets of kube-system in upstream's form of bootstrap tokens, which kubeadm writes and lists as well: an
// id that may be known, and a secret, written "id.secret".

// Stored is a token for a while as the API keeps it.
type Stored struct {
	ID          string
	Expires     time.Time // zero: it does not
	Description string
	Ended       bool // it admits nobody: it has expired, or was made for something else
}

// Secrets are those of kube-system.
type Secrets = corev1client.SecretInterface

// Make keeps a new token that admits machines until its time is over, and returns what a user passes on. Those whose time is
// over are removed.
func Make(ctx context.Context, to Secrets, ca *pki.Authority, life time.Duration, description string) (string, error) {
	if err := sweep(ctx, to, time.Now()); err != nil {
		return "", err
	}
	token, err := bootstraptoken.GenerateBootstrapToken()
	if err != nil {
		return "", err
	}
	id, secret, _ := strings.Cut(token, ".")
	text := map[string]string{
		bootstrapapi.BootstrapTokenIDKey: id, bootstrapapi.BootstrapTokenSecretKey: secret,
		bootstrapapi.BootstrapTokenExpirationKey:       time.Now().Add(life).UTC().Format(time.RFC3339),
		bootstrapapi.BootstrapTokenUsagePrefix + usage: "true",
		bootstrapapi.BootstrapTokenDescriptionKey:      description,
	}
	if description == "" {
		delete(text, bootstrapapi.BootstrapTokenDescriptionKey)
	}
	_, err = to.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: bootstraptoken.BootstrapTokenSecretName(id), Namespace: metav1.NamespaceSystem},
		Type:       corev1.SecretTypeBootstrapToken, StringData: text,
	}, metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("token %s: %w", id, err)
	}
	return Token(ca, token), nil
}

// sweep removes the tokens that have ended.
func sweep(ctx context.Context, from Secrets, now time.Time) error {
	list, err := List(ctx, from)
	if err != nil {
		return err
	}
	for _, t := range list {
		if t.Expires.IsZero() || now.Before(t.Expires) {
			continue
		}
		if err := Revoke(ctx, from, t.ID); err != nil && !errors.Is(err, errNone) {
			return err
		}
	}
	return nil
}

// errNone is that there is no token of an id.
var errNone = errors.New("there is none of that id; 'fairlead token list' shows them")

// usage is what a token must have been made for.
const usage = "authentication"

// List lists the tokens for a while, in the order of their ends.
func List(ctx context.Context, from Secrets) ([]Stored, error) {
	list, err := from.List(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("type", string(corev1.SecretTypeBootstrapToken)).String()})
	if err != nil {
		return nil, fmt.Errorf("tokens: %w", err)
	}
	tokens := make([]Stored, 0, len(list.Items))
	for i := range list.Items {
		s := &list.Items[i]
		end, _, err := expiry(s)
		tokens = append(tokens, Stored{
			ID: string(s.Data[bootstrapapi.BootstrapTokenIDKey]), Expires: end, Description: string(s.Data[bootstrapapi.BootstrapTokenDescriptionKey]),
			Ended: err != nil || !usable(s, time.Now()),
		})
	}
	slices.SortFunc(tokens, func(a, b Stored) int { return a.Expires.Compare(b.Expires) })
	return tokens, nil
}

// Revoke removes a token for a while.
func Revoke(ctx context.Context, from Secrets, id string) error {
	if !bootstraptoken.IsValidBootstrapTokenID(id) {
		return fmt.Errorf("token %q: an id has 6 letters and digits; 'fairlead token list' shows them", id)
	}
	err := from.Delete(ctx, bootstraptoken.BootstrapTokenSecretName(id), metav1.DeleteOptions{})
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("token %s: %w", id, errNone)
	}
	return err
}

// expiry is when a token ends; forever, where it does not say so.
func expiry(s *corev1.Secret) (end time.Time, forever bool, err error) {
	text := string(s.Data[bootstrapapi.BootstrapTokenExpirationKey])
	if text == "" {
		return time.Time{}, true, nil
	}
	end, err = time.Parse(time.RFC3339, text)
	return end, false, err
}

// usable says whether a token admits anybody at a time.
func usable(s *corev1.Secret, now time.Time) bool {
	end, forever, err := expiry(s)
	id := string(s.Data[bootstrapapi.BootstrapTokenIDKey])
	return err == nil && (forever || now.Before(end)) && s.DeletionTimestamp == nil && s.Type == corev1.SecretTypeBootstrapToken &&
		s.Name == bootstraptoken.BootstrapTokenSecretName(id) && string(s.Data[bootstrapapi.BootstrapTokenUsagePrefix+usage]) == "true"
}

// admits says whether a kept token is the one given, "id.secret", and admits anybody yet.
func admits(s *corev1.Secret, given string, now time.Time) bool {
	kept := string(s.Data[bootstrapapi.BootstrapTokenIDKey]) + "." + string(s.Data[bootstrapapi.BootstrapTokenSecretKey])
	return bootstraptoken.IsValidBootstrapToken(kept) && equal(given, kept) && usable(s, now)
}

// equal compares in a time that tells nothing of where two texts differ.
func equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

package apiserver_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/apiserver"
	"fairlead.dev/fairlead/apiserver/issuers"
	"fairlead.dev/fairlead/internal/apitest"
)

// issuer is an issuer of OpenID Connect: what it signs with, and a server that says so.
type issuer struct {
	*httptest.Server
	key *ecdsa.PrivateKey
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{key: key}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	pages := http.NewServeMux()
	pages.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys"})
	})
	pages.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{"keys": []any{map[string]string{"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "one",
			"x": text64(point[1:33]), "y": text64(point[33:])}}})
	})
	i.Server = httptest.NewTLSServer(pages)
	t.Cleanup(i.Close)
	return i
}

func text64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// token is a token of alice's with some claims changed.
func (i *issuer) token(t *testing.T, changed map[string]any) string {
	t.Helper()
	claims := map[string]any{"iss": i.URL, "aud": "cluster", "sub": "alice", "groups": []string{"dev"}, "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix()}
	maps.Copy(claims, changed)
	body, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	text := text64([]byte(`{"alg":"ES256","kid":"one"}`)) + "." + text64(body)
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, i.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return text + "." + text64(signature)
}

// caFile is who signs the issuer's certificate.
func (i *issuer) caFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// whoami is who the server takes somebody for.
func whoami(t *testing.T, config *rest.Config) (authenticationv1.UserInfo, error) {
	t.Helper()
	me, err := clientOf(t, config).AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return authenticationv1.UserInfo{}, err
	}
	return me.Status.UserInfo, nil
}

func bearer(cfg apiserver.Config, token string) *rest.Config {
	return &rest.Config{Host: "https://" + cfg.Bind.String(), BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAData: cfg.CA.CertPEM()}}
}

func TestTokensOfAnIssuer(t *testing.T) {
	i, forger := newIssuer(t), newIssuer(t)
	cfg := apitest.Config(t, t.TempDir())
	cfg.Issuers = issuers.Config{Flags: issuers.Flags{IssuerURL: i.URL, ClientID: "cluster", UsernamePrefix: "oidc:", GroupsClaim: "groups", GroupsPrefix: "oidc:",
		CAFile: i.caFile(t), RequiredClaims: map[string]string{"tenant": "blue"}, SigningAlgs: []string{"ES256"}}}
	apitest.Run(t, cfg)
	blue := map[string]any{"tenant": "blue"}
	eventually(t, "the issuer's keys are known", func() bool {
		me, err := whoami(t, bearer(cfg, i.token(t, blue)))
		return err == nil && me.Username == "oidc:alice" && slices.Equal(me.Groups, []string{"oidc:dev", "system:authenticated"})
	})
	forger.URL = i.URL
	for name, token := range map[string]string{
		"signed by another":         forger.token(t, blue),
		"for another audience":      i.token(t, map[string]any{"tenant": "blue", "aud": "elsewhere"}),
		"without a claim":           i.token(t, nil),
		"with another claim":        i.token(t, map[string]any{"tenant": "red"}),
		"that has ended":            i.token(t, map[string]any{"tenant": "blue", "exp": time.Now().Add(-time.Hour).Unix()}),
		"of another issuer":         i.token(t, map[string]any{"tenant": "blue", "iss": "https://elsewhere.example"}),
		"with its signature cut":    strings.TrimRight(i.token(t, blue), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
		"that says it needs no key": text64([]byte(`{"alg":"none"}`)) + "." + strings.Split(i.token(t, blue), ".")[1] + ".",
		"that is none":              "nonsense",
	} {
		if me, err := whoami(t, bearer(cfg, token)); !apierrors.IsUnauthorized(err) {
			t.Errorf("a token %s: %+v, %v", name, me, err)
		}
	}
	if me, err := whoami(t, as(t, cfg, "bob")); err != nil || me.Username != "bob" {
		t.Errorf("a certificate: %+v, %v", me, err)
	}
}

// authenticationFile says that tokens of i's are taken, with names that begin with prefix.
func authenticationFile(t *testing.T, path string, i *issuer, prefix string) {
	t.Helper()
	ca := strings.ReplaceAll(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: i.Certificate().Raw})), "\n", "\n      ")
	text := fmt.Sprintf(`apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
anonymous:
  enabled: true
  conditions: [{path: /livez}]
jwt:
- issuer:
    url: %s
    certificateAuthority: |
      %s
    audiences: [cluster]
  claimMappings:
    username:
      expression: "'%s' + claims.sub"
`, i.URL, ca, prefix)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestAuthenticationConfiguration(t *testing.T) {
	i := newIssuer(t)
	cfg := apitest.Config(t, t.TempDir())
	cfg.Issuers.File = filepath.Join(t.TempDir(), "authentication.yaml")
	authenticationFile(t, cfg.Issuers.File, i, "a:")
	apitest.Run(t, cfg)
	is := func(name string) func() bool {
		return func() bool {
			me, err := whoami(t, bearer(cfg, i.token(t, nil)))
			return err == nil && me.Username == name
		}
	}
	eventually(t, "the issuer's keys are known", is("a:alice"))
	for path, want := range map[string]int{"/livez": http.StatusOK, "/readyz": http.StatusUnauthorized} {
		var code int
		clientOf(t, bearer(cfg, "")).CoreV1().RESTClient().Get().AbsPath(path).Do(t.Context()).StatusCode(&code)
		if code != want {
			t.Errorf("nobody at %s: %d, want %d", path, code, want)
		}
	}
	if err := os.WriteFile(cfg.Issuers.File, []byte("kind: Nonsense\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what was in force is so while the file is wrong", is("a:alice"))
	authenticationFile(t, cfg.Issuers.File, i, "b:")
	for deadline := time.Now().Add(40 * time.Second); !is("b:alice")(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) { // a new issuer's keys are asked for, and looked for ten seconds later
			t.Fatal("the changed file is not in force")
		}
	}
}

func TestBrokenAuthenticationConfigurationIsRefused(t *testing.T) {
	i := newIssuer(t)
	cfg := apitest.Config(t, t.TempDir())
	cfg.Issuers.File = filepath.Join(t.TempDir(), "authentication.yaml")
	authenticationFile(t, cfg.Issuers.File, i, "a:")
	good, err := os.ReadFile(cfg.Issuers.File)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{"jwt:\n", "jvt:\n", ":6: "},
		{"    url: https", "    url: http", ":8: "},
		{"claims.sub", "claims.", ":"},
		{string(good), "", ":"},
	} {
		if err := os.WriteFile(cfg.Issuers.File, []byte(strings.Replace(string(good), c.old, c.new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := refused(t, cfg); !strings.Contains(err.Error(), cfg.Issuers.File+c.want) {
			t.Errorf("%q: %v", c.new, err)
		}
	}
	if err := os.WriteFile(cfg.Issuers.File, good, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg.Issuers.IssuerURL = i.URL
	if err := refused(t, cfg); !strings.Contains(err.Error(), "leave one out") {
		t.Errorf("a file and flags: %v", err)
	}
	cfg.Issuers.File = ""
	if err := refused(t, cfg); !strings.Contains(err.Error(), "oidc-client-id") {
		t.Errorf("flags by halves: %v", err)
	}
}

package apiserver_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"gopkg.in/go-jose/go-jose.v2"
	"gopkg.in/go-jose/go-jose.v2/jwt"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/apiserver"
	"fairlead.dev/fairlead/internal/apitest"
)

const clusterIssuer = "https://kubernetes.default.svc.cluster.local"

// withToken is a client that shows a token.
func withToken(t *testing.T, cfg apiserver.Config, token string) kubernetes.Interface {
	t.Helper()
	return clientOf(t, &rest.Config{Host: "https://" + cfg.Bind.String(), BearerToken: token, TLSClientConfig: rest.TLSClientConfig{CAData: cfg.CA.CertPEM()}})
}

// whoIs is the user that a token makes one, or the error.
func whoIs(t *testing.T, cfg apiserver.Config, token string) (authenticationv1.UserInfo, error) {
	t.Helper()
	review, err := withToken(t, cfg, token).AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		return authenticationv1.UserInfo{}, err
	}
	return review.Status.UserInfo, nil
}

func unauthorized(t *testing.T, cfg apiserver.Config, what, token string) {
	t.Helper()
	if user, err := whoIs(t, cfg, token); !apierrors.IsUnauthorized(err) {
		t.Errorf("%s: %v, %v", what, user.Username, err)
	}
}

func accepted(t *testing.T, cfg apiserver.Config, what, token string) {
	t.Helper()
	if user, err := whoIs(t, cfg, token); err != nil {
		t.Errorf("%s: %v, %v", what, user.Username, err)
	}
}

func makeAccount(t *testing.T, admin kubernetes.Interface, name string) *corev1.ServiceAccount {
	t.Helper()
	account, err := admin.CoreV1().ServiceAccounts("default").Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return account
}

func makePod(t *testing.T, admin kubernetes.Interface, name, account, node string) *corev1.Pod {
	t.Helper()
	pod, err := admin.CoreV1().Pods("default").Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       corev1.PodSpec{NodeName: node, ServiceAccountName: account, Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return pod
}

func toPod(pod *corev1.Pod) *authenticationv1.TokenRequest {
	return &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Pod", Name: pod.Name, UID: pod.UID},
	}}
}

func tokenOf(t *testing.T, client kubernetes.Interface, account string, request *authenticationv1.TokenRequest) string {
	t.Helper()
	answer, err := client.CoreV1().ServiceAccounts("default").CreateToken(t.Context(), account, request, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Status.Token
}

// remove deletes a pod of no node at once.
func remove(t *testing.T, admin kubernetes.Interface, pod string) {
	t.Helper()
	if err := admin.CoreV1().Pods("default").Delete(t.Context(), pod, *metav1.NewDeleteOptions(0)); err != nil {
		t.Fatal(err)
	}
}

// TestATokenSaysWhoseItIs: its user has the names, groups and extra that Kubernetes gives it, by the API and by TokenReview.
func TestATokenSaysWhoseItIs(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, _ := apitest.Run(t, cfg)
	admin := clientOf(t, server.ClientConfig())
	account := makeAccount(t, admin, "robot")
	node, err := admin.CoreV1().Nodes().Create(t.Context(), &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod := makePod(t, admin, "p", "robot", "n1")
	token := tokenOf(t, admin, "robot", toPod(pod))
	for range 2 { // the second time it is known
		user, err := whoIs(t, cfg, token)
		if err != nil || user.Username != "system:serviceaccount:default:robot" || user.UID != string(account.UID) ||
			!slices.Equal(user.Groups, []string{"system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"}) {
			t.Fatalf("%+v, %v", user, err)
		}
		for key, want := range map[string]string{"pod-name": "p", "pod-uid": string(pod.UID), "node-name": "n1", "node-uid": string(node.UID), "credential-id": "JTI="} {
			if got := user.Extra["authentication.kubernetes.io/"+key]; len(got) != 1 || !strings.HasPrefix(got[0], want) {
				t.Errorf("%s: %v, want %s", key, got, want)
			}
		}
	}
	review := func(token string, audiences ...string) authenticationv1.TokenReviewStatus {
		t.Helper()
		answer, err := admin.AuthenticationV1().TokenReviews().Create(t.Context(), &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token, Audiences: audiences}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return answer.Status
	}
	if got := review(token); !got.Authenticated || got.User.Username != "system:serviceaccount:default:robot" || !slices.Equal(got.Audiences, []string{clusterIssuer}) {
		t.Errorf("review: %+v", got)
	}
	vault := toPod(pod)
	vault.Spec.Audiences = []string{"vault", "other"}
	elsewhere := tokenOf(t, admin, "robot", vault)
	unauthorized(t, cfg, "a token for somebody else", elsewhere)
	if got := review(elsewhere); got.Authenticated || got.Error == "" {
		t.Errorf("review for another audience: %+v", got)
	}
	if got := review(elsewhere, "vault", "x"); !got.Authenticated || !slices.Equal(got.Audiences, []string{"vault"}) {
		t.Errorf("review for its audience: %+v", got)
	}
	if got := review(token, "vault"); got.Authenticated {
		t.Errorf("review of a token of the API server for another audience: %+v", got)
	}
	if _, err := admin.AuthenticationV1().TokenReviews().Create(t.Context(), &authenticationv1.TokenReview{}, metav1.CreateOptions{}); !apierrors.IsBadRequest(err) {
		t.Errorf("review of no token: %v", err)
	}
}

// TestATokenEndsWithWhatItIsBoundTo: at once, although it was good a moment before; what has the same name is something else.
func TestATokenEndsWithWhatItIsBoundTo(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, _ := apitest.Run(t, cfg)
	admin, ctx := clientOf(t, server.ClientConfig()), t.Context()
	makeAccount(t, admin, "robot")
	for range 20 {
		pod := makePod(t, admin, "p", "robot", "")
		token := tokenOf(t, admin, "robot", toPod(pod))
		accepted(t, cfg, "right after the pod was made", token)
		remove(t, admin, "p")
		eventuallyRefused(t, cfg, "the pod is gone", token)
		again := makePod(t, admin, "p", "robot", "")
		accepted(t, cfg, "right after the pod was made again", tokenOf(t, admin, "robot", toPod(again)))
		unauthorized(t, cfg, "of the pod that had the name before", token)
		if _, err := admin.CoreV1().ServiceAccounts("default").CreateToken(ctx, "robot", toPod(pod), metav1.CreateOptions{}); !apierrors.IsConflict(err) {
			t.Errorf("a token for a pod of before: %v", err)
		}
		remove(t, admin, "p")
	}
	free := tokenOf(t, admin, "robot", &authenticationv1.TokenRequest{})
	accepted(t, cfg, "bound to nothing", free)
	if err := admin.CoreV1().ServiceAccounts("default").Delete(ctx, "robot", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventuallyRefused(t, cfg, "the account is gone", free)
	makeAccount(t, admin, "robot")
	unauthorized(t, cfg, "of the account that had the name before", free)
	makeSecrets(t, admin, "s")
	bySecret := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Secret", Name: "s"}}}
	token := tokenOf(t, admin, "robot", bySecret)
	accepted(t, cfg, "bound to a secret", token)
	if err := admin.CoreV1().Secrets("default").Delete(ctx, "s", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventuallyRefused(t, cfg, "the secret is gone", token)
}

// eventuallyRefused bounds how far the caches may be behind.
func eventuallyRefused(t *testing.T, cfg apiserver.Config, what, token string) {
	t.Helper()
	eventually(t, what, func() bool {
		_, err := whoIs(t, cfg, token)
		return apierrors.IsUnauthorized(err)
	})
}

// forge signs claims; nil: with the cluster's own key.
func forge(t *testing.T, key any, algorithm jose.SignatureAlgorithm, claims ...any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	builder := jwt.Signed(signer)
	for _, c := range claims {
		builder = builder.Claims(c)
	}
	token, err := builder.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// TestForgedTokens: what the cluster's key did not sign, has expired, is not valid yet, or was made for somebody else is nobody's.
func TestForgedTokens(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, _ := apitest.Run(t, cfg)
	admin := clientOf(t, server.ClientConfig())
	account := makeAccount(t, admin, "robot")
	now := time.Now()
	private := map[string]any{"kubernetes.io": map[string]any{"namespace": "default", "serviceaccount": map[string]string{"name": "robot", "uid": string(account.UID)}}}
	good := jwt.Claims{
		Issuer: clusterIssuer, Subject: "system:serviceaccount:default:robot", Audience: jwt.Audience{clusterIssuer},
		IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(time.Hour)),
	}
	changed := func(change func(*jwt.Claims)) jwt.Claims {
		c := good
		change(&c)
		return c
	}
	own := cfg.AccountKeys[0]
	accepted(t, cfg, "as the issuer makes them", forge(t, own, jose.ES256, private, good))
	other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&own.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	valid := strings.Split(forge(t, own, jose.ES256, private, good), ".")
	none := func(header string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + valid[1] + "."
	}
	master := maps.Clone(private)
	master["kubernetes.io"] = map[string]any{"namespace": "kube-system", "serviceaccount": map[string]string{"name": "robot", "uid": string(account.UID)}}
	for what, token := range map[string]string{
		"another key":                      forge(t, other, jose.ES256, private, good),
		"the public key as a password":     forge(t, public, jose.HS256, private, good),
		"the algorithm none":               none(`{"alg":"none"}`),
		"none, with a signature":           none(`{"alg":"none"}`) + valid[2],
		"none, misspelt":                   none(`{"alg":"nOnE","typ":"JWT"}`),
		"no signature":                     valid[0] + "." + valid[1] + ".",
		"another token's signature":        valid[0] + "." + strings.Split(forge(t, own, jose.ES256, master, good), ".")[1] + "." + valid[2],
		"expired":                          forge(t, own, jose.ES256, private, changed(func(c *jwt.Claims) { c.Expiry = jwt.NewNumericDate(now.Add(-2 * time.Minute)) })),
		"not valid yet":                    forge(t, own, jose.ES256, private, changed(func(c *jwt.Claims) { c.NotBefore = jwt.NewNumericDate(now.Add(5 * time.Minute)) })),
		"issued in the future":             forge(t, own, jose.ES256, private, changed(func(c *jwt.Claims) { c.IssuedAt = jwt.NewNumericDate(now.Add(5 * time.Minute)) })),
		"another issuer":                   forge(t, own, jose.ES256, private, changed(func(c *jwt.Claims) { c.Issuer = "https://elsewhere" })),
		"another audience":                 forge(t, own, jose.ES256, private, changed(func(c *jwt.Claims) { c.Audience = jwt.Audience{"vault"} })),
		"an account of another namespace":  forge(t, own, jose.ES256, master, good),
		"not of the account that is there": forge(t, own, jose.ES256, map[string]any{"kubernetes.io": map[string]any{"namespace": "default", "serviceaccount": map[string]string{"name": "robot", "uid": "x"}}}, good),
		"a Secret's, of no Secret":         forge(t, own, jose.ES256, map[string]any{"kubernetes.io/serviceaccount/namespace": "default"}, jwt.Claims{Issuer: "kubernetes/serviceaccount", Subject: good.Subject}),
		"nonsense":                         "a.b.c",
		"nothing":                          ".",
		"large":                            strings.Repeat("a", 1<<16),
	} {
		unauthorized(t, cfg, what, token)
	}
	accepted(t, cfg, "a clock that is half a minute ahead", forge(t, own, jose.ES256, private, changed(func(c *jwt.Claims) { c.NotBefore = jwt.NewNumericDate(now.Add(30 * time.Second)) })))
	nobody := &rest.Config{Host: "https://" + cfg.Bind.String(), BearerToken: "a.b.c", TLSClientConfig: rest.TLSClientConfig{CAData: cfg.CA.CertPEM()}}
	if got := status(t, nobody, "/version"); got != http.StatusUnauthorized {
		t.Errorf("a bad token where nobody may ask: %d", got)
	}
}

// TestAKeyIsReplaced: what the key of before signed is good while the file has it, behind the new one, and no longer.
func TestAKeyIsReplaced(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, stop := apitest.Run(t, cfg)
	admin := clientOf(t, server.ClientConfig())
	makeAccount(t, admin, "robot")
	before := tokenOf(t, admin, "robot", &authenticationv1.TokenRequest{})
	stop()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cfg.AccountKeys = append([]*ecdsa.PrivateKey{key}, cfg.AccountKeys...)
	server, stop = apitest.Run(t, cfg)
	after := tokenOf(t, clientOf(t, server.ClientConfig()), "robot", &authenticationv1.TokenRequest{})
	accepted(t, cfg, "of the key before", before)
	accepted(t, cfg, "of the new key", after)
	stop()
	cfg.AccountKeys = cfg.AccountKeys[:1]
	apitest.Run(t, cfg)
	unauthorized(t, cfg, "of a key that is gone", before)
	accepted(t, cfg, "of the key that is left", after)
}

// TestTokenRequestWords: what is wrong with a request, in upstream's words.
func TestTokenRequestWords(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, _ := apitest.Run(t, cfg)
	admin := clientOf(t, server.ClientConfig())
	account := makeAccount(t, admin, "robot")
	pod := makePod(t, admin, "p", "default", "")
	in := func(change func(*authenticationv1.TokenRequest)) *authenticationv1.TokenRequest {
		r := &authenticationv1.TokenRequest{}
		change(r)
		return r
	}
	seconds := func(n int64) *authenticationv1.TokenRequest {
		return in(func(r *authenticationv1.TokenRequest) { r.Spec.ExpirationSeconds = &n })
	}
	bound := func(version, kind, name string) *authenticationv1.TokenRequest {
		return in(func(r *authenticationv1.TokenRequest) {
			r.Spec.BoundObjectRef = &authenticationv1.BoundObjectReference{APIVersion: version, Kind: kind, Name: name}
		})
	}
	for _, test := range []struct {
		account string
		request *authenticationv1.TokenRequest
		want    string
	}{
		{"robot", seconds(599), `TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes`},
		{"robot", seconds(1<<32 + 1), `spec.expirationSeconds: Invalid value: 4294967297: may not specify a duration larger than 2^32 seconds`},
		{"robot", in(func(r *authenticationv1.TokenRequest) { r.Name = "x" }), `metadata.name: Invalid value: "x": must match the service account name if specified`},
		{"robot", in(func(r *authenticationv1.TokenRequest) { r.UID = "x" }), `the UID in the token request (x) does not match the UID of the service account (` + string(account.UID) + `)`},
		{"nobody", seconds(600), `serviceaccounts "nobody" not found`},
		{"robot", bound("v1", "Pod", "none"), `pods "none" not found`},
		{"robot", bound("v1", "Secret", "none"), `secrets "none" not found`},
		{"robot", bound("v1", "Node", "none"), `nodes "none" not found`},
		{"robot", bound("apps/v1", "Deployment", "d"), `cannot bind token to object of type apps/v1, Kind=Deployment`},
		{"robot", toPod(pod), `cannot bind token for serviceaccount "robot" to pod running with different serviceaccount name.`},
		{"robot", in(func(r *authenticationv1.TokenRequest) {
			r.Spec.Attestations = map[string]authenticationv1.AttestationValue{"a": {"b"}}
		}), `spec.attestations: Invalid value`},
	} {
		_, err := admin.CoreV1().ServiceAccounts("default").CreateToken(t.Context(), test.account, test.request, metav1.CreateOptions{})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("got %v, want %s", err, test.want)
		}
	}
	answer, err := admin.CoreV1().ServiceAccounts("default").CreateToken(t.Context(), "robot", seconds(600), metav1.CreateOptions{})
	if err != nil || answer.Name != "robot" || answer.Namespace != "default" || answer.UID != account.UID || !slices.Equal(answer.Spec.Audiences, []string{clusterIssuer}) {
		t.Fatalf("%+v, %v", answer, err)
	}
	if left := time.Until(answer.Status.ExpirationTimestamp.Time); left > 600*time.Second || left < 500*time.Second {
		t.Errorf("it expires in %s", left)
	}
}

// TestNodesGetTokensOfTheirPods: of no other pod, of no account by itself, and for no audience that the pod does not ask for.
func TestNodesGetTokensOfTheirPods(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, _ := apitest.Run(t, cfg)
	admin, ctx := clientOf(t, server.ClientConfig()), t.Context()
	node := clientOf(t, as(t, cfg, "system:node:n1", "system:nodes"))
	makeAccount(t, admin, "robot")
	makeAccount(t, admin, "other")
	ask := func(account string, r *authenticationv1.TokenRequest) error {
		_, err := node.CoreV1().ServiceAccounts("default").CreateToken(ctx, account, r, metav1.CreateOptions{})
		return err
	}
	elsewhere := makePod(t, admin, "elsewhere", "robot", "n2")
	if err := ask("robot", toPod(elsewhere)); !apierrors.IsForbidden(err) {
		t.Errorf("a node with no pod of the account: %v", err)
	}
	for i := range 20 {
		pod := makePod(t, admin, fmt.Sprint("p", i), "robot", "n1")
		if err := ask("robot", toPod(pod)); err != nil {
			t.Fatalf("right after the pod was bound: %v", err)
		}
	}
	pod := makePod(t, admin, "p", "robot", "n1")
	vault, unnamed, noUID := toPod(pod), &authenticationv1.TokenRequest{}, toPod(pod)
	vault.Spec.Audiences, noUID.Spec.BoundObjectRef.UID = []string{"vault"}, ""
	two := toPod(pod)
	two.Spec.Audiences = []string{clusterIssuer, "vault"}
	toNode := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{BoundObjectRef: &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Node", Name: "n1"}}}
	for what, test := range map[string]struct {
		account string
		request *authenticationv1.TokenRequest
		want    string
	}{
		"a pod elsewhere":      {"robot", toPod(elsewhere), "node requested token bound to a pod scheduled on a different node"},
		"no pod":               {"robot", unnamed, "node requested token not bound to a pod"},
		"bound to itself":      {"robot", toNode, "node requested token not bound to a pod"},
		"without UID":          {"robot", noUID, "node requested token with a pod binding without a uid"},
		"another audience":     {"robot", vault, `not authorized to request tokens for audience "vault"`},
		"two audiences":        {"robot", two, "node may only request 0 or 1 audiences"},
		"an account of nobody": {"other", toPod(pod), "forbidden"},
	} {
		if err := ask(test.account, test.request); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestIssuerIsDiscovered: whoever has a service account finds the keys, by which its token can be checked; nobody else does.
func TestIssuerIsDiscovered(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, _ := apitest.Run(t, cfg)
	admin := clientOf(t, server.ClientConfig())
	makeAccount(t, admin, "robot")
	token := tokenOf(t, admin, "robot", &authenticationv1.TokenRequest{})
	robot := withToken(t, cfg, token).CoreV1().RESTClient()
	text, err := robot.Get().AbsPath("/.well-known/openid-configuration").DoRaw(t.Context())
	var document struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err != nil || json.Unmarshal(text, &document) != nil || document.Issuer != clusterIssuer || document.Keys != "https://"+cfg.Bind.String()+"/openid/v1/jwks" {
		t.Fatalf("%s, %v", text, err)
	}
	var keys jose.JSONWebKeySet
	if text, err = robot.Get().AbsPath("/openid/v1/jwks").DoRaw(t.Context()); err != nil || json.Unmarshal(text, &keys) != nil {
		t.Fatalf("%s, %v", text, err)
	}
	parsed, err := jwt.ParseSigned(token)
	if err != nil {
		t.Fatal(err)
	}
	var claims jwt.Claims
	if found := keys.Key(parsed.Headers[0].KeyID); len(found) != 1 || parsed.Claims(found[0], &claims) != nil || claims.Subject != "system:serviceaccount:default:robot" {
		t.Errorf("%d keys, claims %+v", len(found), claims)
	}
	nobody := &rest.Config{Host: "https://" + cfg.Bind.String(), TLSClientConfig: rest.TLSClientConfig{CAData: cfg.CA.CertPEM()}}
	if got := status(t, nobody, "/openid/v1/jwks"); got != http.StatusUnauthorized {
		t.Errorf("without a credential: %d", got)
	}
}

// TestManyTokens: more than are remembered; each says whose it is.
func TestManyTokens(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, _ := apitest.Run(t, cfg)
	admin := clientOf(t, server.ClientConfig())
	makeAccount(t, admin, "a")
	makeAccount(t, admin, "b")
	config := &rest.Config{Host: "https://" + cfg.Bind.String(), TLSClientConfig: rest.TLSClientConfig{CAData: cfg.CA.CertPEM()}, QPS: -1}
	client := clientOf(t, config).AuthenticationV1().RESTClient()
	for i := range 1200 {
		name := []string{"a", "b"}[i%2]
		token := tokenOf(t, admin, name, &authenticationv1.TokenRequest{})
		var review authenticationv1.SelfSubjectReview
		err := client.Post().Resource("selfsubjectreviews").SetHeader("Authorization", "Bearer "+token).Body(&authenticationv1.SelfSubjectReview{}).Do(t.Context()).Into(&review)
		if err != nil || review.Status.UserInfo.Username != "system:serviceaccount:default:"+name {
			t.Fatalf("token %d: %+v, %v", i, review.Status.UserInfo, err)
		}
	}
}

// TestTenThousandTokens: all of them live, and shown one after the other; the server's memory grows with none of them.
func TestTenThousandTokens(t *testing.T) {
	server := startMeasured(t, "none")
	admin := clientOf(t, server.Config)
	makeAccount(t, admin, "robot")
	anonymous := rest.AnonymousClientConfig(server.Config)
	anonymous.QPS = -1
	reviews := clientOf(t, anonymous).AuthenticationV1().RESTClient()
	show := func(token string) error {
		var review authenticationv1.SelfSubjectReview
		err := reviews.Post().Resource("selfsubjectreviews").SetHeader("Authorization", "Bearer "+token).Body(&authenticationv1.SelfSubjectReview{}).Do(t.Context()).Into(&review)
		if err == nil && review.Status.UserInfo.Username != "system:serviceaccount:default:robot" {
			return fmt.Errorf("user %q", review.Status.UserInfo.Username)
		}
		return err
	}
	live := make([]string, 10_000)
	each := func(from, to int, do func(i int) error) {
		t.Helper()
		var group errgroup.Group
		group.SetLimit(8)
		for i := from; i < to; i++ {
			group.Go(func() error { return do(i) })
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	issue := func(i int) error {
		answer, err := admin.CoreV1().ServiceAccounts("default").CreateToken(t.Context(), "robot", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
		if err != nil {
			return err
		}
		live[i] = answer.Status.Token
		return show(live[i])
	}
	each(0, 2_000, issue) // more than are remembered
	few := server.rests(t, "2000 tokens", 350)
	each(2_000, len(live), issue)
	each(0, len(live), func(i int) error { return show(live[i]) })
	many := server.rests(t, "10000 tokens", few+60)
	t.Logf("MB: %d with 2000 tokens, %d with 10000", few, many)
}

package ingress

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/l7/route"
)

var noon = time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)

// issue makes a certificate for some hosts, valid for a day around noon, and its key, both in PEM.
func issue(t testing.TB, hosts ...string) (cert, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: hosts,
		NotBefore: noon.Add(-12 * time.Hour), NotAfter: noon.Add(12 * time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

func authority(t testing.TB) []byte {
	cert, _ := issue(t)
	return cert
}

// TestSecrets: whatever may be wrong with a Secret that an Ingress names is found.
func TestSecrets(t *testing.T) {
	cert, key := issue(t, "a.x", "*.a.x")
	other, otherKey := issue(t, "b.x")
	c := newCluster()
	tls := func(cert, key []byte) map[string][]byte { return map[string][]byte{"tls.crt": cert, "tls.key": key} }
	c.secret("shop", "good", tls(cert, key))
	c.secret("shop", "foreign", tls(other, otherKey))
	c.secret("shop", "unfit", tls(cert, otherKey))
	c.secret("shop", "broken", tls([]byte("x"), key))
	c.secret("shop", "opaque", nil).Type = corev1.SecretTypeOpaque
	c.secret("shop", "users", map[string][]byte{"auth": []byte("a:b")})
	for _, test := range []struct {
		secret string
		at     time.Time
		want   string
	}{
		{"good", noon, ""}, {"missing", noon, SecretMissing}, {"foreign", noon, CertificateHost}, {"unfit", noon, SecretWrong}, {"broken", noon, SecretWrong},
		{"opaque", noon, SecretWrong}, {"good", noon.Add(24 * time.Hour), CertificateExpired}, {"good", noon.Add(-24 * time.Hour), CertificateEarly},
	} {
		ing := parse(t, one("a", nil, "a.x / web")+"  tls: [{hosts: [a.x, '*.a.x'], secretName: "+test.secret+"}, {hosts: [a.x]}]\n")
		got := ""
		for _, f := range Secrets(ing, c.world().Secret, test.at) {
			got += f.Code
			if f.Where != "spec.tls[0]" || f.Ingress != api.Name(ing) || !strings.Contains(f.Sentence, "shop/"+test.secret) || f.Remedy == "" {
				t.Errorf("%s: %+v", test.secret, f)
			}
		}
		expect(t, test.secret, got, test.want)
	}
	for secret, want := range map[string]string{"users": "", "shop/users": "", "gone": SecretMissing, "good": SecretWrong, "other/users": ""} {
		ing := parse(t, one("a", map[string]string{"auth-type": "basic", "auth-secret": secret}, "a.x / web"))
		got := ""
		for _, f := range Secrets(ing, c.world().Secret, noon) {
			got += f.Code
		}
		expect(t, secret, got, want)
	}
}

// A Secret that backends are verified with is taken anew when it changes.
func TestProxySSLSecretChanges(t *testing.T) {
	c := newCluster()
	b := serve(t, c, one("a", map[string]string{"backend-protocol": "HTTPS", "proxy-ssl-verify": "on", "proxy-ssl-name": "in.x", "proxy-ssl-secret": "ca"}, "a.x / web"))
	said := func() (all string) {
		for _, f := range Secrets(b.world.Ingress(types.NamespacedName{Namespace: "shop", Name: "a"}), b.world.Secret, noon) {
			all += f.Code + " " + f.Where
		}
		return all
	}
	answers(t, b, "http://a.x/ broken")
	expect(t, "missing", said(), "SecretMissing proxy-ssl-secret")
	c.secret("shop", "ca", map[string][]byte{"ca.crt": []byte("nonsense")})
	b.Update(Changes{Secrets: []types.NamespacedName{{Namespace: "shop", Name: "ca"}}})
	answers(t, b, "http://a.x/ broken")
	expect(t, "wrong", said(), "SecretInvalid proxy-ssl-secret")
	c.secret("shop", "ca", map[string][]byte{"ca.crt": authority(t)})
	b.Update(Changes{Secrets: []types.NamespacedName{{Namespace: "shop", Name: "ca"}}})
	answers(t, b, "http://a.x/ web:80")
	expect(t, "right", said(), "")
}

// Headers are set and taken out by annotations of ours; what belongs to the connection is not theirs to change.
func TestHeaders(t *testing.T) {
	r := actionWith(t, map[string]string{
		api.AnnotationRequestHeaders:  "x-tenant: shop\nX-Debug:\n",
		api.AnnotationResponseHeaders: "Strict-Transport-Security: max-age=600; preload",
		"x-forwarded-prefix":          "/app",
	})
	want := route.HeaderEdit{Set: []route.Header{{Name: "X-Tenant", Value: "shop"}, {Name: "X-Forwarded-Prefix", Value: "/app"}}, Remove: []string{"X-Debug"}}
	if !reflect.DeepEqual(r.Action.Request, want) {
		t.Errorf("of requests: %+v, want %+v", r.Action.Request, want)
	}
	want = route.HeaderEdit{Set: []route.Header{{Name: "Strict-Transport-Security", Value: "max-age=600; preload"}}}
	if !reflect.DeepEqual(r.Action.Response, want) {
		t.Errorf("of answers: %+v, want %+v", r.Action.Response, want)
	}
	for _, value := range []string{"", "no colon", "a b: c", "Connection: close", "content-length: 1", "Host: x", "X: a\x00b", "X-Ok: 1\nTransfer-Encoding: chunked", "X: 1\nx: 2"} {
		ing := parse(t, one("a", nil, "a.x / web"))
		ing.Annotations[api.AnnotationResponseHeaders] = value
		lines := Annotations(ing)
		s, _ := read(ing)
		if len(lines) != 1 || lines[0].Level != Wrong || !s.response.IsEmpty() {
			t.Errorf("%q: %+v", value, lines)
		}
	}
}

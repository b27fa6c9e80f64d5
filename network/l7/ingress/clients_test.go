package ingress

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// certified makes a certificate that another has signed, or itself.
func certified(t *testing.T, name string, by *tls.Certificate) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name, Organization: []string{"Shop"}}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	parent, signer := leaf, any(key)
	c := &tls.Certificate{PrivateKey: key}
	if by != nil {
		parent, signer = by.Leaf, by.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	if c.Certificate = [][]byte{der}; by != nil && len(by.Certificate) > 0 {
		c.Certificate = append(c.Certificate, by.Certificate...)
	}
	if c.Leaf, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return c
}

func inPEM(c *tls.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})
}

// TestCertificatesOfClients: on, optional and optional_no_ca, with none, a good, a foreign one and one of too long a chain; over a
// connection for another name, and without TLS; HTTP/1.1 and HTTP/2.
func TestCertificatesOfClients(t *testing.T) {
	c := newCluster()
	ca := certified(t, "ca", nil)
	good, foreign := certified(t, "good", ca), certified(t, "foreign", certified(t, "other", nil))
	deep := certified(t, "deep", certified(t, "second", certified(t, "first", ca)))
	c.secret("shop", "ca", map[string][]byte{"ca.crt": inPEM(ca)})
	guarded := func(name string, pairs ...string) string {
		m := map[string]string{"auth-tls-secret": "shop/ca"}
		for i := 0; i+1 < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return one("for-"+name, m, name+".x / web")
	}
	n := newNode(t, c, guarded("on", "auth-tls-pass-certificate-to-upstream", "true"), guarded("optional", "auth-tls-verify-client", "optional"),
		guarded("any", "auth-tls-verify-client", "optional_no_ca"), guarded("off", "auth-tls-verify-client", "off"), guarded("deep", "auth-tls-verify-depth", "2"),
		guarded("page", "auth-tls-error-page", "https://why.x/?from=$host"), one("open", nil, "open.x / web"))
	ask := func(address, sni string, h2 bool, cert *tls.Certificate) answer {
		config := &tls.Config{InsecureSkipVerify: true, ServerName: sni} // the server's is not what is tested
		if cert != nil {
			config.Certificates = []tls.Certificate{*cert}
		}
		var protocols http.Protocols
		protocols.SetHTTP1(!h2)
		protocols.SetHTTP2(h2)
		transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: config, Protocols: &protocols, DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, n.secure)
		}}
		r, err := http.NewRequestWithContext(t.Context(), "GET", address, bytes.NewReader(nil))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Ssl-Client-Verify", "SUCCESS")
		r.Header.Set("Ssl-Client-Subject-Dn", "CN=forged")
		r.Header.Set("Ssl_Client_Subject_DN", "CN=forged")
		if !h2 {
			r.Header.Set("Connection", "Ssl-Client-Verify, Ssl-Client-Subject-Dn, Ssl-Client-Issuer-Dn, Ssl-Client-Cert") // are not its to drop
		}
		got, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatalf("%s: %v", address, err)
		}
		defer got.Body.Close()
		text, err := io.ReadAll(got.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer{got, string(text)}
	}
	for _, h2 := range []bool{false, true} {
		for _, test := range []struct {
			host string
			cert *tls.Certificate
			want string // status and what the backend was told
		}{
			{"on", nil, "400"}, {"on", good, "200 Ssl-Client-Verify: SUCCESS"}, {"on", good, "200 Ssl-Client-Subject-Dn: CN=good,O=Shop"}, {"on", good, "200 Ssl-Client-Issuer-Dn: CN=ca,O=Shop"},
			{"on", foreign, "400"}, {"on", deep, "400"}, {"on", good, "200 Ssl-Client-Cert: " + url.PathEscape(string(inPEM(good)))},
			{"optional", nil, "200 Ssl-Client-Verify: NONE"}, {"optional", good, "200 Ssl-Client-Verify: SUCCESS"}, {"optional", foreign, "400"},
			{"any", nil, "200 Ssl-Client-Verify: NONE"}, {"any", foreign, "200 Ssl-Client-Verify: FAILED:x509: certificate signed by unknown authority"},
			{"off", good, "200"}, {"deep", deep, "200 Ssl-Client-Verify: SUCCESS"}, {"page", nil, "302"}, {"open", nil, "200"},
		} {
			got := ask("https://"+test.host+".x/", test.host+".x", h2, test.cert)
			status, told, _ := strings.Cut(test.want, " ")
			if fmt.Sprint(got.StatusCode) != status || !strings.Contains(got.body, told) || strings.Contains(got.body, "forged") != (test.host == "open") {
				t.Errorf("%s, HTTP/2 %t: %d %s, want %s", test.host, h2, got.StatusCode, got.body, test.want)
			}
		}
		expect(t, "place of the page", ask("https://page.x/", "page.x", h2, foreign).Header.Get("Location"), "https://why.x/?from=page.x")
		expect(t, "over a connection for another name", fmt.Sprint(ask("https://on.x/", "open.x", h2, good).StatusCode), "421")
	}
	n.get("http://on.x/ 400", "http://optional.x/ web:80", "http://open.x/ web:80")

	for _, test := range [][2]string{{"ca.crl", "503"}, {"", "503"}, {"ca.crt", "400"}} { // it follows the Secret
		text, code := test[0], test[1]
		data := map[string][]byte{"ca.crt": inPEM(ca), "ca.crl": []byte("x")}
		if text != "ca.crl" {
			data = map[string][]byte{text: inPEM(ca)}
		}
		c.secret("shop", "ca", data)
		n.builder.Update(Changes{Secrets: []types.NamespacedName{{Namespace: "shop", Name: "ca"}}})
		n.serve()
		n.get("https://on.x/ " + code)
		found := Secrets(c.ingresses[types.NamespacedName{Namespace: "shop", Name: "for-on"}], c.world().Secret, time.Now())
		if (len(found) == 1 && found[0].Code == SecretWrong) != (code == "503") {
			t.Errorf("%q: %v", text, found)
		}
	}
	delete(c.ingresses, types.NamespacedName{Namespace: "shop", Name: "for-on"})
	n.builder.Update(Changes{Ingresses: []types.NamespacedName{{Namespace: "shop", Name: "for-on"}}})
	if _, secure := n.builder.Entries(); strings.Join(secure.Listeners[0].TLS.Ask, " ") != "any.x deep.x optional.x page.x" {
		t.Errorf("clients are asked for %v", secure.Listeners[0].TLS.Ask)
	}
}

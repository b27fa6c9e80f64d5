package upstream_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"net"
	"slices"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/keyutil"
)

// request asks for a certificate and returns the key it is for.
func (c cluster) request(t *testing.T, name, signer string, subject pkix.Name, usages ...certificatesv1.KeyUsage) []byte {
	t.Helper()
	key, err := c.ask(t, name, signer, &x509.CertificateRequest{Subject: subject}, usages...)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (c cluster) ask(t *testing.T, name, signer string, by *x509.CertificateRequest, usages ...certificatesv1.KeyUsage) ([]byte, error) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, by, key)
	if err != nil {
		t.Fatal(err)
	}
	keyPEM, err := keyutil.MarshalPrivateKeyToPEM(key)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.CertificatesV1().CertificateSigningRequests().Create(t.Context(), &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), SignerName: signer, Usages: usages,
		},
	}, metav1.CreateOptions{})
	return keyPEM, err
}

// decide approves or denies a request.
func (c cluster) decide(t *testing.T, name string, decision certificatesv1.RequestConditionType) {
	t.Helper()
	requests := c.CertificatesV1().CertificateSigningRequests()
	r, err := requests.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r.Status.Conditions = append(r.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{Type: decision, Status: corev1.ConditionTrue, Reason: "Test"})
	if _, err := requests.UpdateApproval(t.Context(), name, r, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// await waits until a request is as wanted.
func (c cluster) await(t *testing.T, name string, is func(*certificatesv1.CertificateSigningRequest) bool) *certificatesv1.CertificateSigningRequest {
	t.Helper()
	var r *certificatesv1.CertificateSigningRequest
	eventually(t, func() bool {
		var err error
		if r, err = c.CertificatesV1().CertificateSigningRequests().Get(t.Context(), name, metav1.GetOptions{}); err != nil {
			t.Fatal(err)
		}
		return is(r)
	})
	return r
}

func signed(r *certificatesv1.CertificateSigningRequest) bool { return len(r.Status.Certificate) > 0 }

func failed(r *certificatesv1.CertificateSigningRequest) bool {
	return slices.ContainsFunc(r.Status.Conditions, func(c certificatesv1.CertificateSigningRequestCondition) bool {
		return c.Type == certificatesv1.CertificateFailed
	})
}

func TestAnApprovedRequestIsSignedAndItsCertificateIsWhoItNames(t *testing.T) {
	c := start(t)
	key := c.request(t, "jane", certificatesv1.KubeAPIServerClientSignerName, pkix.Name{CommonName: "jane", Organization: []string{"writers"}}, certificatesv1.UsageClientAuth)
	c.decide(t, "jane", certificatesv1.CertificateApproved)
	r := c.await(t, "jane", signed)
	as := rest.AnonymousClientConfig(c.config)
	as.CertData, as.KeyData = r.Status.Certificate, key
	got, err := kubernetes.NewForConfigOrDie(as).AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if u := got.Status.UserInfo; u.Username != "jane" || !slices.Contains(u.Groups, "writers") {
		t.Errorf("the certificate is of %+v", u)
	}
}

func TestWhatIsDeniedOrNobodysIsNotSigned(t *testing.T) {
	c := start(t)
	c.request(t, "denied", certificatesv1.KubeAPIServerClientSignerName, pkix.Name{CommonName: "eve"}, certificatesv1.UsageClientAuth)
	c.decide(t, "denied", certificatesv1.CertificateDenied)
	c.request(t, "foreign", "example.com/signer", pkix.Name{CommonName: "eve"}, certificatesv1.UsageClientAuth)
	c.decide(t, "foreign", certificatesv1.CertificateApproved)
	c.request(t, "server", certificatesv1.KubeAPIServerClientSignerName, pkix.Name{CommonName: "eve"}, certificatesv1.UsageServerAuth)
	c.decide(t, "server", certificatesv1.CertificateApproved)
	c.request(t, "node", certificatesv1.KubeAPIServerClientKubeletSignerName, pkix.Name{CommonName: "eve"}, certificatesv1.UsageClientAuth)
	c.decide(t, "node", certificatesv1.CertificateApproved)
	for _, name := range []string{"server", "node"} {
		if r := c.await(t, name, failed); signed(r) {
			t.Errorf("%s is signed", name)
		}
	}
	// What came last has been dealt with, so that what was passed over stays as it is.
	for _, name := range []string{"denied", "foreign"} {
		if r := c.await(t, name, func(*certificatesv1.CertificateSigningRequest) bool { return true }); signed(r) {
			t.Errorf("%s is signed", name)
		}
	}
}

func TestAnIdentityOfTheClusterIsNotToBeHad(t *testing.T) {
	c := start(t)
	for _, asked := range []struct {
		signer string
		by     x509.CertificateRequest
		why    string
	}{
		{certificatesv1.KubeAPIServerClientSignerName, x509.CertificateRequest{Subject: pkix.Name{CommonName: "eve", Organization: []string{"system:masters"}}}, "with system:masters group is not allowed"},
		{certificatesv1.KubeAPIServerClientSignerName, x509.CertificateRequest{Subject: pkix.Name{CommonName: "eve", Organization: []string{"a", "fairlead:agent-callers"}}}, "with fairlead:agent-callers group is not allowed"},
		{certificatesv1.KubeletServingSignerName, ofNode("kubernetes"), "is a name of the cluster itself"},
		{certificatesv1.KubeletServingSignerName, ofNode("n1", "kubernetes.default.svc"), "is not that of node"},
		{certificatesv1.KubeletServingSignerName, ofNode("n1", "127.0.0.1"), "127.0.0.1"},
		{certificatesv1.KubeletServingSignerName, ofNode("n1", "10.96.0.1"), "10.96.0.1"},
	} {
		usage := certificatesv1.UsageClientAuth
		if asked.signer == certificatesv1.KubeletServingSignerName {
			usage = certificatesv1.UsageServerAuth
		}
		if _, err := c.ask(t, "eve", asked.signer, &asked.by, usage); err == nil || !strings.Contains(err.Error(), asked.why) {
			t.Errorf("%v %v %v: %v", asked.by.Subject, asked.by.DNSNames, asked.by.IPAddresses, err)
		}
	}
}

// ofNode is a request for a serving certificate of a node, for the given names and addresses.
func ofNode(node string, known ...string) x509.CertificateRequest {
	r := x509.CertificateRequest{Subject: pkix.Name{CommonName: "system:node:" + node, Organization: []string{"system:nodes"}}}
	for _, k := range known {
		if ip := net.ParseIP(k); ip != nil {
			r.IPAddresses = append(r.IPAddresses, ip)
		} else {
			r.DNSNames = append(r.DNSNames, k)
		}
	}
	return r
}

package apiserver_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"fairlead.dev/fairlead/internal/apitest"
)

const podSigner = "example.com/signer"

// certificateOf asks for a certificate of a pod, as its node does it.
func certificateOf(t *testing.T, admin kubernetes.Interface, pod *corev1.Pod) *certificatesv1.PodCertificateRequest {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	account, err := admin.CoreV1().ServiceAccounts("default").Get(t.Context(), pod.Spec.ServiceAccountName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	node, err := admin.CoreV1().Nodes().Get(t.Context(), "n1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return &certificatesv1.PodCertificateRequest{ObjectMeta: metav1.ObjectMeta{GenerateName: "req-"}, Spec: certificatesv1.PodCertificateRequestSpec{
		SignerName: podSigner, PodName: pod.Name, PodUID: pod.UID, ServiceAccountName: account.Name, ServiceAccountUID: account.UID,
		NodeName: "n1", NodeUID: node.UID, StubPKCS10Request: proof,
	}}
}

// signed is a volume with a certificate of podSigner.
func signed() corev1.Volume {
	return corev1.Volume{Name: "certificate", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
		{PodCertificate: &corev1.PodCertificateProjection{SignerName: podSigner, KeyType: "ECDSAP256", CredentialBundlePath: "bundle.pem"}},
	}}}}
}

// TestNodesAskForCertificatesOfTheirPods: for no other pod, node or account, and by no signer that the pod does not name or roles grant; they
// see only what was asked for their own, and answer nothing.
func TestNodesAskForCertificatesOfTheirPods(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, _ := apitest.Run(t, cfg)
	admin, ctx := clientOf(t, server.ClientConfig()), t.Context()
	n1, n2 := clientOf(t, as(t, cfg, "system:node:n1", "system:nodes")), clientOf(t, as(t, cfg, "system:node:n2", "system:nodes"))
	makeAccount(t, admin, "robot")
	makeAccount(t, admin, "other")
	for _, name := range []string{"n1", "n2"} {
		if _, err := admin.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	podWith := func(name, node string, volumes ...corev1.Volume) *corev1.Pod {
		pod := podOn(name, node)
		pod.Spec.ServiceAccountName, pod.Spec.Volumes = "robot", volumes
		made, err := admin.CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	here, elsewhere, plain := podWith("here", "n1", signed()), podWith("elsewhere", "n2", signed()), podWith("plain", "n1")
	if _, err := n1.CoreV1().ServiceAccounts("default").Get(ctx, "robot", metav1.GetOptions{}); err != nil {
		t.Errorf("the account of its pod: %v", err)
	}
	if _, err := n1.CoreV1().ServiceAccounts("default").Get(ctx, "other", metav1.GetOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("an account of nobody: %v", err)
	}
	for name, test := range map[string]struct {
		pod    *corev1.Pod
		change func(*certificatesv1.PodCertificateRequestSpec)
		want   string // in the error
	}{
		"its pod":             {here, func(*certificatesv1.PodCertificateRequestSpec) {}, ""},
		"another node":        {here, func(s *certificatesv1.PodCertificateRequestSpec) { s.NodeName = "n2" }, `NodeName="n2", which is not the requesting node "n1"`},
		"another node's UID":  {here, func(s *certificatesv1.PodCertificateRequestSpec) { s.NodeUID = "x" }, "inconsistent with the running node"},
		"a pod elsewhere":     {elsewhere, func(*certificatesv1.PodCertificateRequestSpec) {}, "is not running on node"},
		"no pod":              {here, func(s *certificatesv1.PodCertificateRequestSpec) { s.PodName = "none" }, `while retrieving pod "default/none"`},
		"an earlier pod":      {here, func(s *certificatesv1.PodCertificateRequestSpec) { s.PodUID = "x" }, "which differs from running pod"},
		"another account":     {here, func(s *certificatesv1.PodCertificateRequestSpec) { s.ServiceAccountName = "other" }, "that differs from running pod"},
		"an earlier account":  {here, func(s *certificatesv1.PodCertificateRequestSpec) { s.ServiceAccountUID = "x" }, "differs from the running service account"},
		"another signer":      {here, func(s *certificatesv1.PodCertificateRequestSpec) { s.SignerName = "example.com/else" }, "does not mount a podCertificate projected volume"},
		"a pod without one":   {plain, func(*certificatesv1.PodCertificateRequestSpec) {}, "does not mount a podCertificate projected volume"},
		"a signer of nothing": {here, func(s *certificatesv1.PodCertificateRequestSpec) { s.SignerName = "x" }, "spec.signerName"},
	} {
		request := certificateOf(t, admin, test.pod)
		test.change(&request.Spec)
		_, err := n1.CertificatesV1().PodCertificateRequests("default").Create(ctx, request, metav1.CreateOptions{})
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
	own, err := n1.CertificatesV1().PodCertificateRequests("").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=n1"})
	if err != nil || len(own.Items) != 1 {
		t.Fatalf("what is its own: %v, %v", own, err)
	}
	one := &own.Items[0]
	one.Status.Conditions = []metav1.Condition{{Type: "Denied", Status: metav1.ConditionTrue, Reason: "x", LastTransitionTime: metav1.Now()}}
	_, all := n1.CertificatesV1().PodCertificateRequests("").List(ctx, metav1.ListOptions{})
	_, another := n1.CertificatesV1().PodCertificateRequests("").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=n2"})
	_, read := n1.CertificatesV1().PodCertificateRequests("default").Get(ctx, one.Name, metav1.GetOptions{})
	_, other := n2.CertificatesV1().PodCertificateRequests("default").Get(ctx, one.Name, metav1.GetOptions{})
	_, answered := n1.CertificatesV1().PodCertificateRequests("default").UpdateStatus(ctx, one, metav1.UpdateOptions{})
	deleted := n1.CertificatesV1().PodCertificateRequests("default").Delete(ctx, one.Name, metav1.DeleteOptions{})
	if read != nil {
		t.Errorf("its own request: %v", read)
	}
	for what, err := range map[string]error{"everything": all, "another's": another, "another's by name": other, "an answer": answered, "its end": deleted} {
		if !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	grantNodes(t, admin, "request-serviceaccounts-podcertificate-signer", "certificates.k8s.io", "example.com:else")
	apitest.Eventually(t, func() string {
		request := certificateOf(t, admin, here)
		request.Spec.SignerName = "example.com/else"
		if _, err := n1.CertificatesV1().PodCertificateRequests("default").Create(ctx, request, metav1.CreateOptions{}); err != nil {
			return err.Error()
		}
		return ""
	})
}

// TestNodesAskForTheirOwnCertificates: of the signers of nodes' certificates a node gets none in another name.
func TestNodesAskForTheirOwnCertificates(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	apitest.Run(t, cfg)
	node := clientOf(t, as(t, cfg, "system:node:n1", "system:nodes"))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for i, test := range []struct{ signer, name, want string }{
		{certificatesv1.KubeAPIServerClientKubeletSignerName, "system:node:n1", ""},
		{certificatesv1.KubeAPIServerClientKubeletSignerName, "system:node:n2", "can only create a node CSR with CN=system:node:n1"},
		{certificatesv1.KubeletServingSignerName, "system:node:n2", "can only create a node CSR with CN=system:node:n1"},
		{certificatesv1.KubeletServingSignerName, "system:node:n1", ""},
	} {
		der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: test.name, Organization: []string{"system:nodes"}}, DNSNames: dnsOf(test.signer)}, key)
		if err != nil {
			t.Fatal(err)
		}
		request := &certificatesv1.CertificateSigningRequest{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprint("r", i)}, Spec: certificatesv1.CertificateSigningRequestSpec{
			SignerName: test.signer, Request: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), Usages: usagesOf(test.signer),
		}}
		_, err = node.CertificatesV1().CertificateSigningRequests().Create(t.Context(), request, metav1.CreateOptions{})
		if test.want == "" && err != nil || test.want != "" && (!apierrors.IsForbidden(err) || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s for %s: %v", test.signer, test.name, err)
		}
	}
}

func dnsOf(signer string) []string {
	if signer == certificatesv1.KubeletServingSignerName {
		return []string{"n1"}
	}
	return nil
}

func usagesOf(signer string) []certificatesv1.KeyUsage {
	if signer == certificatesv1.KubeletServingSignerName {
		return []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageServerAuth}
	}
	return []certificatesv1.KeyUsage{certificatesv1.UsageDigitalSignature, certificatesv1.UsageClientAuth}
}

// TestTheAuthorityIsATrustBundle: made again at a start.
func TestTheAuthorityIsATrustBundle(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, _ := apitest.Run(t, cfg)
	admin := clientOf(t, server.ClientConfig())
	apitest.Eventually(t, func() string {
		list, err := admin.CertificatesV1().ClusterTrustBundles().List(t.Context(), metav1.ListOptions{FieldSelector: "spec.signerName=kubernetes.io/kube-apiserver-serving"})
		if err != nil || len(list.Items) != 1 || list.Items[0].Spec.TrustBundle != string(cfg.CA.CertPEM()) {
			return fmt.Sprint(list, err)
		}
		return ""
	})
}

// TestAudiencesThatRolesGrant: a node gets tokens for an audience that no volume names if a role says so, for that account only.
func TestAudiencesThatRolesGrant(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, _ := apitest.Run(t, cfg)
	admin, ctx := clientOf(t, server.ClientConfig()), t.Context()
	node := clientOf(t, as(t, cfg, "system:node:n1", "system:nodes"))
	makeAccount(t, admin, "robot")
	pod := makePod(t, admin, "p", "robot", "n1")
	ask := func(audience string) error {
		request := toPod(pod)
		request.Spec.Audiences = []string{audience}
		_, err := node.CoreV1().ServiceAccounts("default").CreateToken(ctx, "robot", request, metav1.CreateOptions{})
		return err
	}
	if err := ask("registry"); !apierrors.IsForbidden(err) {
		t.Fatalf("without a role: %v", err)
	}
	grantNodes(t, admin, "request-serviceaccounts-token-audience", "", "registry")
	apitest.Eventually(t, func() string {
		if err := ask("registry"); err != nil {
			return err.Error()
		}
		return ""
	})
	if err := ask("vault"); !apierrors.IsForbidden(err) {
		t.Errorf("another audience: %v", err)
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{"registry"}}}
	if _, err := node.CoreV1().ServiceAccounts("default").CreateToken(ctx, "robot", request, metav1.CreateOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("for no pod: %v", err)
	}
}

// grantNodes gives all nodes a verb on what is named like a resource, for the account robot.
func grantNodes(t *testing.T, admin kubernetes.Interface, verb, group, resource string) {
	t.Helper()
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "nodes-too"}, Rules: []rbacv1.PolicyRule{
		{Verbs: []string{verb}, APIGroups: []string{group}, Resources: []string{resource}, ResourceNames: []string{"robot"}},
	}}
	if _, err := admin.RbacV1().ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "nodes-too"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "nodes-too"},
		Subjects: []rbacv1.Subject{{Kind: "Group", APIGroup: rbacv1.GroupName, Name: "system:nodes"}},
	}
	if _, err := admin.RbacV1().ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(fmt.Errorf("binding: %w", err))
	}
}

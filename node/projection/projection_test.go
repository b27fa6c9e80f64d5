package projection_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/internal/apitest"
	"fairlead.dev/fairlead/node/projection"
	"fairlead.dev/fairlead/pki"
)

const signer = "example.com/signer"

// bench is a node's sources over a real API server, and who is told of changes.
type bench struct {
	*projection.Sources
	admin  kubernetes.Interface
	told   chan types.UID
	events *record.FakeRecorder
}

func newBench(t *testing.T) *bench {
	t.Helper()
	cfg := apitest.Config(t, t.TempDir())
	server, _ := apitest.Run(t, cfg)
	node := server.ClientConfig()
	node.Impersonate.UserName, node.Impersonate.Groups = "system:node:n1", []string{"system:nodes"}
	b := &bench{projection.New(clientOf(t, node), "n1"), clientOf(t, server.ClientConfig()), make(chan types.UID, 100), record.NewFakeRecorder(100)}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		b.Run(ctx, b.events, func(uid types.UID) { b.told <- uid })
	}()
	t.Cleanup(func() { stop(); <-ended })
	return b
}

func clientOf(t *testing.T, config *rest.Config) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// hears waits until the pod is told of.
func (b *bench) hears(t *testing.T, uid types.UID) {
	t.Helper()
	for {
		select {
		case got := <-b.told:
			if got == uid {
				return
			}
		case <-time.After(time.Minute):
			t.Fatalf("pod %s is not told of", uid)
		}
	}
}

// bundle is a ClusterTrustBundle of the certificates.
func bundle(name, of string, labels map[string]string, certs ...[]byte) *certificatesv1.ClusterTrustBundle {
	return &certificatesv1.ClusterTrustBundle{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels},
		Spec:       certificatesv1.ClusterTrustBundleSpec{SignerName: of, TrustBundle: string(slices.Concat(certs...))},
	}
}

func authority(t *testing.T) []byte {
	t.Helper()
	ca, err := pki.LoadOrCreate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return ca.CertPEM()
}

// projecting is a pod of node n1 with one volume, v.
func projecting(name string, sources ...corev1.VolumeProjection) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(name)},
		Spec: corev1.PodSpec{
			NodeName: "n1", ServiceAccountName: "robot", Containers: []corev1.Container{{Name: "c", Image: "i"}},
			Volumes: []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: sources}}}},
		},
	}
}

// TestTrustBundles: by name, by signer and labels, each certificate once; changes are told; what is missing is an error unless it may be.
func TestTrustBundles(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	all := b.admin.CertificatesV1().ClusterTrustBundles()
	one, two, three := authority(t), authority(t), authority(t)
	for _, made := range []*certificatesv1.ClusterTrustBundle{
		bundle("plain", "", nil, one), bundle("example.com:signer:a", signer, map[string]string{"live": "yes"}, two), bundle("example.com:signer:b", signer, nil, two, three),
		bundle("example.com:else:a", "example.com/else", map[string]string{"live": "yes"}, one),
	} {
		if _, err := all.Create(ctx, made, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	named := func(name string, optional *bool) *corev1.ClusterTrustBundleProjection {
		return &corev1.ClusterTrustBundleProjection{Name: &name, Optional: optional}
	}
	of := func(selector *metav1.LabelSelector, optional *bool) *corev1.ClusterTrustBundleProjection {
		return &corev1.ClusterTrustBundleProjection{SignerName: ptr.To(signer), LabelSelector: selector, Optional: optional}
	}
	if _, err := b.TrustAnchors(ctx, named("plain", nil)); err == nil {
		t.Error("answered although no pod needs it")
	}
	pod := projecting("p", corev1.VolumeProjection{ClusterTrustBundle: named("plain", nil)})
	b.Use(pod)
	live := &metav1.LabelSelector{MatchLabels: map[string]string{"live": "yes"}}
	for name, test := range map[string]struct {
		p    *corev1.ClusterTrustBundleProjection
		want [][]byte
		err  string
	}{
		"by name":                       {named("plain", nil), [][]byte{one}, ""},
		"a name of none":                {named("none", nil), nil, `while getting ClusterTrustBundle: clustertrustbundle.certificates.k8s.io "none" not found`},
		"a name of none that may be":    {named("none", ptr.To(true)), nil, ""},
		"all of a signer":               {of(&metav1.LabelSelector{}, nil), [][]byte{two, three}, ""},
		"those with a label":            {of(live, nil), [][]byte{two}, ""},
		"no selector":                   {of(nil, nil), nil, "combination of signerName and labelSelector matched zero ClusterTrustBundles"},
		"no selector, which may be":     {of(nil, ptr.To(true)), nil, ""},
		"neither a name nor a signer":   {&corev1.ClusterTrustBundleProjection{}, nil, "requires either name or signerName"},
		"a selector of unknown meaning": {of(&metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Like"}}}, nil), nil, "while parsing label selector"},
	} {
		got, err := b.TrustAnchors(ctx, test.p)
		if test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) || test.err == "" && err != nil {
			t.Errorf("%s: error %v, want %q", name, err, test.err)
		}
		if !same(got, test.want) {
			t.Errorf("%s: %s", name, got)
		}
	}
	before := b.Version(ctx, pod)
	changed := bundle("plain", "", nil, three)
	old, err := all.Get(ctx, "plain", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	changed.ResourceVersion = old.ResourceVersion
	if _, err := all.Update(ctx, changed, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	b.hears(t, pod.UID)
	if got, err := b.TrustAnchors(ctx, named("plain", nil)); err != nil || !same(got, [][]byte{three}) || b.Version(ctx, pod) == before {
		t.Errorf("after a change: %s, %v", got, err)
	}
	b.Forget(pod.UID)
	if _, err := b.TrustAnchors(ctx, named("plain", nil)); err == nil {
		t.Error("watched on when no pod needs it")
	}
}

// same compares certificates, whatever their order.
func same(got []byte, want [][]byte) bool {
	var blocks [][]byte
	for block, rest := pem.Decode(got); block != nil; block, rest = pem.Decode(rest) {
		blocks = append(blocks, pem.EncodeToMemory(block))
	}
	slices.SortFunc(blocks, bytes.Compare)
	slices.SortFunc(want, bytes.Compare)
	return slices.EqualFunc(blocks, want, bytes.Equal)
}

// TestPodCertificates: of every kind of key, asked for as the node, there when the signer has answered; a denial is an error and an Event;
// nothing is asked for where the pod is gone.
func TestPodCertificates(t *testing.T) {
	b, ctx := newBench(t), t.Context()
	if _, err := b.admin.CoreV1().ServiceAccounts("default").Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "robot"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.admin.CoreV1().Nodes().Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	kinds := []string{"ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519", "RSA3072"}
	for i, kind := range append(kinds, "denied") {
		pod := projecting(strings.ToLower(kind), corev1.VolumeProjection{PodCertificate: &corev1.PodCertificateProjection{
			SignerName: signer, KeyType: kinds[i%len(kinds)], CredentialBundlePath: "bundle.pem", UserAnnotations: map[string]string{"example.com/a": "b"},
		}})
		made, err := b.admin.CoreV1().Pods("default").Create(ctx, pod, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		b.Use(made)
		if _, _, err := b.Certificate(ctx, made, "v", 0); err == nil {
			t.Fatalf("%s: a certificate without a signer", kind)
		}
		before := b.Version(ctx, made)
		asked := b.asked(t, made)
		if asked.Spec.UnverifiedUserAnnotations["example.com/a"] != "b" || asked.Spec.ServiceAccountName != "robot" || asked.Spec.NodeName != "n1" {
			t.Errorf("%s: asks %+v", kind, asked.Spec)
		}
		b.answer(t, asked, kind == "denied")
		b.hears(t, made.UID)
		apitest.Eventually(t, func() string {
			key, chain, err := b.Certificate(ctx, made, "v", 0)
			switch _, pairs := tls.X509KeyPair(chain, key); {
			case kind == "denied":
				if err == nil || !strings.Contains(err.Error(), `PodCertificateRequest was permanently denied: reason="Never"`) {
					return fmt.Sprint("denied: ", err)
				}
			case err != nil || pairs != nil:
				return fmt.Sprint(err, pairs)
			}
			if b.Version(ctx, made) == before {
				return "the same version"
			}
			return ""
		})
		b.Forget(made.UID)
		if _, _, err := b.Certificate(ctx, made, "v", 0); err == nil {
			t.Errorf("%s: a certificate of a pod that is gone", kind)
		}
	}
	if event := <-b.events.Events; !strings.Contains(event, "Warning Denied") {
		t.Errorf("told %q", event)
	}
}

// asked is what the node has asked for a pod.
func (b *bench) asked(t *testing.T, pod *corev1.Pod) (asked *certificatesv1.PodCertificateRequest) {
	t.Helper()
	apitest.Eventually(t, func() string {
		list, err := b.admin.CertificatesV1().PodCertificateRequests("default").List(t.Context(), metav1.ListOptions{FieldSelector: "spec.podName=" + pod.Name})
		if err != nil || len(list.Items) != 1 {
			return fmt.Sprint(len(list.Items), " requests, ", err)
		}
		asked = &list.Items[0]
		return ""
	})
	return asked
}

// answer plays the signer.
func (b *bench) answer(t *testing.T, asked *certificatesv1.PodCertificateRequest, deny bool) {
	t.Helper()
	now := time.Now().Truncate(time.Second)
	condition := metav1.Condition{Type: certificatesv1.PodCertificateRequestConditionTypeDenied, Status: metav1.ConditionTrue, Reason: "Never", Message: "no", LastTransitionTime: metav1.NewTime(now)}
	if !deny {
		condition.Type, condition.Reason = certificatesv1.PodCertificateRequestConditionTypeIssued, "Signed"
		asked.Status.CertificateChain = sign(t, asked.Spec.StubPKCS10Request, now)
		asked.Status.NotBefore, asked.Status.BeginRefreshAt, asked.Status.NotAfter = ptr.To(metav1.NewTime(now)), ptr.To(metav1.NewTime(now.Add(20*time.Minute))), ptr.To(metav1.NewTime(now.Add(time.Hour)))
	}
	asked.Status.Conditions = []metav1.Condition{condition}
	if _, err := b.admin.CertificatesV1().PodCertificateRequests("default").UpdateStatus(t.Context(), asked, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

// sign is a certificate by an authority of this call for the key of a request.
func sign(t *testing.T, request []byte, now time.Time) string {
	t.Helper()
	csr, err := x509.ParseCertificateRequest(request)
	if err != nil {
		t.Fatal(err)
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: now, NotAfter: now.Add(time.Hour), DNSNames: []string{"example.com"}}
	der, err := x509.CreateCertificate(rand.Reader, template, &x509.Certificate{}, csr.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

package gateways

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"log/slog"

	"fairlead.dev/fairlead/api/announce"
	controller "fairlead.dev/fairlead/controller/gateway"
	"fairlead.dev/fairlead/internal/apitest"
	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/world"
	"fairlead.dev/fairlead/network/world/gateways"
	"fairlead.dev/fairlead/network/world/secrets"
	"fairlead.dev/fairlead/pki"
)

const manifests = `apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: g, namespace: default}
spec:
  gatewayClassName: fairlead
  tls: {frontend: {default: {validation: {caCertificateRefs: [{group: "", kind: ConfigMap, name: ca}]}}}}
  listeners: [{name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: pair}]}}, {name: http, port: 80, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: default}
spec: {parentRefs: [{name: g}], rules: [{backendRefs: [{name: s, port: 80}]}]}`

// A node, with the rights of one, learns of Gateways when there is one, reads what they name and nothing else, and keeps all of it.
func TestNodeLearnsOfGateways(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, _ := apitest.Run(t, cfg)
	admin := kubernetes.NewForConfigOrDie(server.ClientConfig())
	log := slog.New(slog.NewTextHandler(t.Output(), nil))
	shared := informers.NewSharedInformerFactory(admin, 0)
	apitest.Control(t, shared, controller.New(admin, server.ClientConfig(), shared, controller.Store{Names: server.CustomNames, AwaitUse: server.AwaitUse, Preset: server.Preset, PresetObject: server.PresetObject},
		func(context.Context, *corev1.Node) (announce.Serving, error) { return nil, nil }, log).Run)

	cert, key, err := cfg.CA.Issue(pki.Request{CommonName: "system:node:n1", Organizations: []string{"system:nodes"}, Client: true})
	if err != nil {
		t.Fatal(err)
	}
	config := &rest.Config{Host: "https://" + cfg.Bind.String(), QPS: -1, TLSClientConfig: rest.TLSClientConfig{CAData: cfg.CA.CertPEM(), CertData: cert, KeyData: key}}
	node, w, source := kubernetes.NewForConfigOrDie(config), world.New(), New()
	ctx, cancel := context.WithCancel(t.Context())
	objects, err := gateways.New(config, false)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for _, run := range []func() error{
		func() error { return w.Run(ctx, node) }, func() error { return source.Run(ctx, objects, secrets.NewConfigMaps(node, log), w) },
	} {
		all.Go(func() {
			if err := run(); err != nil {
				t.Error(err)
			}
		})
	}
	defer all.Wait()
	defer cancel()
	<-source.ready
	if source.live.Load() != nil {
		t.Error("it watches although there is no Gateway")
	}
	for _, doc := range strings.Split(manifests, "\n---\n") {
		create(t, dynamic.NewForConfigOrDie(server.ClientConfig()), doc)
	}
	pair := secret(t)
	if _, err := admin.CoreV1().Secrets("default").Create(t.Context(), pair, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	ca := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "ca"}, Data: map[string]string{"ca.crt": string(pair.Data["tls.crt"])}}
	if _, err := admin.CoreV1().ConfigMaps("default").Create(t.Context(), ca, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	point := route.Point{Service: types.NamespacedName{Namespace: "default", Name: "gateway-g"}, Port: 443}
	serves := func(s *Source) string {
		if svc, _ := w.Service(point.Service); svc != nil {
			s.see(svc)
		}
		entries, secrets := s.derive(w, func(n types.NamespacedName) *corev1.Secret {
			found, err := node.CoreV1().Secrets(n.Namespace).Get(t.Context(), n.Name, metav1.GetOptions{})
			if err != nil {
				return nil
			}
			return found
		})
		local := point
		local.Local = true
		switch e := entries[point]; {
		case e == nil || entries[local] == nil:
			return fmt.Sprintf("nothing is served at %v: %v", point, entries)
		case len(secrets) != 1 || secrets[0].Name != "pair":
			return fmt.Sprintf("it names the Secrets %v", secrets)
		case e.Listeners[0].TLS.Clients == nil:
			return "clients show no certificate"
		}
		return ""
	}
	apitest.Eventually(t, func() string { return serves(source) })
	said := func() string {
		w := httptest.NewRecorder()
		source.ServeHTTP(w, httptest.NewRequest(http.MethodGet, announce.GatewaysPath, nil))
		return strings.TrimSpace(w.Body.String())
	}
	if got := said(); got != "null" {
		t.Errorf("before the engine has it, the node says that it serves %s", got)
	}
	source.served()
	if got := said(); !strings.Contains(got, `{"generation":1,"names":["http","https"]}`) {
		t.Errorf("the node says that it serves %s", got)
	}
	if _, err := node.CoreV1().Secrets("default").Get(t.Context(), "other", metav1.GetOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a Secret that nobody names: %v", err)
	}
	if _, err := node.CoreV1().ConfigMaps("default").Get(t.Context(), "other", metav1.GetOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a ConfigMap that nobody names: %v", err)
	}
	raw, err := json.Marshal(source.save())
	if err != nil {
		t.Fatal(err)
	}
	next := New()
	if err := next.restore(raw); err != nil {
		t.Fatal(err)
	}
	if why := serves(next); why != "" {
		t.Errorf("what was kept: %s", why)
	}
}

func create(t *testing.T, client dynamic.Interface, doc string) {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(doc), &o.Object); err != nil {
		t.Fatal(err)
	}
	to := client.Resource(o.GroupVersionKind().GroupVersion().WithResource(strings.ToLower(o.GetKind()) + "s")).Namespace(o.GetNamespace())
	apitest.Eventually(t, func() string { // the definitions may not be there yet
		if _, err := to.Create(t.Context(), o, metav1.CreateOptions{}); err != nil {
			return err.Error()
		}
		return ""
	})
}

// secret is a certificate that signs itself, with its key.
func secret(t *testing.T) *corev1.Secret {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "pair"}, Type: corev1.SecretTypeTLS, Data: map[string][]byte{
		"tls.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), "tls.key": pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}),
	}}
}

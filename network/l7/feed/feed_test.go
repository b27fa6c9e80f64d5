package feed

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/api/ingressrefs"
	"fairlead.dev/fairlead/network/l7"
	"fairlead.dev/fairlead/network/l7/ingress"
	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/world"
	"fairlead.dev/fairlead/network/world/secrets"
)

// lab is a Feed with what it is fed from.
type lab struct {
	t     *testing.T
	cfg   Config
	world *world.World
	feed  *Feed
	told  chan string
	api   *fake.Clientset // of the last run
	stop  func()
	roots *x509.CertPool
	host  string // that clients dial
}

func newLab(t *testing.T) *lab {
	l := &lab{t: t, host: "127.0.0.1", world: world.New(), told: make(chan string, 16), stop: func() {}, roots: x509.NewCertPool()}
	l.cfg = Config{NodeName: "n1", NodeIPs: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, File: filepath.Join(t.TempDir(), "l7.json"),
		Ports: ingress.Ports{HTTP: unused(t), HTTPS: unused(t)}, Tell: func(m string) bool { l.told <- m; return true }}
	t.Cleanup(func() { l.stop() })
	return l
}

// unused is a port of loopback that nobody has.
func unused(t *testing.T) uint16 {
	t.Helper()
	s, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	return s.Addr().(*net.TCPAddr).AddrPort().Port()
}

func (l *lab) make() {
	l.feed = New(l.cfg, l7.Config{}, slog.New(slog.DiscardHandler))
}

// run feeds from the World and the Secrets until stop.
func (l *lab) run(all ...runtime.Object) {
	client := fake.NewClientset()
	for _, s := range all {
		if err := client.Tracker().Add(s); err != nil {
			l.t.Fatal(err)
		}
	}
	l.api = client
	ctx, cancel := context.WithCancel(l.t.Context())
	quiet := slog.New(slog.DiscardHandler)
	follows := Follows{secrets.New(client, quiet), secrets.NewConfigMaps(client, quiet)}
	done := make(chan error, 1)
	go func() { _ = follows.Secrets.Run(ctx) }() // the fake's watches do not end
	go func() { _ = follows.ConfigMaps.Run(ctx) }()
	go func() { done <- l.feed.Run(ctx, l.world, follows) }()
	l.stop = func() {
		cancel()
		if err := <-done; err != nil {
			l.t.Error(err)
		}
		l.stop = func() {}
	}
}

// backend is a server that says its name.
func (l *lab) backend(name string) netip.AddrPort {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) }))
	l.t.Cleanup(s.Close)
	return s.Listener.Addr().(*net.TCPAddr).AddrPort()
}

func class() *networkingv1.IngressClass {
	return &networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: api.IngressClass}, Spec: networkingv1.IngressClassSpec{Controller: api.IngressController}}
}

func web() *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"},
		Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.1", Ports: []corev1.ServicePort{{Port: 80}}}}
}

func slice(to ...netip.AddrPort) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}}, AddressType: discoveryv1.AddressTypeIPv4}
	for _, at := range to {
		s.Ports = []discoveryv1.EndpointPort{{Name: ptr.To(""), Port: ptr.To(int32(at.Port()))}}
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{at.Addr().String()}})
	}
	return s
}

func shop() *networkingv1.Ingress {
	return &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "shop"}, Spec: networkingv1.IngressSpec{
		IngressClassName: ptr.To(api.IngressClass), TLS: []networkingv1.IngressTLS{{Hosts: []string{"shop.example.org"}, SecretName: "cert"}},
		Rules: []networkingv1.IngressRule{{Host: "shop.example.org", IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{
			Paths: []networkingv1.HTTPIngressPath{{Path: "/", PathType: ptr.To(networkingv1.PathTypePrefix), Backend: networkingv1.IngressBackend{
				Service: &networkingv1.IngressServiceBackend{Name: "web", Port: networkingv1.ServiceBackendPort{Number: 80}}}}}}}}},
	}}
}

// cert is the Secret of shop's certificate, which clients of the lab then trust.
func (l *lab) cert() *corev1.Secret {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		l.t.Fatal(err)
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "shop"}, DNSNames: []string{"shop.example.org"},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, &key.PublicKey, key)
	if err != nil {
		l.t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		l.t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	l.roots.AppendCertsFromPEM(text)
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "cert"}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{corev1.TLSCertKey: text, corev1.TLSPrivateKeyKey: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})}}
}

// get asks for https://shop.example.org/ and returns the answer, or the error as text.
func (l *lab) get() string {
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: l.roots},
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(l.host, fmt.Sprint(l.cfg.Ports.HTTPS)))
		}}}
	answer, err := client.Get("https://shop.example.org/")
	if err != nil {
		return err.Error()
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s %s", answer.StatusCode, text, answer.Header.Get("X-Shop")))
}

func (l *lab) until(want string) {
	l.t.Helper()
	got := ""
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if got = l.get(); strings.HasPrefix(got, want) {
			return
		}
	}
	l.t.Fatalf("%s, want %s", got, want)
}

// An Ingress is served with its certificate as soon as it is there, and not any more when it is gone; a change of endpoints
// makes no new table; the ports of the node are open only meanwhile.
func TestFollowsTheWorld(t *testing.T) {
	l := newLab(t)
	a, b := l.backend("a"), l.backend("b")
	l.world.Put(class())
	l.world.Put(web())
	l.world.Put(slice(a))
	l.world.MarkSynced()
	l.make()
	l.run(l.cert())
	if got := l.get(); !strings.Contains(got, "connection refused") {
		t.Errorf("without an Ingress: %s", got)
	}
	l.world.Put(shop())
	l.until("200 a")
	table := l.feed.table.Load()
	l.world.Put(slice(b))
	l.until("200 b")
	if l.feed.table.Load() != table {
		t.Error("a change of endpoints made another table")
	}
	l.world.Put(slice())
	l.until("503 ")
	l.world.Delete(shop())
	l.until(`Get "https://shop.example.org/": dial tcp 127.0.0.1`)
}

// A node of a cluster without IPv4 serves Ingresses on its IPv6 address, from endpoints of that family.
func TestIPv6Alone(t *testing.T) {
	l := newLab(t)
	l.host, l.cfg.NodeIPs = "::1", []netip.Addr{netip.MustParseAddr("::1")}
	at, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "six") }))
	_ = s.Listener.Close() // it has one of its own
	s.Listener = at
	s.Start()
	t.Cleanup(s.Close)
	svc, endpoints := web(), slice(at.Addr().(*net.TCPAddr).AddrPort())
	svc.Spec.ClusterIP, svc.Spec.IPFamilies, endpoints.AddressType = "fd00::1", []corev1.IPFamily{corev1.IPv6Protocol}, discoveryv1.AddressTypeIPv6
	l.world.Put(class())
	l.world.Put(svc)
	l.world.Put(endpoints)
	l.world.Put(shop())
	l.world.MarkSynced()
	l.make()
	l.run(l.cert())
	l.until("200 six")
}

// What was served is served again by the next process, with the same certificate and headers, before anything is known of the API server, and
// until the World is complete.
func TestServesWithoutTheAPI(t *testing.T) {
	l := newLab(t)
	l.world.Put(class())
	l.world.Put(web())
	l.world.Put(slice(l.backend("a")))
	ing := shop()
	ing.Annotations = map[string]string{ingressrefs.AnnotationHeaders: "headers"}
	l.world.Put(ing)
	l.world.MarkSynced()
	l.make()
	l.run(l.cert(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "headers"}, Data: map[string]string{"X-Shop": "ours"}})
	l.until("200 a ours")
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if info, err := os.Stat(l.cfg.File); err == nil && info.Mode() == 0o600 {
			break
		} else if time.Now().After(deadline) {
			t.Fatal("nothing was kept", err)
		}
	}
	l.world.Put(slice(l.backend("b")))
	l.until("200 b ours")
	l.stop() // what changed last is kept as well
	l.world = world.New()
	l.make()
	if !l.feed.Restore() {
		t.Fatal("nothing was restored")
	}
	if got := l.get(); got != "200 b ours" {
		t.Errorf("before anything is known: %s", got)
	}
	l.run()
	l.world.Put(class())
	l.world.Put(web())
	if got := l.get(); got != "200 b ours" {
		t.Errorf("while the World is not complete: %s", got)
	}
	l.world.MarkSynced() // and there is neither the Ingress nor the Secret any more
	l.until(`Get "https://shop.example.org/": dial tcp 127.0.0.1`)
}

// A Secret that is spoilt shows the certificate that it had, also after a restart, until it is mended or deleted.
func TestSpoiltSecret(t *testing.T) {
	l := newLab(t)
	l.world.Put(class())
	l.world.Put(web())
	l.world.Put(slice(l.backend("a")))
	l.world.Put(shop())
	l.world.MarkSynced()
	l.make()
	good := l.cert()
	l.run(good)
	l.until("200 a")
	secrets := func() typedcorev1.SecretInterface { return l.api.CoreV1().Secrets("shop") }
	write := func(s *corev1.Secret) {
		t.Helper()
		if _, err := secrets().Update(t.Context(), s, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	known := func(crt []byte) { // until the node has read it
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if s := l.feed.secret(api.Name(good)); s != nil && bytes.Equal(s.Data[corev1.TLSCertKey], crt) {
				return
			} else if time.Now().After(deadline) {
				t.Fatal("the Secret was not read")
			}
		}
	}
	for _, text := range []string{"spoilt", "in another way"} {
		spoilt := good.DeepCopy()
		spoilt.Data[corev1.TLSCertKey] = []byte(text)
		write(spoilt)
		known([]byte(text))
		l.until("200 a")
	}
	l.stop() // having kept what it serves
	l.make()
	if !l.feed.Restore() {
		t.Fatal("nothing was restored")
	}
	spoilt := good.DeepCopy()
	spoilt.Data[corev1.TLSCertKey] = []byte("spoilt")
	l.run(spoilt)
	known([]byte("spoilt"))
	if got := l.get(); got != "200 a" {
		t.Errorf("after a restart: %s", got)
	}
	l.roots = x509.NewCertPool()
	mended := l.cert()
	write(mended)
	l.until("200 a")
	if err := secrets().Delete(t.Context(), "cert", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	l.until(`Get "https://shop.example.org/": tls: failed to verify certificate`)
}

// A damaged file is none.
func TestADamagedFile(t *testing.T) {
	l := newLab(t)
	for _, text := range []string{"", "{}", `{"service": 7` + "\n", `{"service": 7}` + "\n", `{"service": {"shop/web": 7}}` + "\n", "\x00\x00"} {
		if err := os.WriteFile(l.cfg.File, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if l.make(); l.feed.Restore() && text != "" {
			t.Errorf("%q was served", text)
		}
	}
}

// A port that somebody has is told, with who that is, and opened when it is free; the other port is served meanwhile.
func TestATakenPort(t *testing.T) {
	l := newLab(t)
	other, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", l.cfg.Ports.HTTP))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	for _, o := range []any{class(), web(), slice(l.backend("a")), shop()} {
		switch o := o.(type) {
		case *networkingv1.IngressClass:
			l.world.Put(o)
		case *corev1.Service:
			l.world.Put(o)
		case *discoveryv1.EndpointSlice:
			l.world.Put(o)
		case *networkingv1.Ingress:
			l.world.Put(o)
		}
	}
	l.world.MarkSynced()
	closed := make(chan string, 16)
	l.cfg.Closed = func(why string) { closed <- why }
	l.make()
	l.run(l.cert())
	l.until("200 a")
	if got := <-closed; !strings.HasPrefix(got, fmt.Sprintf("127.0.0.1:%d: ", l.cfg.Ports.HTTP)) {
		t.Errorf("closed: %q", got)
	}
	want := fmt.Sprintf("cannot listen on 127.0.0.1:%d, which process %d (", l.cfg.Ports.HTTP, os.Getpid())
	if got := <-l.told; !strings.HasPrefix(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
	_ = other.Close()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", l.cfg.Ports.HTTP))
		if err == nil {
			_ = c.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
	if len(l.told) > 0 {
		t.Errorf("told again: %s", <-l.told)
	}
	if got := <-closed; got != "" || len(closed) > 0 {
		t.Errorf("closed: %q, after which %d more is told", got, len(closed))
	}
}

// What a request would meet, in words.
func TestExplain(t *testing.T) {
	l := newLab(t)
	l.world.Put(class())
	l.world.Put(web())
	nobody := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), unused(t))
	l.world.Put(slice(nobody))
	l.world.Put(shop())
	l.world.MarkSynced()
	l.make()
	l.run(l.cert())
	l.until("50") // there is nobody at the endpoint
	got := l.feed.Explain(Question{Host: "shop.example.org", Path: "/cart", TLS: true})
	for _, want := range []string{"Ingress shop/shop", "prefix /", fmt.Sprintf("shop/web:80 [%s]", nobody)} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if got := l.feed.Explain(Question{Host: "other.example.org", TLS: true}); !strings.Contains(got, "404") {
		t.Errorf("another host: %s", got)
	}
	var all strings.Builder
	if l.feed.WriteText(&all); !strings.Contains(all.String(), "certificate shop/cert for shop.example.org") {
		t.Errorf("all:\n%s", &all)
	}
}

// A Source's entries are served like all others, and what it keeps is given back to it before it is ready.
func TestSources(t *testing.T) {
	l := newLab(t)
	l.world.Put(web())
	l.world.Put(slice(l.backend("a")))
	l.world.MarkSynced()
	point := route.Point{Service: types.NamespacedName{Namespace: "shop", Name: "gw"}, Port: 80}
	changed, ready, restored, seen := make(chan struct{}, 1), make(chan struct{}), "", map[string]int{}
	on := false
	l.cfg.Sources = []Source{{
		Name: "gateways", Changed: changed, Ready: ready,
		Derive: func(*world.World, func(types.NamespacedName) *corev1.Secret) (map[route.Point]*route.Entry, []types.NamespacedName) {
			if !on && restored == "" {
				return nil, nil
			}
			to := []route.Backend{{Service: types.NamespacedName{Namespace: "shop", Name: "web"}, Port: 80, Weight: 1}}
			return map[route.Point]*route.Entry{point: {Point: point, Protocol: route.TCP, Listeners: []*route.Listener{{Streams: []route.Stream{{Backends: to}}}}}}, nil
		},
		See:     func(svc *corev1.Service) { seen[svc.Name]++ },
		Save:    func() any { return "kept" },
		Restore: func(raw json.RawMessage) error { return json.Unmarshal(raw, &restored) },
	}}
	l.make()
	l.run()
	close(ready)
	served := func() bool {
		return strings.Contains(l.feed.Explain(Question{Service: point.Service, Port: 80, Host: "any"}), "shop/web:80 [127.0.0.1")
	}
	await := func(what string, ok func() bool) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("waited in vain for " + what)
			}
		}
	}
	if served() {
		t.Error("it is served before the source said so")
	}
	on = true
	changed <- struct{}{}
	await("the entry", served)
	await("the file", func() bool {
		text, err := os.ReadFile(l.cfg.File)
		return err == nil && strings.Contains(string(text), `{"gateways":"kept"}`)
	})
	if l.stop(); seen["web"] != 1 {
		t.Errorf("it was shown %v", seen)
	}
	on, l.cfg.Sources[0].Ready = false, make(chan struct{})
	l.make()
	if !l.feed.Restore() || !served() || restored != "kept" {
		t.Errorf("restored %q, served %v", restored, served())
	}
}

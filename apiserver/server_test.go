package apiserver_test

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/apiserver"
	"fairlead.dev/fairlead/internal/apitest"
	"fairlead.dev/fairlead/pki"
)

func clientOf(t *testing.T, config *rest.Config) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// eventually waits until ok is true, for at most ten seconds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("still not after 10 s: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func configMap(name string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string]string{"k": name}}
}

func TestRestartKeepsData(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, stop := apitest.Run(t, cfg)
	if _, err := clientOf(t, server.ClientConfig()).CoreV1().ConfigMaps("default").Create(t.Context(), configMap("kept"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	stop()
	server, _ = apitest.Run(t, cfg)
	got, err := clientOf(t, server.ClientConfig()).CoreV1().ConfigMaps("default").Get(t.Context(), "kept", metav1.GetOptions{})
	if err != nil || got.Data["k"] != "kept" {
		t.Fatalf("after a restart: %v, %v", got.Data, err)
	}
}

func TestPortTaken(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	taken, err := net.Listen("tcp", cfg.Bind.String())
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	server, err := apiserver.New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	err = server.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "is taken by another process") {
		t.Errorf("error %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	for name, spoil := range map[string]func(*apiserver.Config){
		"an address nobody can reach":            func(c *apiserver.Config) { c.Advertise = netip.IPv4Unspecified() },
		"a DNS address out of the Service range": func(c *apiserver.Config) { c.ClusterDNS = []netip.Addr{netip.MustParseAddr("192.0.2.1")} },
		"no authority":                           func(c *apiserver.Config) { c.CA = nil },
		"nowhere to keep data":                   func(c *apiserver.Config) { c.DataDir = "" },
		"nowhere to serve":                       func(c *apiserver.Config) { c.Bind = netip.AddrPort{} },
	} {
		cfg := apitest.Config(t, t.TempDir())
		spoil(&cfg)
		if _, err := apiserver.New(cfg, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestBrokenStoreEndsTheServer(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	_, _ = apitest.Run(t, cfg)
	second := cfg
	second.Bind = apitest.Config(t, t.TempDir()).Bind
	server, err := apiserver.New(second, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := server.Run(ctx); err == nil || !strings.Contains(err.Error(), "used by another server") {
		t.Errorf("a second server over the same directory: %v", err)
	}
}

func TestBootstrapObjects(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, _ := apitest.Run(t, cfg)
	client, ctx := clientOf(t, server.ClientConfig()), t.Context()
	for _, name := range []string{"default", "kube-system", "kube-public", "kube-node-lease"} {
		if _, err := client.CoreV1().Namespaces().Get(ctx, name, metav1.GetOptions{}); err != nil {
			t.Error(err)
		}
	}
	dns, err := client.CoreV1().Services("kube-system").Get(ctx, "kube-dns", metav1.GetOptions{})
	if err != nil || dns.Spec.ClusterIP != "10.96.0.10" || len(dns.Spec.Ports) != 2 || dns.Labels["k8s-app"] != "kube-dns" {
		t.Errorf("kube-dns: %v, %v", dns, err)
	}
	slice, err := client.DiscoveryV1().EndpointSlices("default").Get(ctx, "kubernetes", metav1.GetOptions{})
	if err != nil || slice.Endpoints[0].Addresses[0] != "127.0.0.1" || *slice.Ports[0].Port != int32(cfg.Bind.Port()) {
		t.Errorf("endpoint slice: %v, %v", slice, err)
	}
}

func TestBootstrapObjectsComeBack(t *testing.T) {
	client, ctx := clientOf(t, apitest.Start(t)), t.Context()
	first, err := client.CoreV1().Services("default").Get(ctx, "kubernetes", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.CoreV1().Services("default").Delete(ctx, "kubernetes", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the kubernetes Service is made again", func() bool {
		again, err := client.CoreV1().Services("default").Get(ctx, "kubernetes", metav1.GetOptions{})
		return err == nil && again.UID != first.UID && again.Spec.ClusterIP == "10.96.0.1"
	})
	slice, err := client.DiscoveryV1().EndpointSlices("default").Get(ctx, "kubernetes", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	slice.Endpoints = nil
	if _, err := client.DiscoveryV1().EndpointSlices("default").Update(ctx, slice, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its endpoint is written again", func() bool {
		got, err := client.DiscoveryV1().EndpointSlices("default").Get(ctx, "kubernetes", metav1.GetOptions{})
		return err == nil && len(got.Endpoints) == 1
	})
}

// as is the configuration of a user with a client certificate.
func as(t *testing.T, cfg apiserver.Config, name string, groups ...string) *rest.Config {
	t.Helper()
	cert, key, err := cfg.CA.Issue(pki.Request{CommonName: name, Organizations: groups, Client: true})
	if err != nil {
		t.Fatal(err)
	}
	return &rest.Config{Host: "https://" + cfg.Bind.String(), TLSClientConfig: rest.TLSClientConfig{CAData: cfg.CA.CertPEM(), CertData: cert, KeyData: key}}
}

// TestStopAtAnyMoment ends servers in every stage of their start: each must end in order, and leave a data
// directory the next one can use.
func TestStopAtAnyMoment(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	for after := time.Duration(0); after < 200*time.Millisecond; after += 10 * time.Millisecond {
		server, err := apiserver.New(cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), after)
		ended := make(chan error, 1)
		go func() { ended <- server.Run(ctx) }()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("stopped after %v: %v", after, err)
			}
		case <-time.After(30 * time.Second):
			t.Fatalf("stopped after %v: still running", after)
		}
		cancel()
	}
	apitest.Run(t, cfg)
}

// externalEtcd is an etcd of its own, and where it listens.
func externalEtcd(t *testing.T) (etcd *embed.Etcd, at string) {
	t.Helper()
	socket := url.URL{Scheme: "unix", Path: filepath.Join(t.TempDir(), "etcd.sock")}
	own := embed.NewConfig()
	own.Dir, own.LogLevel = t.TempDir(), "panic"
	own.ListenPeerUrls, own.ListenClientUrls, own.AdvertiseClientUrls = nil, []url.URL{socket}, []url.URL{socket}
	external, err := embed.StartEtcd(own)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(external.Close)
	return external, socket.String()
}

func TestExternalEtcd(t *testing.T) {
	_, at := externalEtcd(t)
	cfg := apitest.Config(t, t.TempDir())
	cfg.EtcdServers = []string{at}
	server, _ := apitest.Run(t, cfg)
	if _, err := clientOf(t, server.ClientConfig()).CoreV1().ConfigMaps("default").Create(t.Context(), configMap("a"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	svc, err := clientOf(t, server.ClientConfig()).CoreV1().Services("default").Create(t.Context(),
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "a"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ip, err := clientOf(t, server.ClientConfig()).NetworkingV1().IPAddresses().Get(t.Context(), svc.Spec.ClusterIP, metav1.GetOptions{})
	if err != nil || ip.ResourceVersion != svc.ResourceVersion || ip.Spec.ParentRef.Name != "a" {
		t.Errorf("not written in one transaction with its Service: %v, %v", ip, err)
	}
	role, err := clientOf(t, server.ClientConfig()).RbacV1().ClusterRoles().Get(t.Context(), "view", metav1.GetOptions{})
	if err != nil || len(role.ManagedFields) > 0 {
		t.Errorf("the policy was not written in transactions: %v, %v", role, err)
	}
	if _, err := os.Stat(filepath.Join(cfg.DataDir, "etcd")); !os.IsNotExist(err) {
		t.Errorf("an embedded store was opened beside the external one: %v", err)
	}
}

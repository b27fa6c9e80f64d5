package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"

	"fairlead.dev/fairlead/internal/netlab"
)

// TestP94_P95_ProxyAlone is the life of the proxy in place of kube-proxy: it waits for an API server, serves packets, goes on without
// the API server, leaves its rules behind, takes them over, and removes them when asked to.
func TestP94_P95_ProxyAlone(t *testing.T) {
	f := newFar(t)
	f.grant(proxyRights(t)...)
	podA, podB, gateway := netip.MustParseAddr("10.244.1.2"), netip.MustParseAddr("10.244.1.3"), netip.MustParseAddr("10.244.1.1")
	a, b := netlab.Pod(f.space, "a", podA, gateway), netlab.Pod(f.space, "b", podB, gateway)
	b.Serve(netip.AddrPortFrom(podB, 8080), "b")
	f.space.Address(netip.MustParsePrefix("192.0.2.1/32"))
	reaches := func(ip string) {
		t.Helper()
		f.eventually("a pod reaches "+ip, func() bool {
			answer, err := a.TCP(netip.Addr{}, port80(ip), time.Second)
			return err == nil && answer == netlab.Answer{Name: "b", Client: podA}
		})
	}
	first := f.service("first", podB.String())
	flags := []string{"proxy", "--kubeconfig", f.kubeconfig, "--node-name", "n1"}
	p := f.start(flags...) // before there is a way to the API server, and before the node is known
	f.open()
	f.node("192.0.2.1")
	reaches(first)

	f.eventually("healthz", func() bool { code, _ := f.page("http://192.0.2.1:10256/healthz"); return code == 200 })
	if code, text := f.page("http://127.0.0.1:10249/proxyMode"); code != 200 || text != "nftables" { // rule P94
		t.Errorf("proxyMode: %d %q", code, text)
	}
	if code, text := f.page("http://127.0.0.1:10249/healthz"); code != 200 || text != "ok" {
		t.Errorf("healthz beside metrics: %d %q", code, text)
	}
	code, metrics := f.page("http://127.0.0.1:10249/metrics")
	if code != 200 {
		t.Errorf("metrics: %d", code)
	}
	has(t, metrics, "\nprocess_resident_memory_bytes ", "\nkubeproxy_sync_proxy_rules_duration_seconds_count ",
		`fairlead_endpoint_connections_total{endpoint="10.244.1.3:8080",namespace="default",port="",service="first"} `, "\nkubeproxy_proxy_healthz_total{code=\"200\"} ")

	f.cut()
	second := f.service("second", podB.String())
	reaches(first) // while the API server is away
	f.open()
	reaches(second) // without a restart

	p.stop()
	reaches(first) // rules outlive their proxy
	p = f.start(flags...)
	third := f.service("third", podB.String())
	reaches(third)
	if out, err := f.start("proxy", "--cleanup").end(); err == nil || !strings.Contains(out, "is the proxy still running?") {
		t.Errorf("cleanup beside a running proxy: %v %s", err, out)
	}
	p.stop()
	if out, err := f.start("proxy", "--cleanup").end(); err != nil || out != "All rules are removed.\n" {
		t.Errorf("cleanup: %v %q", err, out)
	}
	if out, err := f.space.Command("nft", "list", "ruleset"); err != nil || out != "" {
		t.Errorf("what cleanup left: %v\n%s", err, out)
	}
	if out, err := f.start("proxy", "--cleanup").end(); err != nil {
		t.Errorf("cleanup where there is nothing: %v %q", err, out)
	}
}

// TestProxyRefusesRivals: two proxies on one host translate the same packets.
func TestProxyRefusesRivals(t *testing.T) {
	f := newFar(t)
	f.grant(proxyRights(t)...)
	if out, err := f.space.Command("nft", "add table ip kube-proxy"); err != nil {
		t.Fatal(err, out)
	}
	out, err := f.start("proxy", "--kubeconfig", f.kubeconfig).end()
	if err == nil {
		t.Error("it runs beside kube-proxy")
	}
	has(t, out, "fairlead: another service proxy has rules here: nftables table ip kube-proxy", "kube-proxy --cleanup")
	if out, err := f.space.Command("nft", "list", "tables"); err != nil || out != "table ip kube-proxy\n" {
		t.Errorf("tables: %v %s", err, out)
	}
}

// TestCheckAndUpTellOfRivals: a check and a start name another service proxy on the host, and only warn.
func TestCheckAndUpTellOfRivals(t *testing.T) {
	f := newFar(t)
	f.grant(proxyRights(t)...)
	if out, err := f.space.Command("nft", "add table ip kube-proxy"); err != nil {
		t.Fatal(err, out)
	}
	f.space.Route("10.77.0.0/16", "dev", "lo") // what a start fails of, after the warning
	out, _ := f.start("check").end()
	has(t, out, "warn  other service proxies", "nftables table ip kube-proxy", "kube-proxy --cleanup", "pass  rules for IPv4 Services")
	out, err := f.start("up", "--pod-cidr", "10.77.0.0/16", "--data-dir", t.TempDir()+"/cluster").end()
	if err == nil {
		t.Error("up: it runs where its pods' addresses lead elsewhere")
	}
	has(t, out, "fairlead: warning: other service proxies: nftables table ip kube-proxy", "fairlead: addresses of pods")
}

// TestProxyEndsWhenItsAddressChanges: everything was made for the old one, and whoever started it starts it again.
func TestProxyEndsWhenItsAddressChanges(t *testing.T) {
	f := newFar(t)
	f.grant(proxyRights(t)...)
	f.open()
	f.node("192.0.2.1")
	p := f.start("proxy", "--kubeconfig", f.kubeconfig, "--node-name", "n1")
	f.eventually("the first write", func() bool {
		code, _ := f.page("http://127.0.0.1:10256/livez")
		return code == 200
	})
	nodes := f.client.CoreV1().Nodes()
	n, err := nodes.Get(t.Context(), "n1", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n.Status.Addresses[1].Address = "192.0.2.7"
	if _, err := nodes.UpdateStatus(t.Context(), n, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	out, err := p.end()
	if err == nil {
		t.Error("it ended as if all were well")
	}
	has(t, out, "the addresses of node n1 changed from [192.0.2.1] to [192.0.2.7]")
}

func TestProxyFlags(t *testing.T) {
	good := proxyFlags{metrics: "127.0.0.1:10249"}
	for name, c := range map[string]struct {
		change func(*proxyFlags)
		want   string // part of the error; empty: none
	}{
		"defaults":          {func(*proxyFlags) {}, ""},
		"both families":     {func(f *proxyFlags) { f.nodeIPs = []string{"192.0.2.1", "fd00::1"} }, ""},
		"one family twice":  {func(f *proxyFlags) { f.nodeIPs = []string{"192.0.2.1", "192.0.2.2"} }, "node-ip: 192.0.2.1 and 192.0.2.2 are of one family"},
		"no address":        {func(f *proxyFlags) { f.nodeIPs = []string{"n1"} }, `node-ip: ParseAddr("n1")`},
		"no range":          {func(f *proxyFlags) { f.clusterCIDRs = []string{"10.0.0.0"} }, `cluster-cidr: netip.ParsePrefix("10.0.0.0")`},
		"no range, neither": {func(f *proxyFlags) { f.serviceCIDRs = []string{"x/8"} }, "service-cidr: "},
		"port alone":        {func(f *proxyFlags) { f.healthz = ":10256" }, `healthz-bind-address ":10256": must be ADDRESS:PORT`},
		"nothing":           {func(f *proxyFlags) { f.metrics = "" }, `metrics-bind-address "": must be ADDRESS:PORT`},
	} {
		f := good
		c.change(&f)
		_, err := f.check()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestProxyManifest: what people apply to their clusters has no misspelt field, flag or right.
func TestProxyManifest(t *testing.T) {
	file, err := os.Open("../../docs/manifests/fairlead-proxy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	decode := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	documents := yaml.NewYAMLReader(bufio.NewReader(file))
	var rights []string
	for {
		text, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		object, _, err := decode.Decode(text, nil, nil)
		if err != nil {
			t.Fatalf("%v in\n%s", err, text)
		}
		switch o := object.(type) {
		case *rbacv1.ClusterRole:
			for _, r := range o.Rules {
				rights = append(rights, fmt.Sprint(r.APIGroups, r.Resources, r.Verbs))
			}
		case *appsv1.DaemonSet:
			c := proxyCommand()
			command := o.Spec.Template.Spec.Containers[0].Command
			if err := c.ParseFlags(command[2:]); err != nil || command[1] != c.Name() {
				t.Errorf("command %q: %v", command, err)
			}
		}
	}
	const want = "[[] [services nodes] [list watch] [discovery.k8s.io] [endpointslices] [list watch] [networking.k8s.io] [servicecidrs] [get] [] [events] [create patch]]"
	if got := fmt.Sprint(rights); got != want {
		t.Errorf("rights\n%s\nwant\n%s", got, want)
	}
}

// TestProxyAloneInBothFamilies reaches a Service by both of its addresses.
func TestProxyAloneInBothFamilies(t *testing.T) {
	f := newFar(t, "10.96.0.0/12", "fd00:10:96::/112")
	f.grant(proxyRights(t)...)
	f.open()
	var pods []string
	for _, c := range []struct{ pod, gateway, node string }{
		{"10.244.1.3", "10.244.1.1", "192.0.2.1/32"}, {"fd00:10:244:1::3", "fd00:10:244:1::1", "2001:db8::1/128"},
	} {
		at := netip.MustParseAddr(c.pod)
		netlab.Pod(f.space, "b", at, netip.MustParseAddr(c.gateway)).Serve(netip.AddrPortFrom(at, 8080), "b")
		f.space.Address(netip.MustParsePrefix(c.node))
		pods = append(pods, c.pod)
	}
	f.space.Route("10.96.0.0/12", "dev", "lo") // a node finds a way to a Service's address before it is translated
	f.space.Route("fd00:10:96::/112", "dev", "lo")
	f.node("192.0.2.1", "2001:db8::1")
	f.service("web", pods...)
	f.start("proxy", "--kubeconfig", f.kubeconfig, "--node-name", "n1")
	svc, err := f.client.CoreV1().Services("default").Get(t.Context(), "web", metav1.GetOptions{})
	if err != nil || len(svc.Spec.ClusterIPs) != 2 {
		t.Fatalf("addresses %v, %v", svc.Spec.ClusterIPs, err)
	}
	for _, ip := range svc.Spec.ClusterIPs {
		f.eventually("the node reaches "+ip, func() bool {
			answer, err := f.space.TCP(netip.Addr{}, netip.AddrPortFrom(netip.MustParseAddr(ip), 80), time.Second)
			return err == nil && answer.Name == "b"
		})
	}
	f.eventually("healthz", func() bool { code, _ := f.page("http://[2001:db8::1]:10256/healthz"); return code == 200 })
}

package clients

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/internal/netlab"
	"fairlead.dev/fairlead/network/dns"
	"fairlead.dev/fairlead/network/world"
)

var (
	gateway = netip.MustParseAddr("10.244.1.1") // the node's end of the pod's link; our server is here
	podIP   = netip.MustParseAddr("10.244.1.2")
	pods    = []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16")}
)

func service(ns, name, ip string) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		Spec: corev1.ServiceSpec{ClusterIP: ip, Ports: []corev1.ServicePort{{Name: "http", Port: 80}}}}
}

func slice(ns, service string, addrs ...string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: service + "-1",
		Labels: map[string]string{discoveryv1.LabelServiceName: service}}, AddressType: discoveryv1.AddressTypeIPv4}
	for _, a := range addrs {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{a}})
	}
	return s
}

// cluster is a World with a few Services.
func cluster() *world.World {
	w := world.New()
	var many []string
	for i := range 200 {
		many = append(many, fmt.Sprintf("10.244.7.%d", i+1))
	}
	for _, ns := range []string{"default", "prod"} {
		w.Put(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}})
	}
	w.Put(service("default", "web", "10.96.0.20"))
	w.Put(service("default", "kubernetes", "10.96.0.1"))
	w.Put(service("prod", "db", "None"))
	w.Put(slice("prod", "db", many...))
	w.Put(service("prod", "one", "None"))
	w.Put(slice("prod", "one", "10.244.7.9"))
	alias := service("default", "alias", "")
	alias.Spec.Type, alias.Spec.ExternalName = corev1.ServiceTypeExternalName, "web.default.svc.cluster.local"
	w.Put(alias)
	w.MarkSynced()
	return w
}

// start runs a server on the node until the test ends.
func start(t testing.TB, node *netlab.Netns, cfg dns.Config, w *world.World) {
	t.Helper()
	cfg.Domain, cfg.Clients = "cluster.local", pods
	s := dns.New(cfg, w, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go node.Do(func() { done <- s.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	select {
	case <-s.Ready():
	case <-time.After(10 * time.Second):
		t.Fatal("the server is not ready")
	}
}

// TestDig: what dig makes of the answers, over UDP and TCP.
func TestDig(t *testing.T) {
	node := netlab.New(t, "dig")
	pod := netlab.Pod(node, "dig-pod", podIP, gateway)
	start(t, node, dns.Config{Addrs: []netip.AddrPort{netip.AddrPortFrom(gateway, 53)}}, cluster())
	for _, c := range []struct{ args, want string }{
		{"web.default.svc.cluster.local", "status: NOERROR"},
		{"web.default.svc.cluster.local", "flags: qr aa rd ra;"},
		{"+short web.default.svc.cluster.local", "10.96.0.20\n"},
		{"+tcp +short web.default.svc.cluster.local", "10.96.0.20\n"},
		{"+tcp +keepopen +short web.default.svc.cluster.local alias.default.svc.cluster.local", "10.96.0.20\nweb.default.svc.cluster.local.\n10.96.0.20\n"},
		{"+short -x 10.96.0.20", "web.default.svc.cluster.local.\n"},
		{"+short _http._tcp.web.default.svc.cluster.local SRV", "0 100 80 web.default.svc.cluster.local.\n"},
		{"+short dns-version.cluster.local TXT", "\"1.1.0\"\n"},
		{"WeB.default.svc.cluster.LOCAL AAAA", "ANSWER: 0, AUTHORITY: 1"},
		{"absent.default.svc.cluster.local", "status: NXDOMAIN"},
		{"+edns=1 +noednsneg web.default.svc.cluster.local", "status: BADVERS"},
		{"+dnssec web.default.svc.cluster.local", "flags: do; udp: 1232"},
		{"+noedns web.default.svc.cluster.local", "ADDITIONAL: 0"},
		{"+bufsize=512 +ignore db.prod.svc.cluster.local", "flags: qr aa tc rd ra"},
		{"db.prod.svc.cluster.local", "ANSWER: 200,"}, // asked again over TCP
		{"+short +search +domain=default.svc.cluster.local web", "10.96.0.20\n"},
		{"CHAOS TXT version.bind", "status: REFUSED"},
		{"AXFR cluster.local", "Transfer failed."},
		{"IXFR=1 cluster.local", "Transfer failed."},
		{"ANY www.example.com", "RFC8482"},
		{"www.example.com", "status: SERVFAIL"}, // there are no upstream servers
		{"+noedns +opcode=UPDATE cluster.local SOA", "status: NOTIMP"},
	} {
		out, err := pod.Command("dig", append([]string{"+time=2", "+tries=1", "@" + gateway.String()}, strings.Fields(c.args)...)...)
		out = strings.ReplaceAll(out, "WARNING: .local is reserved", "")
		if !strings.Contains(out, c.want) || strings.Contains(out, "WARNING") || strings.Contains(out, "malformed") {
			t.Errorf("dig %s: want %q, got %v\n%.1000s", c.args, c.want, err, out)
		}
	}
}

// TestN58_CLibrary: short, partial and full names as the C library's resolver looks them up with a pod's resolv.conf:
// by the search list, both families at once from one socket, over TCP when an answer is long.
func TestN58_CLibrary(t *testing.T) {
	node := netlab.New(t, "libc")
	pod := netlab.Pod(node, "libc-pod", podIP, gateway)
	start(t, node, dns.Config{Addrs: []netip.AddrPort{netip.AddrPortFrom(gateway, 53)}}, cluster())
	dir := t.TempDir()
	for name, text := range map[string]string{
		"resolv.conf":   "search default.svc.cluster.local svc.cluster.local cluster.local\nnameserver " + gateway.String() + "\noptions ndots:5\n",
		"nsswitch.conf": "hosts: dns\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	getent := func(args string) string {
		out, err := pod.Command("unshare", "--mount", "sh", "-c", fmt.Sprintf("mount --bind %s/resolv.conf /etc/resolv.conf && mount --bind %[1]s/nsswitch.conf /etc/nsswitch.conf && getent %s", dir, args))
		if err != nil {
			return fmt.Sprintf("%v %s", err, out)
		}
		return out
	}
	for args, want := range map[string]string{
		"ahosts web": "10.96.0.20", "ahosts web.default": "10.96.0.20", "ahosts web.default.svc": "10.96.0.20",
		"ahosts web.default.svc.cluster.local": "10.96.0.20", "ahosts web.default.svc.cluster.local.": "10.96.0.20",
		"ahosts kubernetes": "10.96.0.1", "ahosts kubernetes.default": "10.96.0.1", "ahosts kubernetes.default.svc": "10.96.0.1",
		"ahosts one.prod": "10.244.7.9", "ahosts 10-244-7-9.one.prod": "10.244.7.9", "ahosts alias": "10.96.0.20",
		"ahosts db.prod": "10.244.7.199", "hosts 10.96.0.20": "web.default.svc.cluster.local",
		"ahosts absent": "exit status 2", "ahosts one": "exit status 2",
	} {
		if out := getent(args); !strings.Contains(out, want) {
			t.Errorf("getent %s: %.300s, want %s", args, out, want)
		}
	}
}

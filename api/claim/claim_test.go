package claim

import (
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

func known() Cluster {
	return Cluster{
		Pods: prefixes("10.244.0.0/16", "fd00:10:244::/56"), Services: prefixes("10.96.0.0/12", "fd00:10:96::/112"),
		API: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Names: []string{"kubernetes.default", "cp-host"}, Domain: "cluster.local", Own: "cp",
	}
}

func node(name string, addrs ...string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	for _, a := range addrs {
		n.Status.Addresses = append(n.Status.Addresses, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: a})
	}
	return n
}

func TestNames(t *testing.T) {
	for name, want := range map[string]string{
		"n1": "", "worker-1.example.com": "", "kubernetes-worker": "", "svc-1": "", "a.svc.example.com": "",
		"": "node name", "N1": "lowercase", "../etc": "node name", "system:admin": "node name", "a/b": "node name", "a_b": "node name", "n1.": "node name",
		"10.0.0.1": "is an address", "cp": "control plane's own", "cp-host": "the cluster itself",
		"kubernetes": "the cluster itself", "kubernetes.default": "the cluster itself", "kubernetes.default.svc": "the cluster itself",
		"kubernetes.default.svc.cluster.local": "the cluster itself", "kube-dns.kube-system.svc": "the cluster itself", "x.cluster.local": "the cluster itself",
		"cluster.local": "the cluster itself", "localhost": "the cluster itself", "localhost.localdomain": "the cluster itself", "a.localhost": "the cluster itself", "svc": "the cluster itself",
	} {
		judged(t, name, known().Name(name), want)
	}
}

func TestAddresses(t *testing.T) {
	others := []*corev1.Node{node("n1", "192.0.2.9"), node("n2", "192.0.2.10", "2001:db8::10")}
	for addr, want := range map[string]string{
		"192.0.2.9": "", "192.0.2.11": "", "2001:db8::11": "", "10.0.0.1": "", "fd12::1": "",
		"127.0.0.1": "loopback", "127.1.2.3": "loopback", "::1": "loopback", "::ffff:127.0.0.1": "loopback", "0.0.0.0": "unspecified", "::": "unspecified",
		"224.0.0.1": "multicast", "ff02::1": "multicast", "169.254.169.254": "link-local", "fe80::1": "link-local", "255.255.255.255": "broadcast",
		"fe80::1%eth0": "zone", "10.96.0.1": "range of the cluster", "10.96.0.10": "range of the cluster", "10.111.255.255": "range of the cluster",
		"10.244.3.7": "range of the cluster", "fd00:10:96::1": "range of the cluster", "::ffff:10.96.0.1": "range of the cluster",
		"192.0.2.1": "the API server's", "::ffff:192.0.2.1": "the API server's", "192.0.2.10": "node n2's", "2001:db8::10": "node n2's",
	} {
		judged(t, addr, known().Addresses("n1", []netip.Addr{netip.MustParseAddr(addr)}, others), want)
	}
	judged(t, "nothing", known().Addresses("n1", []netip.Addr{{}}, nil), "missing")
	judged(t, "the control plane's own node", known().Addresses("cp", []netip.Addr{netip.MustParseAddr("192.0.2.1")}, others), "")
}

func TestStatus(t *testing.T) {
	for name, tt := range map[string]struct {
		kind    corev1.NodeAddressType
		address string
		want    string
	}{
		"own name":           {corev1.NodeHostName, "n1", ""},
		"another's name":     {corev1.NodeHostName, "n2", "not the node's name"},
		"a name of the API":  {corev1.NodeInternalDNS, "kubernetes.default.svc", "not the node's name"},
		"an address":         {corev1.NodeInternalIP, "192.0.2.9", ""},
		"a loopback address": {corev1.NodeInternalIP, "127.0.0.1", "loopback"},
		"an outer one":       {corev1.NodeExternalIP, "10.96.0.1", "range of the cluster"},
		"garbage":            {corev1.NodeInternalIP, "not-an-ip", "not an IP address"},
		"a name as address":  {corev1.NodeInternalIP, "localhost", "not an IP address"},
		"an odd spelling":    {corev1.NodeInternalIP, "2001:DB8::0001", "not an IP address"},
		"a mapped one":       {corev1.NodeInternalIP, "::ffff:192.0.2.9", "not an IP address"},
		"an unknown type":    {"Other", "192.0.2.9", "unknown"},
	} {
		judged(t, name, known().Status("n1", []corev1.NodeAddress{{Type: tt.kind, Address: tt.address}}, []*corev1.Node{node("n2", "192.0.2.10")}), tt.want)
	}
}

// judged compares an error with a part of the one that is wanted, "" for none.
func judged(t *testing.T, what string, err error, want string) {
	t.Helper()
	if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("%s: %v, want %q", what, err, want)
	}
}

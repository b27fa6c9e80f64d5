package guard

import (
	"fmt"
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/internal/netlab"
	"fairlead.dev/fairlead/network/nft/netfilter"
	"fairlead.dev/fairlead/network/policy"
	"fairlead.dev/fairlead/network/policy/policytest"
)

func TestMain(m *testing.M) { netlab.Main(m, nil) }

// here and all are how many pods there are on the node, and in the cluster; what comes behind them is outside.
const here, all = 4, 6

// lab is a node with pods, behind which others are on another node, and one host outside of the cluster. Each serves ports 79 to 83.
type lab struct {
	t       testing.TB
	node    *netlab.Netns
	hosts   []*netlab.Netns // pods, then outside
	objects policy.Objects
	deriver *policy.Deriver
	tables  *tables
	cutter  *cutter
	rows    *policy.Rows
}

func newLab(t testing.TB) *lab {
	l := &lab{t: t, node: netlab.New(t, "here"), deriver: policy.New("here")}
	gateways := []netip.Addr{netip.MustParseAddr("10.0.0.250"), netip.MustParseAddr("fd00::fa")}
	for n := range all + 1 {
		host := netlab.Leaf(l.node, fmt.Sprint("h", n), []netip.Addr{policytest.IPv4(n), policytest.IPv6(n)}, gateways)
		for _, a := range []netip.Addr{policytest.IPv4(n), policytest.IPv6(n)} {
			for port := uint16(79); port <= 83; port++ {
				host.Serve(netip.AddrPortFrom(a, port), fmt.Sprint("h", n))
			}
		}
		l.hosts = append(l.hosts, host)
	}
	l.node.Do(func() {
		s, err := netfilter.Dial()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		l.tables = newTables(s)
		if l.cutter, err = newCutter(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(l.cutter.close)
	})
	return l
}

func (l *lab) put(obj metav1.Object) {
	switch o := obj.(type) {
	case *corev1.Pod:
		l.objects.Pods = append(l.objects.Pods, o)
		l.deriver.SetPod(o)
	case *corev1.Namespace:
		l.objects.Namespaces = append(l.objects.Namespaces, o)
		l.deriver.SetNamespace(o.Name, o.Labels)
	case *networkingv1.NetworkPolicy:
		l.objects.Policies = append(l.objects.Policies, o)
		if err := l.deriver.SetPolicy(o); err != nil {
			l.t.Fatal(err)
		}
	}
}

// clear deletes everything that was put.
func (l *lab) clear() {
	for _, o := range l.objects.Pods {
		l.deriver.DeletePod(name(o))
	}
	for _, o := range l.objects.Namespaces {
		l.deriver.DeleteNamespace(o.Name)
	}
	for _, o := range l.objects.Policies {
		l.deriver.DeletePolicy(name(o))
	}
	l.objects = policy.Objects{}
}

// write brings what was put into the kernel.
func (l *lab) write() {
	l.t.Helper()
	l.rows = l.deriver.Rows()
	var err error
	l.node.Do(func() { _, err = l.tables.write(l.rows) })
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) cut() int {
	l.t.Helper()
	n, err := l.cutter.cut(l.rows)
	if err != nil {
		l.t.Fatal(err)
	}
	return n
}

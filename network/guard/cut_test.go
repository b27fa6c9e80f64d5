package guard

import (
	"net"
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/internal/netlab"
	"fairlead.dev/fairlead/network/policy/policytest"
)

// A connection that a new policy forbids is cut, both ways, and one that it allows goes on; a UDP flow that is allowed again goes on.
func TestConnectionsAreCut(t *testing.T) {
	l := newLab(t)
	l.put(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "n"}})
	for n := range all {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: string(rune('a' + n)), Labels: map[string]string{"name": string(rune('a' + n))}}}
		pod.Spec.NodeName = "here"
		pod.Status.PodIPs = []corev1.PodIP{{IP: policytest.IPv4(n).String()}, {IP: policytest.IPv6(n).String()}}
		l.put(pod)
	}
	l.write()
	dial := func(network string, from int, to netip.Addr) net.Conn {
		c, err := l.hosts[from].Dial(network, netip.Addr{}, netip.AddrPortFrom(to, 80), 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := netlab.Ask(c, 5*time.Second); err != nil {
			t.Fatal(err)
		}
		return c
	}
	goesOn := func(c net.Conn, wait time.Duration) error {
		_, err := netlab.AskAgain(c, wait)
		return err
	}
	for _, to := range []netip.Addr{policytest.IPv4(0), policytest.IPv6(0)} {
		bad, badUDP, good := dial("tcp", 1, to), dial("udp", 1, to), dial("tcp", 2, to)
		only := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "only-c"}, Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"name": "a"}},
			Ingress:     []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"name": "c"}}}}}},
		}}
		l.put(only)
		l.write()
		if n := l.cut(); n < 2 {
			t.Errorf("%s: %d connections were cut, not both", to, n)
		}
		if err := goesOn(bad, 5*time.Second); err == nil {
			t.Errorf("%s: the connection that is forbidden goes on", to)
		}
		if err := goesOn(badUDP, time.Second); err == nil {
			t.Errorf("%s: the flow that is forbidden goes on", to)
		}
		if err := goesOn(good, 5*time.Second); err != nil {
			t.Errorf("%s: the connection that is allowed does not go on: %v", to, err)
		}
		l.deriver.DeletePolicy(name(only))
		l.write()
		l.cut()
		if err := goesOn(badUDP, 5*time.Second); err != nil {
			t.Errorf("%s: the flow that is allowed again does not go on: %v", to, err)
		}
	}
}

package world

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func rangesOf(name string, cidrs ...string) *networkingv1.ServiceCIDR {
	return &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: cidrs}}
}

func having(name string, ips ...string) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}, Spec: corev1.ServiceSpec{ClusterIPs: ips}}
}

// TestRangesAreFollowedWhenAServiceIsInOne: not before, once, and not on the word of a World that is not complete.
func TestRangesAreFollowedWhenAServiceIsInOne(t *testing.T) {
	known := []netip.Prefix{netip.MustParsePrefix("10.96.0.0/12"), netip.MustParsePrefix("fd00:10:96::/112")}
	w := New()
	found := make(chan struct{}, 10)
	w.Beyond(known, func() { found <- struct{}{} })
	w.Put(having("a", "10.96.0.7", "fd00:10:96::7"))
	w.Put(having("headless", corev1.ClusterIPNone))
	w.Put(having("none"))
	if w.outside == nil {
		t.Fatal("found something among the known ranges")
	}
	w.Put(having("b", "10.200.0.7"))
	w.Put(having("c", "10.200.0.8"))
	select {
	case <-found:
		t.Fatal("told before the World was complete")
	default:
	}
	w.MarkSynced()
	select {
	case <-found:
	case <-time.After(time.Minute):
		t.Fatal("not told")
	}
	client := fake.NewClientset(rangesOf("kubernetes", "10.96.0.0/12", "fd00:10:96::/112"), rangesOf("later", "10.200.0.0/24"), rangesOf("part", "10.100.0.0/16"), rangesOf("again", "10.200.0.0/24", "fd00:200::/120"))
	s := w.Subscribe(ServiceCIDRs)
	defer s.Close()
	go func() { _ = w.Follow(t.Context(), client, ServiceCIDRs) }()
	want := []netip.Prefix{netip.MustParsePrefix("10.200.0.0/24"), netip.MustParsePrefix("fd00:200::/120")}
	for !slices.Equal(w.FurtherRanges(known), want) {
		if _, err := s.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(found) > 0 {
		t.Error("told twice")
	}
}

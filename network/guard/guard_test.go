package guard

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"fairlead.dev/fairlead/internal/apitest"
	"fairlead.dev/fairlead/network/policy/policytest"
	"fairlead.dev/fairlead/network/policy/table"
	"fairlead.dev/fairlead/network/world"
)

// running is a Guard on the lab's node that reads a real API server.
type running struct {
	*Guard
	lab  *lab
	stop func()
}

func following(config *rest.Config) Follow {
	client := kubernetes.NewForConfigOrDie(config)
	return func(ctx context.Context, w *world.World, wanted ...world.Kind) error {
		return w.Follow(ctx, client, wanted...)
	}
}

func (l *lab) run(config *rest.Config) *running {
	l.t.Helper()
	r := &running{lab: l, Guard: New(Config{NodeName: "here"}, following(config), slog.New(slog.NewTextHandler(l.t.Output(), nil)))}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go l.node.Do(func() { ended <- r.Run(ctx) })
	stopped := false
	r.stop = func() {
		if cancel(); !stopped {
			stopped = true
			if err := <-ended; err != nil {
				l.t.Error(err)
			}
		}
	}
	l.t.Cleanup(r.stop)
	return r
}

// connects tries a connection from one host to a pod.
func (l *lab) connects(from int, to netip.Addr) bool {
	_, err := l.hosts[from].TCP(netip.Addr{}, netip.AddrPortFrom(to, 80), 5*time.Second)
	return err == nil
}

func (l *lab) tables4() string {
	out, err := l.node.Command("nft", "list", "table", "ip", table.Name)
	if err != nil {
		return ""
	}
	return out
}

// A pod is admitted when its policies are in the kernel, by its sandbox's address, and stays behind them until nothing of it runs,
// whatever the API says; rules outlive the Guard, and go with the last policy.
func TestAdmit(t *testing.T) {
	l := newLab(t)
	config := apitest.Start(t)
	client := kubernetes.NewForConfigOrDie(config)
	r := l.run(config)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "a", Labels: map[string]string{"app": "a"}},
		Spec: corev1.PodSpec{NodeName: "here", Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
	pod, err := client.CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	addr, addrs := policytest.IPv4(0), []netip.Addr{policytest.IPv4(0), policytest.IPv6(0)}
	if err := r.Admit(t.Context(), pod, addrs); err != nil {
		t.Fatalf("without policies: %v", err)
	}
	if !l.connects(1, addr) || l.tables4() != "" {
		t.Fatal("there are rules without policies")
	}
	deny := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Name: "deny"}, Spec: networkingv1.NetworkPolicySpec{PolicyTypes: []networkingv1.PolicyType{"Ingress"}}}
	if _, err := client.NetworkingV1().NetworkPolicies("default").Create(t.Context(), deny, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	apitest.Eventually(t, func() string {
		if l.connects(1, addr) {
			return "the pod can be reached"
		}
		return ""
	})
	if err := r.Admit(t.Context(), pod, addrs); err != nil {
		t.Fatal(err)
	}
	now := int64(0)
	if err := client.CoreV1().Pods("default").Delete(t.Context(), "a", metav1.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		t.Fatal(err)
	}
	later := pod.DeepCopy()
	later.Name, later.UID = "b", "later"
	if err := r.Admit(t.Context(), later, []netip.Addr{policytest.IPv4(2)}); err != nil { // the API does not know of it yet
		t.Fatal(err)
	}
	if l.connects(1, addr) || l.connects(1, policytest.IPv4(2)) {
		t.Error("a pod that still runs, or already does, can be reached")
	}
	r.stop()
	if l.connects(1, addr) {
		t.Error("a pod can be reached when the guard is dead")
	}
	r = l.run(config)
	if err := r.Admit(t.Context(), later, []netip.Addr{policytest.IPv4(2)}); err != nil {
		t.Fatal(err)
	}
	if list := l.tables4(); !strings.Contains(list, policytest.IPv4(2).String()) || strings.Contains(list, addr.String()) {
		t.Errorf("the next guard wrote %s", list)
	}
	r.Release("later")
	apitest.Eventually(t, func() string {
		if strings.Contains(l.tables4(), policytest.IPv4(2).String()) {
			return "a pod of which nothing runs is still selected"
		}
		return ""
	})
	if err := client.NetworkingV1().NetworkPolicies("default").Delete(t.Context(), "deny", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	apitest.Eventually(t, l.tables4)
}

package policy_test

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/network/policy"
)

// crowd is a node's part of a cluster: pods in namespaces of forty, a hundred of which are this node's; to each app of each namespace
// its own app and one of the namespace before it may connect.
func crowd(b *testing.B, pods, policies int) (*policy.Deriver, func(int) *corev1.Pod, func(int) *networkingv1.NetworkPolicy) {
	b.Helper()
	const perNamespace, apps = 40, 10
	pod := func(n int) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: fmt.Sprint("n", n/perNamespace), Name: fmt.Sprint("p", n), Labels: map[string]string{"app": fmt.Sprint(n % apps)}}}
		p.Spec.NodeName = "there"
		if n%(pods/100) == 0 {
			p.Spec.NodeName = "here"
		}
		p.Status.PodIPs = []corev1.PodIP{{IP: fmt.Sprintf("10.%d.%d.%d", n>>16, n>>8&255, n&255)}}
		return p
	}
	rule := func(n int) *networkingv1.NetworkPolicy {
		ns := n / apps % (pods / perNamespace)
		return &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: fmt.Sprint("n", ns), Name: fmt.Sprint("np", n)}, Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: map[string]string{"app": fmt.Sprint(n % apps)}},
			Ingress: []networkingv1.NetworkPolicyIngressRule{{From: []networkingv1.NetworkPolicyPeer{
				{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": fmt.Sprint(n % apps)}}},
				{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": fmt.Sprint((n + 1) % apps)}},
					NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"name": fmt.Sprint("n", ns-1)}}},
			}, Ports: []networkingv1.NetworkPolicyPort{{Port: ptr.To(intstr.FromInt32(int32(8000 + n%7)))}}}},
		}}
	}
	d := policy.New("here")
	for n := range pods / perNamespace {
		d.SetNamespace(fmt.Sprint("n", n), map[string]string{"name": fmt.Sprint("n", n)})
	}
	for n := range pods {
		d.SetPod(pod(n))
	}
	for n := range policies {
		if err := d.SetPolicy(rule(n)); err != nil {
			b.Fatal(err)
		}
	}
	return d, pod, rule
}

var sizes = []struct{ pods, policies int }{{2_000, 10}, {2_000, 1_000}, {20_000, 10_000}}

// BenchmarkRowsAtOnce is a start: everything is known and nothing derived yet.
func BenchmarkRowsAtOnce(b *testing.B) {
	for _, s := range sizes {
		b.Run(fmt.Sprint(s.pods, "pods/", s.policies, "policies"), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				d, _, _ := crowd(b, s.pods, s.policies)
				b.StartTimer()
				rows := d.Rows()
				b.ReportMetric(float64(rows.Peers.Len()+rows.Some[0].Len()), "rows")
			}
		})
	}
}

// BenchmarkPodChanges is a pod of another node that gets other labels.
func BenchmarkPodChanges(b *testing.B) {
	for _, s := range sizes {
		b.Run(fmt.Sprint(s.pods, "pods/", s.policies, "policies"), func(b *testing.B) {
			d, pod, _ := crowd(b, s.pods, s.policies)
			d.Rows()
			for n := 0; b.Loop(); n++ {
				p := pod(1 + n%2)
				p.Labels["version"] = fmt.Sprint(n)
				d.SetPod(p)
				d.Rows().Peers.Take()
			}
		})
	}
}

// BenchmarkPolicyChanges is a policy that comes and goes.
func BenchmarkPolicyChanges(b *testing.B) {
	for _, s := range sizes {
		b.Run(fmt.Sprint(s.pods, "pods/", s.policies, "policies"), func(b *testing.B) {
			d, _, rule := crowd(b, s.pods, s.policies)
			d.Rows()
			for n := 0; b.Loop(); n++ {
				p := rule(0)
				p.Name = "new"
				p.Spec.Ingress[0].From[0].PodSelector.MatchLabels["version"] = fmt.Sprint(n)
				if err := d.SetPolicy(p); err != nil {
					b.Fatal(err)
				}
				d.Rows().Peers.Take()
			}
		})
	}
}

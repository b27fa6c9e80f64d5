// Package policytest makes pods, namespaces, policies and packets at random, of few names and addresses, so that they meet.
package policytest

import (
	"fmt"
	"math/rand/v2"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/network/lb"
	"fairlead.dev/fairlead/network/policy"
)

// Random makes objects and packets of few names and addresses, so that they meet.
type Random struct{ *rand.Rand }

// New returns a Random for a seed.
func New(seed uint64) Random { return Random{rand.New(rand.NewPCG(seed, 1))} }

// IPv4 and IPv6 are the addresses of the numbered pod, from 0; more are nobody's.
func IPv4(n int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, 0, byte(1 + n)}) }

// IPv6 is a pod's other address.
func IPv6(n int) netip.Addr { return netip.AddrFrom16([16]byte{0xfd, 15: byte(1 + n)}) }

// addresses is how many addresses there are of each family.
const addresses = 24

// Labels are some of few.
func (r Random) Labels() map[string]string {
	all := map[string]string{}
	for _, key := range []string{"app", "tier"} {
		if r.IntN(3) > 0 {
			all[key] = fmt.Sprint("v", r.IntN(3))
		}
	}
	return all
}

func (r Random) selector() *metav1.LabelSelector {
	switch r.IntN(4) {
	case 0:
		return &metav1.LabelSelector{}
	case 1:
		return &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "app",
			Operator: []metav1.LabelSelectorOperator{metav1.LabelSelectorOpIn, metav1.LabelSelectorOpNotIn}[r.IntN(2)], Values: []string{"v0", "v1"}[:1+r.IntN(2)]}}}
	}
	return &metav1.LabelSelector{MatchLabels: r.Labels()}
}

func (r Random) address() netip.Addr {
	if r.IntN(3) == 0 {
		return IPv6(r.IntN(addresses))
	}
	return IPv4(r.IntN(addresses))
}

func (r Random) prefix() string {
	a := r.address()
	p, err := a.Prefix(max(0, a.BitLen()-r.IntN(8)))
	if err != nil {
		panic(err)
	}
	return p.String()
}

// Pod is the numbered pod, in one of three namespaces, on the node here or there. Some are in their node's network, some have failed.
func (r Random) Pod(n int) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: fmt.Sprint("n", n%3), Name: fmt.Sprint("p", n), Labels: r.Labels()}}
	pod.Spec.NodeName = []string{"here", "here", "there"}[r.IntN(3)]
	pod.Spec.HostNetwork = r.IntN(12) == 0
	if r.IntN(12) == 0 {
		pod.Status.Phase = corev1.PodFailed
	}
	pod.Status.PodIPs = []corev1.PodIP{{IP: IPv4(n).String()}, {IP: IPv6(n).String()}}
	var ports []corev1.ContainerPort
	for _, name := range []string{"http", "dns"} {
		if r.IntN(2) == 0 {
			ports = append(ports, corev1.ContainerPort{Name: name, ContainerPort: int32(80 + r.IntN(3)), Protocol: Pick(r, corev1.ProtocolTCP, corev1.ProtocolUDP)})
		}
	}
	pod.Spec.Containers = []corev1.Container{{Name: "c", Ports: ports}}
	return pod
}

// Pick is one of several.
func Pick[T any](r Random, of ...T) T { return of[r.IntN(len(of))] }

func (r Random) peers() (all []networkingv1.NetworkPolicyPeer) {
	for range r.IntN(3) {
		p := networkingv1.NetworkPolicyPeer{}
		switch r.IntN(4) {
		case 0:
			p.IPBlock = &networkingv1.IPBlock{CIDR: r.prefix()}
			for range r.IntN(3) {
				p.IPBlock.Except = append(p.IPBlock.Except, r.prefix())
			}
		case 1:
			p.PodSelector = r.selector()
		case 2:
			p.NamespaceSelector = r.selector()
		case 3:
			p.PodSelector, p.NamespaceSelector = r.selector(), r.selector()
		}
		all = append(all, p)
	}
	return all
}

func (r Random) ports() (all []networkingv1.NetworkPolicyPort) {
	for range r.IntN(3) {
		p := networkingv1.NetworkPolicyPort{}
		if r.IntN(3) > 0 {
			p.Protocol = ptr.To(Pick(r, corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP))
		}
		switch r.IntN(4) {
		case 0:
			p.Port = ptr.To(intstr.FromString(Pick(r, "http", "dns", "nobody")))
		case 1:
			p.Port, p.EndPort = ptr.To(intstr.FromInt32(80)), ptr.To(int32(80+r.IntN(3)))
		case 2:
			p.Port = ptr.To(intstr.FromInt32(int32(80 + r.IntN(3))))
		}
		all = append(all, p)
	}
	return all
}

// Policy is a numbered policy in one of the namespaces.
func (r Random) Policy(n int) *networkingv1.NetworkPolicy {
	p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: fmt.Sprint("n", r.IntN(3)), Name: fmt.Sprint("np", n)}}
	p.Spec.PodSelector = *r.selector()
	p.Spec.PolicyTypes = Pick(r, nil, []networkingv1.PolicyType{"Ingress"}, []networkingv1.PolicyType{"Egress"}, []networkingv1.PolicyType{"Ingress", "Egress"})
	for range r.IntN(3) {
		p.Spec.Ingress = append(p.Spec.Ingress, networkingv1.NetworkPolicyIngressRule{From: r.peers(), Ports: r.ports()})
	}
	for range r.IntN(3) {
		p.Spec.Egress = append(p.Spec.Egress, networkingv1.NetworkPolicyEgressRule{To: r.peers(), Ports: r.ports()})
	}
	return p
}

// Packet begins a connection between two addresses of one family.
func (r Random) Packet() policy.Packet {
	p := policy.Packet{Source: r.address(), Protocol: Pick(r, lb.TCP, lb.UDP, lb.SCTP, 1)}
	for p.Dest = r.address(); p.Dest.BitLen() != p.Source.BitLen(); {
		p.Dest = r.address()
	}
	if p.Protocol != 1 {
		p.Port = uint16(79 + r.IntN(5))
	}
	return p
}

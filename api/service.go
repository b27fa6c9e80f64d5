package api

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Selects reports whether controllers write endpoints for a Service at all. A Service without a selector, or of type
// ExternalName, is left alone: nothing is created for it and nothing is removed, so a person can manage its endpoints (rules E1
// and E2).
func Selects(svc *corev1.Service) bool {
	return len(svc.Spec.Selector) > 0 && svc.Spec.Type != corev1.ServiceTypeExternalName
}

// Matches reports whether labels satisfy every pair of a Service's selector.
func Matches(selector, labels map[string]string) bool {
	for key, value := range selector {
		if have, ok := labels[key]; !ok || have != value {
			return false
		}
	}
	return true
}

// Headless reports whether a Service has no cluster address.
func Headless(svc *corev1.Service) bool {
	return svc.Spec.ClusterIP == "" || svc.Spec.ClusterIP == corev1.ClusterIPNone
}

// ClusterIPs are a Service's cluster addresses of both families as written, the primary one first: "None" of a headless one, and
// nothing of one that has none yet. Objects stored without the list have one.
func ClusterIPs(svc *corev1.Service) []string {
	if len(svc.Spec.ClusterIPs) == 0 && svc.Spec.ClusterIP != "" {
		return []string{svc.Spec.ClusterIP}
	}
	return svc.Spec.ClusterIPs
}

// Families are the address families of a Service, the primary one first. Objects stored without the field have the family of
// their cluster address.
func Families(svc *corev1.Service) []corev1.IPFamily {
	if len(svc.Spec.IPFamilies) > 0 {
		return svc.Spec.IPFamilies
	}
	if addr, ok := ParseAddr(svc.Spec.ClusterIP); ok && addr.Is6() {
		return []corev1.IPFamily{corev1.IPv6Protocol}
	}
	return []corev1.IPFamily{corev1.IPv4Protocol}
}

// OthersServe reports whether a Service or slice is for another proxy, or for none at all (rule P1).
func OthersServe(obj metav1.Object) bool {
	labels := obj.GetLabels()
	_, other := labels[LabelServiceProxyName]
	_, headless := labels[corev1.IsHeadlessService]
	return other || headless
}

// Balanced reports whether the addresses of a Service are to come from pools of ours: it is of type LoadBalancer, and its class is
// ours or none.
func Balanced(svc *corev1.Service) bool {
	class := svc.Spec.LoadBalancerClass
	return svc.Spec.Type == corev1.ServiceTypeLoadBalancer && (class == nil || *class == LoadBalancerClass)
}

// VIP reports whether connections to an address that a load balancer has given reach the nodes by that very address, as they do
// unless it says otherwise (rule P44).
func VIP(in *corev1.LoadBalancerIngress) bool {
	return in.IPMode == nil || *in.IPMode == corev1.LoadBalancerIPModeVIP
}

// Protocol is the protocol of a port; empty means TCP.
func Protocol(p corev1.Protocol) corev1.Protocol {
	if p == "" {
		return corev1.ProtocolTCP
	}
	return p
}

// NamedTarget reports whether a Service port refers to its target by name.
func NamedTarget(port *corev1.ServicePort) bool {
	return port.TargetPort.Type == intstr.String && port.TargetPort.StrVal != ""
}

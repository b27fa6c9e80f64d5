package endpoints

import (
	"net/netip"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	netutils "k8s.io/utils/net"
)

// Selects reports whether the controllers write endpoints for a Service at all. A Service without
// a selector, or of type ExternalName, is left alone: nothing is created for it and nothing is
// removed, so a person can manage its endpoints (rules E1 and E2).
func Selects(svc *corev1.Service) bool {
	return len(svc.Spec.Selector) > 0 && svc.Spec.Type != corev1.ServiceTypeExternalName
}

// headless reports whether a Service has no cluster address.
func headless(svc *corev1.Service) bool {
	return svc.Spec.ClusterIP == "" || svc.Spec.ClusterIP == corev1.ClusterIPNone
}

// Families returns the address families of a Service, the primary one first. Objects stored
// without the field have the family of their cluster address.
func Families(svc *corev1.Service) []corev1.IPFamily {
	if len(svc.Spec.IPFamilies) > 0 {
		return svc.Spec.IPFamilies
	}
	if addr, ok := parseAddr(svc.Spec.ClusterIP); ok && addr.Is6() {
		return []corev1.IPFamily{corev1.IPv6Protocol}
	}
	return []corev1.IPFamily{corev1.IPv4Protocol}
}

// Running reports whether a pod can receive traffic now or later: a pod whose containers have all
// ended for good never appears, whatever its Ready condition says (rule E3).
func Running(pod *corev1.Pod) bool {
	return pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed
}

// Readiness returns the pod's Ready condition, the only thing that decides whether it is ready
// (rule E6), and the moment of its last change; zero when there is no such condition.
func Readiness(pod *corev1.Pod) (ready bool, since time.Time) {
	for i := range pod.Status.Conditions {
		if c := &pod.Status.Conditions[i]; c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue, c.LastTransitionTime.Time
		}
	}
	return false, time.Time{}
}

// Addresses returns the pod's addresses of one family in canonical form, in the order of the
// status; none means that the pod cannot be an endpoint in that family (rules E4, E21 and E58).
// The endpoint of a pod in the node's network is the node's address (rule E15). Unusable addresses
// are left out: the API refuses a whole slice for the sake of one.
func Addresses(pod *corev1.Pod, family corev1.IPFamily) []string {
	var addrs []string
	for _, ip := range podIPs(pod) {
		if addr, ok := parseAddr(ip.IP); ok && familyOf(addr) == family && reachable(addr) {
			addrs = append(addrs, canonical(addr, ip.IP))
		}
	}
	return addrs
}

// Unusable returns what a pod's status gives as its addresses and no endpoint can be, as written.
func Unusable(pod *corev1.Pod) []string {
	var texts []string
	for _, ip := range podIPs(pod) {
		if addr, ok := parseAddr(ip.IP); !ok || !reachable(addr) {
			texts = append(texts, ip.IP)
		}
	}
	return texts
}

func podIPs(pod *corev1.Pod) []corev1.PodIP {
	if len(pod.Status.PodIPs) == 0 && pod.Status.PodIP != "" {
		return []corev1.PodIP{{IP: pod.Status.PodIP}}
	}
	return pod.Status.PodIPs
}

// reachable reports whether a pod can be at an address.
func reachable(addr netip.Addr) bool {
	return !special(addr) && !addr.IsMulticast() && addr != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// special reports whether the API refuses an address in Endpoints and slices, because it means no host.
func special(addr netip.Addr) bool {
	return addr.IsUnspecified() || addr.IsLoopback() || addr.IsLinkLocalUnicast() || addr.IsLinkLocalMulticast()
}

// canonical returns the canonical text of an address: text itself, which nearly always is.
func canonical(addr netip.Addr, text string) string {
	var buffer [64]byte
	if written := addr.AppendTo(buffer[:0]); string(written) != text {
		return string(written)
	}
	return text
}

// parseAddr reads an address as Kubernetes always has: leading zeros in an IPv4 octet are decimal,
// and an IPv4 address mapped into IPv6 is an IPv4 address.
func parseAddr(text string) (netip.Addr, bool) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return addr.Unmap(), addr.Zone() == ""
	}
	addr, ok := netip.AddrFromSlice(netutils.ParseIPSloppy(text))
	return addr.Unmap(), ok
}

// familyOf returns the family of an address.
func familyOf(addr netip.Addr) corev1.IPFamily {
	if addr.Is4() {
		return corev1.IPv4Protocol
	}
	return corev1.IPv6Protocol
}

// hostname returns the host name that the pod has below the Service's DNS name: its own, when its
// subdomain is the Service (rule E12).
func hostname(pod *corev1.Pod, svc *corev1.Service) string {
	if pod.Spec.Subdomain == svc.Name && pod.Namespace == svc.Namespace {
		return pod.Spec.Hostname
	}
	return ""
}

// podRef is the reference from an endpoint back to its pod (rule E13).
func podRef(pod *corev1.Pod) corev1.ObjectReference {
	return corev1.ObjectReference{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID}
}

// protocolOf returns the protocol of a Service port; empty means TCP.
func protocolOf(port *corev1.ServicePort) corev1.Protocol {
	if port.Protocol == "" {
		return corev1.ProtocolTCP
	}
	return port.Protocol
}

// TargetPort returns the number on which the pod answers a Service port. A numeric target needs
// no container that declares it (rule E7). A named one is the first container port of that name
// and the same protocol, containers before sidecars (rule E8); so it may differ from pod to pod
// (rule E9), and a pod without one does not offer this Service port (rule E10).
func TargetPort(pod *corev1.Pod, port *corev1.ServicePort) (int32, bool) {
	if !named(port) {
		if n := port.TargetPort.IntVal; n != 0 {
			return n, true
		}
		return port.Port, true
	}
	for i := range pod.Spec.Containers {
		if n, ok := containerPort(&pod.Spec.Containers[i], port); ok {
			return n, true
		}
	}
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		if c.RestartPolicy == nil || *c.RestartPolicy != corev1.ContainerRestartPolicyAlways {
			continue
		}
		if n, ok := containerPort(c, port); ok {
			return n, true
		}
	}
	return 0, false
}

// named reports whether a Service port refers to its target by name.
func named(port *corev1.ServicePort) bool {
	return port.TargetPort.Type == intstr.String && port.TargetPort.StrVal != ""
}

// containerPort finds the target of a Service port among the ports of one container.
func containerPort(c *corev1.Container, port *corev1.ServicePort) (int32, bool) {
	for i := range c.Ports {
		p := &c.Ports[i]
		protocol := p.Protocol
		if protocol == "" {
			protocol = corev1.ProtocolTCP
		}
		if p.Name == port.TargetPort.StrVal && protocol == protocolOf(port) {
			return p.ContainerPort, true
		}
	}
	return 0, false
}

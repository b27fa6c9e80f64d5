package registry

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// The functions of this file bring an update of a Service into the form in which addresses and ports are allocated:
// what the user left as it was and no longer applies is wiped, what the user left out is carried over.

// wipeForType clears the fields the new type has no use for, when the user left them as they were (rules S69, S83,
// S85, S86). A value the user changed in the same update stays, and validation refuses it.
func wipeForType(svc, old *corev1.Service) {
	now, was := &svc.Spec, &old.Spec
	if needsClusterIP(old) && !needsClusterIP(svc) {
		wipeAddresses(now, was)
	}
	if usesNodePorts(old) && !usesNodePorts(svc) && slices.Equal(nodePorts(svc), nodePorts(old)) {
		for i := range now.Ports {
			now.Ports[i].NodePort = 0
		}
	}
	if needsHealthPort(old) && !needsHealthPort(svc) && now.HealthCheckNodePort == was.HealthCheckNodePort {
		now.HealthCheckNodePort = 0
	}
	if was.Type == corev1.ServiceTypeLoadBalancer && now.Type != corev1.ServiceTypeLoadBalancer {
		if same(now.AllocateLoadBalancerNodePorts, was.AllocateLoadBalancerNodePorts) {
			now.AllocateLoadBalancerNodePorts = nil
		}
		if same(now.LoadBalancerClass, was.LoadBalancerClass) {
			now.LoadBalancerClass = nil
		}
	}
	if external(old) && !external(svc) && now.ExternalTrafficPolicy == was.ExternalTrafficPolicy {
		now.ExternalTrafficPolicy = ""
	}
}

func wipeAddresses(now, was *corev1.ServiceSpec) {
	if now.ClusterIP == was.ClusterIP && slices.Equal(now.ClusterIPs, was.ClusterIPs) {
		now.ClusterIP, now.ClusterIPs = "", nil
	}
	if slices.Equal(now.IPFamilies, was.IPFamilies) {
		now.IPFamilies = nil
	}
	if same(now.IPFamilyPolicy, was.IPFamilyPolicy) {
		now.IPFamilyPolicy = nil
	}
}

// carryOver fills in what was allocated before and the user left out, so that putting the original manifest again
// changes nothing (rule S81).
func carryOver(svc, old *corev1.Service) {
	now, was := &svc.Spec, &old.Spec
	if needsClusterIP(old) && needsClusterIP(svc) {
		if now.ClusterIP == "" {
			now.ClusterIP = was.ClusterIP
		}
		if len(now.ClusterIPs) == 0 && now.ClusterIP == was.ClusterIP {
			now.ClusterIPs = was.ClusterIPs
		}
	}
	if allocatesNodePorts(old) && allocatesNodePorts(svc) {
		carryNodePorts(now.Ports, was.Ports)
	}
	if needsHealthPort(old) && needsHealthPort(svc) && now.HealthCheckNodePort == 0 {
		now.HealthCheckNodePort = was.HealthCheckNodePort
	}
}

// carryNodePorts matches ports by name, the one thing of a port that identifies it: a renamed port gets a new node
// port, a moved one keeps its own. A number the user gave to some port is not used a second time.
func carryNodePorts(now, was []corev1.ServicePort) {
	before := make(map[string]int32, len(was))
	for _, port := range was {
		before[port.Name] = port.NodePort
	}
	taken := make(map[int32]bool, len(now))
	for _, port := range now {
		taken[port.NodePort] = true
	}
	for i := range now {
		number := before[now[i].Name]
		if now[i].NodePort == 0 && !taken[number] {
			now[i].NodePort = number
		}
	}
}

// syncClusterIPs makes clusterIP and clusterIPs agree for clients that know only one of them (rule S82); old is nil on
// create. What it cannot decide is left to validation.
func syncClusterIPs(svc, old *corev1.Service) {
	now := &svc.Spec
	if old == nil {
		if now.ClusterIP != "" && len(now.ClusterIPs) == 0 {
			now.ClusterIPs = []string{now.ClusterIP}
		}
		return
	}
	if now.ClusterIP == old.Spec.ClusterIP || !slices.Equal(now.ClusterIPs, old.Spec.ClusterIPs) {
		return
	}
	now.ClusterIPs = nil
	if now.ClusterIP != "" {
		now.ClusterIPs = []string{now.ClusterIP}
	}
}

func nodePorts(svc *corev1.Service) []int32 {
	ports := make([]int32, len(svc.Spec.Ports))
	for i := range svc.Spec.Ports {
		ports[i] = svc.Spec.Ports[i].NodePort
	}
	return ports
}

func same[T comparable](a, b *T) bool {
	return a == b || a != nil && b != nil && *a == *b
}

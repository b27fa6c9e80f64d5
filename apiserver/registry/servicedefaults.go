package registry

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// defaultService fills in a Service (rules S1-S8, S10). Addresses, families and node ports are not defaults: they
// are allocated when the object is written.
func defaultService(svc *corev1.Service) {
	spec := &svc.Spec
	setDefault(&spec.Type, corev1.ServiceTypeClusterIP)
	setDefault(&spec.SessionAffinity, corev1.ServiceAffinityNone)
	defaultAffinity(spec)
	for i := range spec.Ports {
		port := &spec.Ports[i]
		setDefault(&port.Protocol, corev1.ProtocolTCP)
		if port.TargetPort == intstr.FromInt32(0) || port.TargetPort == intstr.FromString("") {
			port.TargetPort = intstr.FromInt32(port.Port)
		}
	}
	if external(svc) {
		setDefault(&spec.ExternalTrafficPolicy, corev1.ServiceExternalTrafficPolicyCluster)
	}
	if spec.InternalTrafficPolicy == nil && needsClusterIP(svc) {
		setPointer(&spec.InternalTrafficPolicy, corev1.ServiceInternalTrafficPolicyCluster)
	}
	if spec.Type != corev1.ServiceTypeLoadBalancer {
		return
	}
	setPointer(&spec.AllocateLoadBalancerNodePorts, true)
	ingress := svc.Status.LoadBalancer.Ingress
	for i := range ingress {
		if ingress[i].IP != "" {
			setPointer(&ingress[i].IPMode, corev1.LoadBalancerIPModeVIP)
		}
	}
}

// defaultAffinity gives an affinity by client its timeout (rule S3) and drops the configuration of none (rule S2).
func defaultAffinity(spec *corev1.ServiceSpec) {
	switch spec.SessionAffinity {
	case corev1.ServiceAffinityNone:
		spec.SessionAffinityConfig = nil
	case corev1.ServiceAffinityClientIP:
		config := spec.SessionAffinityConfig
		if config != nil && config.ClientIP != nil && config.ClientIP.TimeoutSeconds != nil {
			return
		}
		timeout := corev1.DefaultClientIPServiceAffinitySeconds
		spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: &timeout}}
	}
}

// external reports whether a Service can be reached from outside the cluster, so that its external traffic policy
// means something.
func external(svc *corev1.Service) bool {
	switch svc.Spec.Type {
	case corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer:
		return true
	case corev1.ServiceTypeClusterIP:
		return len(svc.Spec.ExternalIPs) > 0
	}
	return false
}

// needsClusterIP reports whether a Service has a cluster address, or None in its place.
func needsClusterIP(svc *corev1.Service) bool {
	switch svc.Spec.Type {
	case corev1.ServiceTypeClusterIP, corev1.ServiceTypeNodePort, corev1.ServiceTypeLoadBalancer:
		return true
	}
	return false
}

// usesNodePorts reports whether the ports of a Service may have node ports.
func usesNodePorts(svc *corev1.Service) bool {
	return svc.Spec.Type == corev1.ServiceTypeNodePort || svc.Spec.Type == corev1.ServiceTypeLoadBalancer
}

// allocatesNodePorts reports whether a port without a node port is given one (rule S62).
func allocatesNodePorts(svc *corev1.Service) bool {
	if svc.Spec.Type == corev1.ServiceTypeLoadBalancer {
		return svc.Spec.AllocateLoadBalancerNodePorts == nil || *svc.Spec.AllocateLoadBalancerNodePorts
	}
	return svc.Spec.Type == corev1.ServiceTypeNodePort
}

// needsHealthPort reports whether a Service has a node port for health checks of its load balancer (rule S70).
func needsHealthPort(svc *corev1.Service) bool {
	return svc.Spec.Type == corev1.ServiceTypeLoadBalancer &&
		svc.Spec.ExternalTrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal
}

// headless reports whether a Service has no cluster address on purpose (rule S21).
func headless(svc *corev1.Service) bool {
	ips := svc.Spec.ClusterIPs
	return svc.Spec.ClusterIP == corev1.ClusterIPNone || len(ips) == 1 && ips[0] == corev1.ClusterIPNone
}

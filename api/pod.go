package api

import (
	"iter"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Finished reports whether a pod's containers have all ended for good: it takes nothing of its node any more and never receives
// traffic again, whatever its Ready condition says (rule E3).
func Finished(pod *corev1.Pod) bool {
	return pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
}

// PodCondition is the first condition of a type in a pod's list, nil when there is none.
func PodCondition(list []corev1.PodCondition, kind corev1.PodConditionType) *corev1.PodCondition {
	for i := range list {
		if list[i].Type == kind {
			return &list[i]
		}
	}
	return nil
}

// PodReady reports whether a pod's Ready condition is True, the only thing that decides whether it is ready (rule E6).
func PodReady(pod *corev1.Pod) bool {
	ready, _ := PodReadiness(pod)
	return ready
}

// PodReadiness is PodReady with the moment since when; zero when there is no such condition.
func PodReadiness(pod *corev1.Pod) (ready bool, since time.Time) {
	if c := PodCondition(pod.Status.Conditions, corev1.PodReady); c != nil {
		return c.Status == corev1.ConditionTrue, c.LastTransitionTime.Time
	}
	return false, time.Time{}
}

// PodAddresses returns a pod's addresses of one family in canonical form, in the order of the status; none means that the pod
// cannot be an endpoint in that family (rules E4, E21 and E58). A pod in its node's network has the node's (rule E15). Those of
// no use are left out: the API refuses a whole slice for the sake of one.
func PodAddresses(pod *corev1.Pod, family corev1.IPFamily) []string {
	var addrs []string
	for _, ip := range podIPs(pod) {
		if addr, ok := ParseAddr(ip.IP); ok && Family(addr) == family && Reachable(addr) {
			addrs = append(addrs, Canonical(addr, ip.IP))
		}
	}
	return addrs
}

// UnusablePodAddresses returns what a pod's status gives as its addresses and no endpoint can be, as written.
func UnusablePodAddresses(pod *corev1.Pod) []string {
	var texts []string
	for _, ip := range podIPs(pod) {
		if addr, ok := ParseAddr(ip.IP); !ok || !Reachable(addr) {
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

// PodPeer is of a pod what others have to know of it: who and where it is, its labels, its addresses and its ports. It shares memory with
// the pod.
func PodPeer(pod *corev1.Pod) *corev1.Pod {
	shown := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, ResourceVersion: pod.ResourceVersion, Labels: pod.Labels}}
	shown.Spec.NodeName, shown.Spec.HostNetwork = pod.Spec.NodeName, pod.Spec.HostNetwork
	shown.Status.Phase, shown.Status.PodIP, shown.Status.PodIPs = pod.Status.Phase, pod.Status.PodIP, pod.Status.PodIPs
	shown.Spec.Containers, shown.Spec.InitContainers = portsOf(pod.Spec.Containers), portsOf(pod.Spec.InitContainers)
	return shown
}

// portsOf are the containers that have ports, without all else.
func portsOf(all []corev1.Container) (shown []corev1.Container) {
	for i := range all {
		if len(all[i].Ports) > 0 {
			shown = append(shown, corev1.Container{Name: all[i].Name, Ports: all[i].Ports, RestartPolicy: all[i].RestartPolicy})
		}
	}
	return shown
}

// Sidecar reports whether an init container keeps running beside the main ones (KEP-753).
func Sidecar(c *corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// ServingContainers are those that run as long as their pod does, and may serve others: the main ones, then the sidecars.
func ServingContainers(spec *corev1.PodSpec) iter.Seq[*corev1.Container] {
	return func(yield func(*corev1.Container) bool) {
		for i := range spec.Containers {
			if !yield(&spec.Containers[i]) {
				return
			}
		}
		for i := range spec.InitContainers {
			if c := &spec.InitContainers[i]; Sidecar(c) && !yield(c) {
				return
			}
		}
	}
}

// QOS is the quality-of-service class of a pod: Guaranteed when each container is limited in CPU and memory to what it asks for,
// BestEffort when none asks for anything. Where the pod as a whole asks for something that alone counts (KEP-2837).
func QOS(spec *corev1.PodSpec) corev1.PodQOSClass {
	guaranteed, some := true, false
	take := func(r *corev1.ResourceRequirements) {
		for _, name := range []corev1.ResourceName{corev1.ResourceCPU, corev1.ResourceMemory} {
			limit, request := r.Limits[name], r.Requests[name]
			some = some || !limit.IsZero() || !request.IsZero()
			guaranteed = guaranteed && !limit.IsZero() && (request.IsZero() || request.Cmp(limit) == 0)
		}
	}
	if spec.Resources != nil {
		take(spec.Resources)
	} else {
		for _, list := range [][]corev1.Container{spec.InitContainers, spec.Containers} {
			for i := range list {
				take(&list[i].Resources)
			}
		}
	}
	switch {
	case !some:
		return corev1.PodQOSBestEffort
	case guaranteed:
		return corev1.PodQOSGuaranteed
	}
	return corev1.PodQOSBurstable
}

// TargetPort returns the number on which a pod answers a Service port. A numeric target needs no container that declares it
// (rule E7). A named one is the first container port of that name and the same protocol, containers before sidecars (rule E8);
// so it may differ from pod to pod (rule E9), and a pod without one does not offer this Service port (rule E10).
func TargetPort(pod *corev1.Pod, port *corev1.ServicePort) (int32, bool) {
	if !NamedTarget(port) {
		if n := port.TargetPort.IntVal; n != 0 {
			return n, true
		}
		return port.Port, true
	}
	for c := range ServingContainers(&pod.Spec) {
		for i := range c.Ports {
			if p := &c.Ports[i]; p.Name == port.TargetPort.StrVal && Protocol(p.Protocol) == Protocol(port.Protocol) {
				return p.ContainerPort, true
			}
		}
	}
	return 0, false
}

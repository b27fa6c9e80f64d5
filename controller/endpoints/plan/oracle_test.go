package plan

//lint:file-ignore SA1019 v1 Endpoints are what the tests are about.

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

// offered is the oracle's reading of a Service's ports on a pod: "http 8080 TCP".
func offered(svc *corev1.Service, pod *corev1.Pod) []string {
	var ports []string
	for _, p := range svc.Spec.Ports {
		number := p.TargetPort.IntVal
		if p.TargetPort.StrVal != "" {
			number = 0
			for _, cp := range pod.Spec.Containers[0].Ports {
				if cp.Name == p.TargetPort.StrVal && cp.Protocol == p.Protocol {
					number = cp.ContainerPort
				}
			}
		}
		if number != 0 {
			ports = append(ports, fmt.Sprint(p.Name, " ", number, " ", p.Protocol))
		}
	}
	return ports
}

// expectSlices is the oracle for slices: one line per pod, family and port, and one per pod and
// family without ports.
func expectSlices(svc *corev1.Service, pods []*corev1.Pod) []string {
	var lines []string
	for _, pod := range pods {
		if pod.Status.Phase == corev1.PodFailed {
			continue
		}
		for _, ip := range pod.Status.PodIPs {
			family := corev1.IPv4Protocol
			if strings.Contains(ip.IP, ":") {
				family = corev1.IPv6Protocol
			}
			if !slices.Contains(svc.Spec.IPFamilies, family) {
				continue
			}
			serving := pod.Status.Conditions[0].Status == corev1.ConditionTrue
			ending := pod.DeletionTimestamp != nil
			ready := serving && !ending || svc.Spec.PublishNotReadyAddresses
			host := ""
			if pod.Spec.Subdomain == svc.Name {
				host = pod.Spec.Hostname
			}
			zone := map[string]string{"n0": "", "n1": "a", "n2": "b"}[pod.Spec.NodeName]
			for _, port := range append(offered(svc, pod), "any")[:max(1, len(offered(svc, pod)))] {
				lines = append(lines, fmt.Sprint(family, " ", ip.IP, " ", port, " ", ready, serving, ending, " ", host, " ",
					pod.Spec.NodeName, " ", zone, " ", pod.UID))
			}
		}
	}
	return lines
}

// gotSlices reads slices the way a consumer does: all of them together.
func gotSlices(list []*discoveryv1.EndpointSlice) []string {
	var lines []string
	for _, slice := range list {
		for _, ep := range slice.Endpoints {
			ports := []string{"any"}
			for i, p := range slice.Ports {
				ports = append(ports[:i], fmt.Sprint(*p.Name, " ", *p.Port, " ", *p.Protocol))
			}
			for _, port := range ports {
				lines = append(lines, fmt.Sprint(slice.AddressType, " ", ep.Addresses[0], " ", port, " ",
					*ep.Conditions.Ready, *ep.Conditions.Serving, *ep.Conditions.Terminating, " ",
					ptr.Deref(ep.Hostname, ""), " ", *ep.NodeName, " ", ptr.Deref(ep.Zone, ""), " ", ep.TargetRef.UID))
			}
		}
	}
	return lines
}

// expectObject is the oracle for the Endpoints object.
func expectObject(svc *corev1.Service, pods []*corev1.Pod) []string {
	var lines []string
	for _, pod := range pods {
		publish := svc.Spec.PublishNotReadyAddresses
		if pod.Status.Phase == corev1.PodFailed || pod.DeletionTimestamp != nil && !publish {
			continue
		}
		for _, ip := range pod.Status.PodIPs {
			if strings.Contains(ip.IP, ":") != (svc.Spec.IPFamilies[0] == corev1.IPv6Protocol) {
				continue
			}
			ready := publish || pod.Status.Conditions[0].Status == corev1.ConditionTrue
			for _, port := range offered(svc, pod) {
				lines = append(lines, fmt.Sprint(ip.IP, " ", port, " ", ready, " ", pod.UID))
			}
		}
	}
	return lines
}

func gotObject(ep *corev1.Endpoints) []string {
	var lines []string
	for _, s := range ep.Subsets {
		for _, p := range s.Ports {
			line := func(a corev1.EndpointAddress, ready bool) string {
				uid := types.UID("")
				if a.TargetRef != nil {
					uid = a.TargetRef.UID
				}
				return fmt.Sprint(a.IP, " ", p.Name, " ", p.Port, " ", p.Protocol, " ", ready, " ", uid)
			}
			for _, a := range s.Addresses {
				lines = append(lines, line(a, true))
			}
			for _, a := range s.NotReadyAddresses {
				lines = append(lines, line(a, false))
			}
		}
	}
	return lines
}

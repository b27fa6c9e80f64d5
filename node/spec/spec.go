// Package spec translates a pod into what the container runtime interface (CRI) wants: sandbox and container configurations,
// environment, name resolution, security and resources. It is pure; the agent in package node supplies addresses, services,
// config maps and directories.
package spec

import (
	"path/filepath"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/node/util/sysctl"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Labels and annotations by which sandboxes and containers are recognised; upstream's names, so that crictl shows pods.
const (
	LabelPodName       = "io.kubernetes.pod.name"
	LabelPodNamespace  = "io.kubernetes.pod.namespace"
	LabelPodUID        = "io.kubernetes.pod.uid"
	LabelContainerName = "io.kubernetes.container.name"

	AnnotationGrace         = "io.kubernetes.pod.terminationGracePeriod"
	AnnotationImage         = "fairlead.dev/image" // the image as the pod spec names it
	AnnotationMessagePath   = "io.kubernetes.container.terminationMessagePath"
	AnnotationMessagePolicy = "io.kubernetes.container.terminationMessagePolicy"
	AnnotationRestartCount  = "io.kubernetes.container.restartCount"
)

// Node is what the translation needs to know of the node.
type Node struct {
	Name       string
	CgroupRoot string   // the group below which every pod gets one
	Cluster    DNS      // of pods with dnsPolicy ClusterFirst
	Host       Resolver // the node's own name resolution
	Capacity   [2]int64 // CPU in thousandths and memory in bytes, for resource fields without a limit
}

// PodLabels are the labels of a pod's sandbox and containers.
func PodLabels(pod *corev1.Pod) map[string]string {
	return map[string]string{LabelPodName: pod.Name, LabelPodNamespace: pod.Namespace, LabelPodUID: string(pod.UID)}
}

// Grace is the annotation value for the pod's termination grace period, kept so that a pod whose object has vanished can still be
// ended as it wished.
func Grace(pod *corev1.Pod) string {
	seconds := int64(corev1.DefaultTerminationGracePeriodSeconds)
	if pod.Spec.TerminationGracePeriodSeconds != nil {
		seconds = *pod.Spec.TerminationGracePeriodSeconds
	}
	return strconv.FormatInt(seconds, 10)
}

// Hostname is the pod's host name, and the domain name that leads to it when the pod has a subdomain (rule N57). A name that overrides the
// others is inside the pod alone: no name leads to it (KEP-4762).
func Hostname(pod *corev1.Pod, zone string) (host, fqdn string) {
	host = pod.Spec.Hostname
	if host == "" {
		host = pod.Name
	}
	override := pod.Spec.HostnameOverride
	if override != nil {
		host = *override
	}
	if len(host) > 63 {
		host = trimHost(host[:63])
	}
	if pod.Spec.Subdomain != "" && override == nil {
		fqdn = host + "." + pod.Spec.Subdomain + "." + pod.Namespace + ".svc." + zone
	}
	return host, fqdn
}

// trimHost drops what may not end a host name.
func trimHost(host string) string {
	for len(host) > 0 && (host[len(host)-1] == '-' || host[len(host)-1] == '.') {
		host = host[:len(host)-1]
	}
	return host
}

// Sandbox is the configuration of a pod's sandbox. It has to be the same when containers are created in it.
func Sandbox(pod *corev1.Pod, node Node, attempt uint32, logDir string) *runtimeapi.PodSandboxConfig {
	host, fqdn := Hostname(pod, node.Cluster.Zone)
	if pod.Spec.SetHostnameAsFQDN != nil && *pod.Spec.SetHostnameAsFQDN && fqdn != "" {
		host = fqdn
	}
	if pod.Spec.HostNetwork {
		host = "" // the name of the node, whose UTS namespace comes with its network
	}
	resolver, _ := PodResolver(pod, node)
	security := pod.Spec.SecurityContext
	linux := &runtimeapi.LinuxPodSandboxConfig{
		CgroupParent: PodCgroup(pod, node.CgroupRoot),
		SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
			NamespaceOptions: namespaces(pod),
			Privileged:       anyPrivileged(pod),
			// The sandbox runs nothing but our own pause program, and building a filter takes runc a fifth of a sandbox's time.
			Seccomp: &runtimeapi.SecurityProfile{ProfileType: runtimeapi.SecurityProfile_Unconfined},
		},
		Sysctls: map[string]string{},
	}
	if security != nil {
		for _, s := range security.Sysctls {
			linux.Sysctls[sysctl.NormalizeName(s.Name)] = s.Value
		}
		if security.RunAsUser != nil {
			linux.SecurityContext.RunAsUser = &runtimeapi.Int64Value{Value: *security.RunAsUser}
			if security.RunAsGroup != nil {
				linux.SecurityContext.RunAsGroup = &runtimeapi.Int64Value{Value: *security.RunAsGroup}
			}
		}
		linux.SecurityContext.SupplementalGroups = podGroups(security)
	}
	return &runtimeapi.PodSandboxConfig{
		Metadata:     &runtimeapi.PodSandboxMetadata{Name: pod.Name, Namespace: pod.Namespace, Uid: string(pod.UID), Attempt: attempt},
		Hostname:     host,
		LogDirectory: logDir,
		DnsConfig:    &runtimeapi.DNSConfig{Servers: resolver.Servers, Searches: resolver.Searches, Options: resolver.Options},
		Labels:       PodLabels(pod),
		Annotations:  map[string]string{AnnotationGrace: Grace(pod)},
		Linux:        linux,
	}
}

// PodCgroup is the group that holds a pod's containers.
func PodCgroup(pod *corev1.Pod, root string) string {
	return filepath.Join(root, "pod"+string(pod.UID))
}

func namespaces(pod *corev1.Pod) *runtimeapi.NamespaceOption {
	o := &runtimeapi.NamespaceOption{Pid: runtimeapi.NamespaceMode_CONTAINER}
	if pod.Spec.HostNetwork {
		o.Network = runtimeapi.NamespaceMode_NODE
	}
	if pod.Spec.HostIPC {
		o.Ipc = runtimeapi.NamespaceMode_NODE
	}
	if pod.Spec.ShareProcessNamespace != nil && *pod.Spec.ShareProcessNamespace {
		o.Pid = runtimeapi.NamespaceMode_POD
	}
	if pod.Spec.HostPID {
		o.Pid = runtimeapi.NamespaceMode_NODE
	}
	return o
}

func anyPrivileged(pod *corev1.Pod) bool {
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if s := list[i].SecurityContext; s != nil && s.Privileged != nil && *s.Privileged {
				return true
			}
		}
	}
	return false
}

package plan

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/api"
)

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

// SamePod reports whether two versions of a pod, apart from their labels, give the same
// endpoints: it compares everything that plans read and that can change.
func SamePod(a, b *corev1.Pod) bool {
	return a.UID == b.UID &&
		api.PodReady(a) == api.PodReady(b) &&
		api.Finished(a) == api.Finished(b) &&
		(a.DeletionTimestamp == nil) == (b.DeletionTimestamp == nil) &&
		a.Spec.NodeName == b.Spec.NodeName &&
		a.Spec.Hostname == b.Spec.Hostname &&
		a.Spec.Subdomain == b.Spec.Subdomain &&
		a.Status.PodIP == b.Status.PodIP &&
		slices.Equal(a.Status.PodIPs, b.Status.PodIPs)
}

package node

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/node/life"
)

// reference names a pod, or one of its containers, as the object of an event.
func reference(pod *corev1.Pod, field string) *corev1.ObjectReference {
	return &corev1.ObjectReference{
		Kind: "Pod", APIVersion: "v1", Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID,
		ResourceVersion: pod.ResourceVersion, FieldPath: field,
	}
}

// event records an event about the pod. It may be called from any goroutine that was given the worker.
func (w *worker) event(kind, reason, message string) {
	w.a.events.Event(reference(w.object(), ""), kind, reason, message)
}

// containerEvent records an event about a container of the pod.
func (w *worker) containerEvent(name, kind, reason, message string) {
	pod := w.object()
	field := "spec.ephemeralContainers{" + name + "}" // those alone are added later
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == name {
			field = "spec.containers{" + name + "}"
		}
	}
	for i := range pod.Spec.InitContainers {
		if pod.Spec.InitContainers[i].Name == name {
			field = "spec.initContainers{" + name + "}"
		}
	}
	w.a.events.Event(reference(pod, field), kind, reason, message)
}

// object is the pod as it was first seen: name, uid and containers never change.
func (w *worker) object() *corev1.Pod { return w.first }

// recordBackOff records that a container is held back, once for each of its ends.
func (w *worker) recordBackOff(status *corev1.PodStatus) {
	for _, list := range [][]corev1.ContainerStatus{status.InitContainerStatuses, status.ContainerStatuses} {
		for i := range list {
			s := &list[i]
			if s.State.Waiting == nil || s.State.Waiting.Reason != life.CrashLoopBackOff || w.backOffRecorded[s.Name] == s.ContainerID {
				continue
			}
			w.backOffRecorded[s.Name] = s.ContainerID
			w.containerEvent(s.Name, corev1.EventTypeWarning, "BackOff",
				fmt.Sprintf("Back-off restarting failed container %s in pod %s", s.Name, life.PodRef(w.pod)))
		}
	}
}

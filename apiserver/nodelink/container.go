package nodelink

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// defaultContainer is the annotation by which a pod names the container meant when none is named.
const defaultContainer = "kubectl.kubernetes.io/default-container"

// container is the container a request means: the named one, which must exist, or the only one.
func container(pod *corev1.Pod, name string) (string, error) {
	regular, init, ephemeral := names(pod)
	all := slices.Concat(regular, init, ephemeral)
	if name != "" {
		if !slices.Contains(all, name) {
			return "", apierrors.NewBadRequest(fmt.Sprintf("container %s is not valid for pod %s", name, pod.Name))
		}
		return name, nil
	}
	switch annotated := pod.Annotations[defaultContainer]; {
	case len(regular) == 0:
		return "", apierrors.NewBadRequest(fmt.Sprintf("a container name must be specified for pod %s", pod.Name))
	case len(regular) == 1:
		return regular[0], nil
	case slices.Contains(regular, annotated):
		return annotated, nil
	}
	message := fmt.Sprintf("a container name must be specified for pod %s, choose one of: [%s]", pod.Name, strings.Join(regular, " "))
	if len(init) > 0 {
		message += fmt.Sprintf(" or one of the init containers: [%s]", strings.Join(init, " "))
	}
	if len(ephemeral) > 0 {
		message += fmt.Sprintf(" or one of the ephemeral containers: [%s]", strings.Join(ephemeral, " "))
	}
	return "", apierrors.NewBadRequest(message)
}

func names(pod *corev1.Pod) (regular, init, ephemeral []string) {
	for _, c := range pod.Spec.Containers {
		regular = append(regular, c.Name)
	}
	for _, c := range pod.Spec.InitContainers {
		init = append(init, c.Name)
	}
	for _, c := range pod.Spec.EphemeralContainers {
		ephemeral = append(ephemeral, c.Name)
	}
	return regular, init, ephemeral
}

// started refuses a log request for a container that has never run, with the reason it waits, instead of
// the agent's bare "not found" (the sentence is the kubelet's).
func started(pod *corev1.Pod, name string, previous bool) error {
	for _, s := range slices.Concat(pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses, pod.Status.EphemeralContainerStatuses) {
		if s.Name != name {
			continue
		}
		switch {
		case previous && s.LastTerminationState.Terminated == nil:
			return apierrors.NewBadRequest(fmt.Sprintf("previous terminated container %q in pod %q not found", name, pod.Name))
		case previous || s.State.Running != nil || s.State.Terminated != nil || s.LastTerminationState.Terminated != nil:
			return nil
		case s.State.Waiting != nil && s.State.Waiting.Reason != "":
			return waiting(pod, name, waitingReason(s.State.Waiting))
		}
		return waiting(pod, name, "ContainerCreating")
	}
	if pod.Status.Phase == corev1.PodPending || pod.Status.Phase == "" {
		return waiting(pod, name, "ContainerCreating")
	}
	return nil
}

// waitingReason is the reason in the kubelet's words: a failed image pull is told in full.
func waitingReason(w *corev1.ContainerStateWaiting) string {
	switch w.Reason {
	case "ErrImagePull", "ImagePullBackOff":
		return "trying and failing to pull image"
	case "ErrImageNeverPull", "InvalidImageName":
		return "image can't be pulled"
	}
	return w.Reason
}

func waiting(pod *corev1.Pod, name, reason string) error {
	return apierrors.NewBadRequest(fmt.Sprintf("container %q in pod %q is waiting to start: %s", name, pod.Name, reason))
}

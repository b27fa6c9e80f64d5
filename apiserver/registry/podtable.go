package registry

import (
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/api"
)

func podColumns() []metav1.TableColumnDefinition {
	spec, status := corev1.PodSpec{}.SwaggerDoc(), corev1.PodStatus{}.SwaggerDoc()
	return []metav1.TableColumnDefinition{
		name(),
		column("Ready", "string", "The aggregate readiness state of this pod for accepting traffic."),
		column("Status", "string", "The aggregate status of the containers in this pod."),
		column("Restarts", "string", "The number of times the containers in this pod have been restarted and when the last container in this pod has restarted."),
		age(),
		wide("IP", "string", status["podIP"]),
		wide("Node", "string", spec["nodeName"]),
		wide("Nominated Node", "string", status["nominatedNodeName"]),
		wide("Readiness Gates", "string", spec["readinessGates"]),
	}
}

func podRow(pod *corev1.Pod) []any {
	s := summarize(pod)
	restarts := strconv.Itoa(s.restarts)
	if s.restarts != 0 && !s.restarted.IsZero() {
		restarts = fmt.Sprintf("%d (%s ago)", s.restarts, since(metav1.NewTime(s.restarted)))
	}
	ip := pod.Status.PodIP
	if len(pod.Status.PodIPs) > 0 {
		ip = pod.Status.PodIPs[0].IP
	}
	return []any{
		pod.Name, fmt.Sprintf("%d/%d", s.ready, s.total), s.reason, restarts, since(pod.CreationTimestamp),
		orNone(ip), orNone(pod.Spec.NodeName), orNone(pod.Status.NominatedNodeName), gates(pod),
	}
}

// gates counts the readiness gates that are open.
func gates(pod *corev1.Pod) string {
	if len(pod.Spec.ReadinessGates) == 0 {
		return none
	}
	open := 0
	for _, gate := range pod.Spec.ReadinessGates {
		if hasCondition(pod, gate.ConditionType) {
			open++
		}
	}
	return fmt.Sprintf("%d/%d", open, len(pod.Spec.ReadinessGates))
}

// summary is what one line says about a pod.
type summary struct {
	reason       string
	ready, total int
	restarts     int
	restarted    time.Time // when the latest of the restarts was
}

// summarize finds the one word that tells most about a pod: the first init container that has not succeeded, else the
// first container that does not run, else the phase; and Terminating for a pod that is going away (upstream's printer).
func summarize(pod *corev1.Pod) summary {
	s := summary{reason: string(pod.Status.Phase), total: len(pod.Spec.Containers)}
	if pod.Status.Reason != "" {
		s.reason = pod.Status.Reason
	}
	for _, condition := range pod.Status.Conditions {
		if condition.Type == corev1.PodScheduled && condition.Reason == corev1.PodReasonSchedulingGated {
			s.reason = corev1.PodReasonSchedulingGated
		}
	}
	sidecars := map[string]bool{}
	for i := range pod.Spec.InitContainers {
		if api.Sidecar(&pod.Spec.InitContainers[i]) {
			sidecars[pod.Spec.InitContainers[i].Name] = true
			s.total++
		}
	}
	if initializing := s.addInit(pod, sidecars); !initializing || hasCondition(pod, corev1.PodInitialized) {
		s.addMain(pod, sidecars)
	}
	switch {
	case pod.DeletionTimestamp != nil && pod.Status.Reason == "NodeLost":
		s.reason = "Unknown"
	case pod.DeletionTimestamp != nil && !api.Finished(pod):
		s.reason = "Terminating"
	}
	return s
}

// addInit takes in the init containers and reports whether the pod is still initializing.
func (s *summary) addInit(pod *corev1.Pod, sidecars map[string]bool) bool {
	for i := range pod.Status.InitContainerStatuses {
		c := &pod.Status.InitContainerStatuses[i]
		s.count(c)
		switch state := &c.State; {
		case state.Terminated != nil && state.Terminated.ExitCode == 0:
			continue
		case sidecars[c.Name] && c.Started != nil && *c.Started:
			if c.Ready {
				s.ready++
			}
			continue
		case state.Terminated != nil:
			s.reason = "Init:" + endReason(state.Terminated)
		case state.Waiting != nil && state.Waiting.Reason != "" && state.Waiting.Reason != "PodInitializing":
			s.reason = "Init:" + state.Waiting.Reason
		default:
			s.reason = fmt.Sprintf("Init:%d/%d", i, len(pod.Spec.InitContainers))
		}
		return true
	}
	return false
}

// addMain takes in the containers proper. Once they are what counts, of the init containers only the restarts of
// sidecars do.
func (s *summary) addMain(pod *corev1.Pod, sidecars map[string]bool) {
	s.restarts, s.restarted = 0, time.Time{}
	for i := range pod.Status.InitContainerStatuses {
		if c := &pod.Status.InitContainerStatuses[i]; sidecars[c.Name] {
			s.count(c)
		}
	}
	running := false
	for i := len(pod.Status.ContainerStatuses) - 1; i >= 0; i-- { // the first container has the last word
		c := &pod.Status.ContainerStatuses[i]
		s.count(c)
		switch state := &c.State; {
		case state.Waiting != nil && state.Waiting.Reason != "":
			s.reason = state.Waiting.Reason
		case state.Terminated != nil:
			s.reason = endReason(state.Terminated)
		case c.Ready && state.Running != nil:
			running = true
			s.ready++
		}
	}
	if s.reason == "Completed" && running {
		if s.reason = "NotReady"; api.PodReady(pod) {
			s.reason = "Running"
		}
	}
}

// count adds the restarts of a container.
func (s *summary) count(c *corev1.ContainerStatus) {
	s.restarts += int(c.RestartCount)
	if last := c.LastTerminationState.Terminated; last != nil && last.FinishedAt.After(s.restarted) {
		s.restarted = last.FinishedAt.Time
	}
}

// endReason is why a container ended: the runtime's word, or its signal or code.
func endReason(t *corev1.ContainerStateTerminated) string {
	switch {
	case t.Reason != "":
		return t.Reason
	case t.Signal != 0:
		return fmt.Sprintf("Signal:%d", t.Signal)
	}
	return fmt.Sprintf("ExitCode:%d", t.ExitCode)
}

func hasCondition(pod *corev1.Pod, kind corev1.PodConditionType) bool {
	c := api.PodCondition(pod.Status.Conditions, kind)
	return c != nil && c.Status == corev1.ConditionTrue
}

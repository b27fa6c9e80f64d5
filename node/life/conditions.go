package life

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/api"
)

// conditions computes the node's conditions and leaves all others, such as PodScheduled and readiness gates, as they are.
func (v View) conditions(s *corev1.PodStatus, old []corev1.PodCondition) []corev1.PodCondition {
	containers := v.containersReady(s)
	own := []corev1.PodCondition{
		{Type: corev1.PodReadyToStartContainers, Status: boolean(len(v.ips()) > 0)},
		v.initializedCondition(s, old),
		v.readyCondition(containers, old),
		containers,
	}
	if api.PodCondition(old, corev1.PodScheduled) == nil { // a pod that was created with its node set has seen no scheduler
		own = append(own, corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionTrue})
	}
	if v.canBeginAnew() {
		own = append(own, v.restartingCondition())
	}
	own = append(own, v.resizeConditions()...)
	out := slices.DeleteFunc(slices.Clone(old), func(c corev1.PodCondition) bool {
		return (c.Type == corev1.PodResizePending || c.Type == corev1.PodResizeInProgress) && api.PodCondition(own, c.Type) == nil
	})
	for _, c := range own {
		if c.ObservedGeneration == 0 {
			c.ObservedGeneration = v.Pod.Generation
		}
		out = upsert(out, c, v)
	}
	return out
}

// upsert puts a condition in place of the one of its type. lastTransitionTime moves only with the status (rule R34).
func upsert(list []corev1.PodCondition, c corev1.PodCondition, v View) []corev1.PodCondition {
	c.LastTransitionTime = metav1.NewTime(v.Now).Rfc3339Copy()
	for i := range list {
		if list[i].Type != c.Type {
			continue
		}
		if list[i].Status == c.Status {
			c.LastTransitionTime = list[i].LastTransitionTime
		}
		c.LastProbeTime = list[i].LastProbeTime
		list[i] = c
		return list
	}
	return append(list, c)
}

func boolean(ok bool) corev1.ConditionStatus {
	if ok {
		return corev1.ConditionTrue
	}
	return corev1.ConditionFalse
}

// restartingCondition: containers are being ended so that all of the pod's begin anew.
func (v View) restartingCondition() corev1.PodCondition {
	if v.terminating() || v.finished() || !v.beginsAnew(&Plan{}) {
		return corev1.PodCondition{Type: corev1.AllContainersRestarting, Status: corev1.ConditionFalse}
	}
	return corev1.PodCondition{
		Type: corev1.AllContainersRestarting, Status: corev1.ConditionTrue,
		Reason: "RestartAllContainersStarted", Message: "container exited with restart policy rule",
	}
}

func (v View) initializedCondition(s *corev1.PodStatus, old []corev1.PodCondition) corev1.PodCondition {
	c := corev1.PodCondition{Type: corev1.PodInitialized, Status: corev1.ConditionTrue}
	if s.Phase == corev1.PodSucceeded {
		c.Reason = "PodCompleted"
		return c
	}
	if was := api.PodCondition(old, c.Type); v.initialized() || !v.Mem.Anew.IsZero() && was != nil && was.Status == c.Status {
		return c // containers that begin anew do not take back what was once reported
	}
	var open []string
	for i := range v.Pod.Spec.InitContainers {
		if spec := &v.Pod.Spec.InitContainers[i]; !v.initDone(spec) {
			open = append(open, spec.Name)
		}
	}
	c.Status, c.Reason = corev1.ConditionFalse, "ContainersNotInitialized"
	c.Message = fmt.Sprintf("containers with incomplete status: %s", names(open))
	return c
}

// containersReady: all containers, sidecars included, are ready (rule R31).
func (v View) containersReady(s *corev1.PodStatus) corev1.PodCondition {
	c := corev1.PodCondition{Type: corev1.ContainersReady, Status: corev1.ConditionFalse}
	switch s.Phase {
	case corev1.PodSucceeded:
		c.Reason = "PodCompleted"
		return c
	case corev1.PodFailed:
		c.Reason = "PodFailed"
		return c
	}
	var unready []string
	for i := range s.InitContainerStatuses {
		if st := &s.InitContainerStatuses[i]; v.isSidecar(st.Name) && !st.Ready {
			unready = append(unready, st.Name)
		}
	}
	for i := range s.ContainerStatuses {
		if st := &s.ContainerStatuses[i]; !st.Ready {
			unready = append(unready, st.Name)
		}
	}
	if len(unready) > 0 {
		c.Reason = "ContainersNotReady"
		c.Message = fmt.Sprintf("containers with unready status: %s", names(unready))
		return c
	}
	c.Status = corev1.ConditionTrue
	return c
}

// readyCondition: the containers are ready and every readiness gate is True (rule R32, KEP-580).
func (v View) readyCondition(containers corev1.PodCondition, old []corev1.PodCondition) corev1.PodCondition {
	c := containers
	c.Type = corev1.PodReady
	if c.Status != corev1.ConditionTrue {
		return c
	}
	var closed []string
	for _, gate := range v.Pod.Spec.ReadinessGates {
		if c := api.PodCondition(old, gate.ConditionType); c == nil {
			closed = append(closed, fmt.Sprintf("corresponding condition of pod readiness gate %q does not exist.", gate.ConditionType))
		} else if c.Status != corev1.ConditionTrue {
			closed = append(closed, fmt.Sprintf("the status of pod readiness gate %q is not \"True\", but %v", gate.ConditionType, c.Status))
		}
	}
	if len(closed) > 0 {
		c.Status, c.Reason, c.Message = corev1.ConditionFalse, "ReadinessGatesNotReady", strings.Join(closed, ", ")
	}
	return c
}

// names prints a list as upstream's messages do: [a b].
func names(list []string) string { return "[" + strings.Join(list, " ") + "]" }

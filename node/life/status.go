package life

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/api"
)

// Status is the pod status to report. Conditions of others and what only the API server sets are taken over from the object.
func Status(v View) corev1.PodStatus {
	old := &v.Pod.Status
	s := *old.DeepCopy()
	s.InitContainerStatuses = v.containerStatuses(v.Pod.Spec.InitContainers, old.InitContainerStatuses, true)
	s.ContainerStatuses = v.containerStatuses(v.Pod.Spec.Containers, old.ContainerStatuses, false)
	s.EphemeralContainerStatuses = v.containerStatuses(Ephemeral(v.Pod), old.EphemeralContainerStatuses, false)
	s.Phase = v.phase(&s)
	s.Reason, s.Message = "", ""
	if v.Mem.Rejected != nil {
		s.Reason, s.Message = v.Mem.Rejected.Reason, v.Mem.Rejected.Message
	} else if old.Phase == corev1.PodFailed {
		s.Reason, s.Message = old.Reason, old.Message
	}
	s.ObservedGeneration = v.Pod.Generation
	if s.QOSClass == "" {
		s.QOSClass = api.QOS(&v.Pod.Spec)
	}
	if s.StartTime == nil {
		t := metav1.NewTime(v.Mem.FirstSeen).Rfc3339Copy()
		s.StartTime = &t
	}
	s.HostIP, s.HostIPs = v.NodeIPs[0], nil
	for _, ip := range v.NodeIPs {
		s.HostIPs = append(s.HostIPs, corev1.HostIP{IP: ip})
	}
	if ips := v.ips(); len(ips) > 0 {
		s.PodIP, s.PodIPs = ips[0], nil
		for _, ip := range ips {
			s.PodIPs = append(s.PodIPs, corev1.PodIP{IP: ip})
		}
	}
	if given := v.Mem.Given.Pod; given != nil {
		s.AllocatedResources, s.Resources = given.DeepCopy().Requests, v.Mem.AppliedPod.DeepCopy()
	}
	s.Conditions = v.conditions(&s, old.Conditions)
	return s
}

// ips are the pod's addresses: the node's for hostNetwork (rule D2), else the sandbox's.
func (v View) ips() []string {
	if v.Pod.Spec.HostNetwork && v.Seen.Ready() != nil {
		return v.NodeIPs
	}
	if s := v.Seen.Ready(); s != nil {
		return s.IPs
	}
	return nil
}

func (v View) containerStatuses(specs []corev1.Container, old []corev1.ContainerStatus, init bool) []corev1.ContainerStatus {
	var out []corev1.ContainerStatus
	for i := range specs {
		c := v.containerStatus(&specs[i], find(old, specs[i].Name), init)
		v.withResources(&c)
		if v.Mem.Rejected != nil && c.ContainerID == "" {
			continue // it waits for nothing: kubelet reports no containers of a pod it does not admit
		}
		out = append(out, c)
	}
	return out
}

func find(list []corev1.ContainerStatus, name string) *corev1.ContainerStatus {
	for i := range list {
		if list[i].Name == name {
			return &list[i]
		}
	}
	return nil
}

func (v View) containerStatus(spec *corev1.Container, old *corev1.ContainerStatus, init bool) corev1.ContainerStatus {
	s := corev1.ContainerStatus{Name: spec.Name, Image: spec.Image, Started: new(bool)}
	if old != nil {
		s.LastTerminationState, s.RestartCount = old.LastTerminationState, old.RestartCount
		s.ImageID, s.ContainerID = old.ImageID, old.ContainerID
	}
	list := v.Seen.Containers[spec.Name]
	if len(list) == 0 {
		if v.kept(old) {
			return *old
		}
		s.State = v.waiting(spec, nil)
		return s
	}
	c := &list[0]
	s.RestartCount, s.Image, s.ImageID, s.ContainerID = int32(c.Attempt), c.Image, c.ImageID, containerID(c.ID)
	if len(list) > 1 && list[1].State == Exited {
		s.LastTerminationState = terminated(&list[1])
	}
	switch c.State {
	case Running:
		s.State.Running = &corev1.ContainerStateRunning{StartedAt: stamp(c.Started)}
		started := v.started(spec, c)
		s.Started = &started
		s.Ready = v.ready(spec, c)
	case Created:
		s.State = v.waiting(spec, nil)
	default:
		s.State = terminated(c)
		s.Ready = init && c.ExitCode == 0 && !api.Sidecar(spec)
		if w := v.waiting(spec, c); v.willRestart(spec, init, c) && w.Waiting.Reason != "" {
			s.LastTerminationState, s.State = s.State, w
		}
	}
	return s
}

// kept: the runtime has forgotten the container of a pod that has ended, so that the last report stands.
func (v View) kept(old *corev1.ContainerStatus) bool {
	ended := v.terminating() || api.Finished(v.Pod)
	return old != nil && ended && old.State.Terminated != nil
}

func (v View) willRestart(spec *corev1.Container, init bool, c *Container) bool {
	return !v.terminating() && !v.finished() && !v.ephemeral(spec.Name) && v.restarts(spec, init, c)
}

// waiting tells why a container does not run. For one that has ended (last) without a reason to wait it is empty.
func (v View) waiting(spec *corev1.Container, last *Container) corev1.ContainerState {
	name := spec.Name
	w := &corev1.ContainerStateWaiting{}
	failure, failing := v.Mem.Failures[name]
	switch {
	case last != nil && v.Now.Before(v.due(spec, last)):
		w.Reason = CrashLoopBackOff
		w.Message = fmt.Sprintf("back-off %v restarting failed container=%s pod=%s", formatDelay(v.Mem.Backoff[name]), name, v.podRef())
	case failing && failure.Image == spec.Image:
		w.Reason, w.Message = failure.Reason, failure.Message
	case last != nil && v.Mem.Replaced[last.ID]:
		w.Reason = "ContainerCreating" // the API does not let a container that has ended in a pod that restarts nothing come back
	case last != nil && v.outdated(last):
		w.Reason, w.Message = "RestartingAllContainers", "The container is started again because all containers of the pod are"
	case last == nil && len(v.Pod.Spec.InitContainers) > 0 && !v.initialized():
		w.Reason = "PodInitializing"
	case last == nil:
		w.Reason = "ContainerCreating"
	}
	return corev1.ContainerState{Waiting: w}
}

// formatDelay prints a delay as upstream does: 10s, 1m20s, 5m0s.
func formatDelay(d time.Duration) string { return d.Truncate(time.Second).String() }

// podRef is the form name_namespace(uid) of upstream's messages.
func (v View) podRef() string { return PodRef(v.Pod) }

// PodRef is the form name_namespace(uid) that upstream's messages name a pod by.
func PodRef(pod *corev1.Pod) string {
	return fmt.Sprintf("%s_%s(%s)", pod.Name, pod.Namespace, pod.UID)
}

func terminated(c *Container) corev1.ContainerState {
	reason := c.Reason
	if reason == "" {
		reason = "Error"
		if c.ExitCode == 0 {
			reason = "Completed"
		}
	}
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{
		ExitCode: c.ExitCode, Reason: reason, Message: c.Message,
		StartedAt: stamp(c.Started), FinishedAt: stamp(c.Finished), ContainerID: containerID(c.ID),
	}}
}

func containerID(id string) string { return "containerd://" + id }

// stamp is a time with the precision of the API: whole seconds. Else every comparison with the stored object would differ.
func stamp(t time.Time) metav1.Time {
	if t.IsZero() || t.Unix() <= 0 {
		return metav1.Time{}
	}
	return metav1.NewTime(t).Rfc3339Copy()
}

// phase follows kubelet (rule D3). A phase that is terminal stays, and is reached only when no container is alive.
func (v View) phase(s *corev1.PodStatus) corev1.PodPhase {
	if api.Finished(v.Pod) {
		return v.Pod.Status.Phase
	}
	for _, list := range v.Seen.Containers {
		for i := range list {
			if alive(&list[i]) {
				return v.livePhase(s)
			}
		}
	}
	if v.Mem.Rejected != nil {
		return corev1.PodFailed
	}
	if v.finished() || (v.terminating() && !v.Mem.Starting) {
		return outcome(s)
	}
	return v.livePhase(s)
}

// livePhase of a pod that is not finished: Running once every main container has run at least once.
func (v View) livePhase(s *corev1.PodStatus) corev1.PodPhase {
	if !v.initialized() {
		return corev1.PodPending
	}
	for i := range s.ContainerStatuses {
		if c := &s.ContainerStatuses[i]; c.State.Waiting != nil && c.LastTerminationState.Terminated == nil {
			return corev1.PodPending
		}
	}
	return corev1.PodRunning
}

// outcome is the terminal phase: Succeeded when every main container has ended with 0.
func outcome(s *corev1.PodStatus) corev1.PodPhase {
	for i := range s.ContainerStatuses {
		if t := s.ContainerStatuses[i].State.Terminated; t == nil || t.ExitCode != 0 {
			return corev1.PodFailed
		}
	}
	return corev1.PodSucceeded
}

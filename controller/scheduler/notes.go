package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/controller/scheduler/placement"
	"fairlead.dev/fairlead/kube"
)

// writers is how many pods are told at once why they have no node.
const writers = 4

// note is what is to be said of a pod that has no node, and done for it.
type note struct {
	uid types.UID
	outcome
}

// say leaves a note for the writers, who begin with the first one. A newer note for a pod takes the place of an older one, but for
// what that has to do.
func (s *Scheduler) say(ctx context.Context, pod *corev1.Pod, out outcome) {
	key := kube.Key(pod)
	s.mu.Lock()
	if before, ok := s.notes[key]; ok && before.uid == pod.UID {
		out.victims = append(before.victims, out.victims...)
		out.displaced = append(before.displaced, out.displaced...)
		if out.room == "" && !out.over {
			out.room, out.over = before.room, before.over
		}
	}
	s.notes[key] = note{pod.UID, out}
	if s.written == nil {
		s.written = kube.NewQueue[types.NamespacedName]("scheduler-notes", 10*time.Second, s.log)
		s.background.Go(func() { s.written.Work(ctx, writers, s.write) })
	}
	s.mu.Unlock()
	s.written.Add(key)
}

// write does what a pod's note says. What fails is done again, unless there is something newer to say.
func (s *Scheduler) write(ctx context.Context, key types.NamespacedName) (time.Duration, error) {
	s.mu.Lock()
	n, ok := s.notes[key]
	delete(s.notes, key)
	s.mu.Unlock()
	if !ok {
		return 0, nil
	}
	err := s.carryOut(ctx, key, n)
	if err == nil {
		return 0, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, newer := s.notes[key]; !newer {
		s.notes[key] = n
	}
	return 0, err
}

// carryOut writes the pod's status first: a scheduler that ends here is followed by one that knows for whom room is made.
func (s *Scheduler) carryOut(ctx context.Context, key types.NamespacedName, n note) error {
	pod := kube.Cached[corev1.Pod](s.pods, key)
	if pod == nil || pod.UID != n.uid || !mine(pod) || s.cluster.decided(pod.UID) {
		s.spare(n.victims)
		return nil
	}
	if err := s.tell(ctx, pod, n.outcome); err != nil {
		return err
	}
	for _, other := range n.displaced {
		if err := s.patch(ctx, other, "", map[string]any{"nominatedNodeName": nil}); err != nil {
			return err
		}
	}
	var errs []error
	for _, victim := range n.victims {
		errs = append(errs, s.evict(ctx, victim, n))
	}
	return errors.Join(errs...)
}

// spare counts pods that need not leave any more as they are.
func (s *Scheduler) spare(victims []*placement.Pod) {
	for _, victim := range victims {
		p := kube.Cached[corev1.Pod](s.pods, types.NamespacedName{Namespace: victim.Namespace, Name: victim.Name})
		if p != nil && p.UID == victim.UID && p.Spec.NodeName != "" && !api.Finished(p) {
			s.cluster.put(p)
		}
	}
}

// tell writes the condition PodScheduled=False, once a message, and for which node the pod waits.
func (s *Scheduler) tell(ctx context.Context, pod *corev1.Pod, out outcome) error {
	since, known := metav1.Now(), false
	for i := range pod.Status.Conditions {
		c := &pod.Status.Conditions[i]
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			since, known = c.LastTransitionTime, c.Reason == corev1.PodReasonUnschedulable && c.Message == out.message
		}
	}
	status := map[string]any{}
	if !known {
		status["conditions"] = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse,
			Reason: corev1.PodReasonUnschedulable, Message: out.message, LastTransitionTime: since, ObservedGeneration: pod.Generation}}
	}
	switch {
	case out.room != "" && out.room != pod.Status.NominatedNodeName:
		status["nominatedNodeName"] = out.room
	case out.room == "" && out.over:
		status["nominatedNodeName"] = nil
	}
	if len(status) == 0 {
		return nil
	}
	// Not if somebody has written the pod since, the binding above all.
	if err := s.patch(ctx, &placement.Pod{Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID}, pod.ResourceVersion, status); err != nil {
		return err
	}
	if !known {
		s.events.Event(pod, corev1.EventTypeWarning, "FailedScheduling", out.message)
	}
	return nil
}

// evict deletes a pod for another one, with its own time to end.
func (s *Scheduler) evict(ctx context.Context, victim *placement.Pod, n note) error {
	if err := s.patch(ctx, victim, "", map[string]any{"conditions": []corev1.PodCondition{{
		Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: corev1.PodReasonPreemptionByScheduler,
		Message: corev1.DefaultSchedulerName + ": preempting to accommodate a higher priority pod", LastTransitionTime: metav1.Now()}}}); err != nil {
		return err
	}
	err := s.client.CoreV1().Pods(victim.Namespace).Delete(ctx, victim.Name, metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(victim.UID))})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("preempting %s/%s: %w", victim.Namespace, victim.Name, err)
	}
	if err == nil {
		s.metrics.victims.Inc()
		object := &corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
			ObjectMeta: metav1.ObjectMeta{Namespace: victim.Namespace, Name: victim.Name, UID: victim.UID}}
		s.events.Eventf(object, corev1.EventTypeNormal, "Preempted", "Preempted by pod %s on node %s", n.uid, n.room)
	}
	return nil
}

// patch changes the status of a pod that may be gone; then there is nothing to do. With a version only of that one.
func (s *Scheduler) patch(ctx context.Context, p *placement.Pod, version string, status map[string]any) error {
	meta := map[string]any{"uid": p.UID}
	if version != "" {
		meta["resourceVersion"] = version
	}
	patch, err := json.Marshal(map[string]any{"metadata": meta, "status": status})
	if err != nil {
		return fmt.Errorf("status: %w", err)
	}
	_, err = s.client.CoreV1().Pods(p.Namespace).Patch(ctx, p.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	if apierrors.IsNotFound(err) || version == "" && apierrors.IsConflict(err) { // another pod of this name
		return nil
	}
	return err
}

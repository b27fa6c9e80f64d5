package scheduler

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"

	"fairlead.dev/fairlead/kube"
)

// mine reports whether this scheduler has to find the pod a node (rule D14).
func mine(p *corev1.Pod) bool {
	return p.Spec.NodeName == "" && p.DeletionTimestamp == nil && len(p.Spec.SchedulingGates) == 0 &&
		(p.Spec.SchedulerName == "" || p.Spec.SchedulerName == corev1.DefaultSchedulerName) && !finished(p)
}

// finished pods have given back what they used.
func finished(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// podChanged counts the pod where it is, or queues it if it has to find its place.
func (s *Scheduler) podChanged(old, p *corev1.Pod, _ bool) {
	switch {
	case p == nil:
		s.mu.Lock()
		delete(s.waiting, kube.Key(old))
		s.mu.Unlock()
		if s.cluster.remove(old.UID) {
			s.retry()
		}
	case finished(p):
		if s.cluster.remove(p.UID) {
			s.retry()
		}
	case p.Spec.NodeName != "":
		if old == nil || old.Spec.NodeName == "" || costChanged(old, p) {
			s.cluster.put(p)
		}
	case mine(p) && (old == nil || old.Generation != p.Generation || !apiequality.Semantic.DeepEqual(old.Spec, p.Spec)):
		s.queue.Add(kube.Key(p))
	}
}

// costChanged reports whether the pod must be counted anew.
func costChanged(old, p *corev1.Pod) bool {
	return (old.DeletionTimestamp == nil) != (p.DeletionTimestamp == nil) ||
		old.Generation != p.Generation || groupOf(old) != groupOf(p)
}

// nodeChanged lets waiting pods try again if the node may now take more: a
// heartbeat alone does not.
func (s *Scheduler) nodeChanged(old, n *corev1.Node, _ bool) {
	if n == nil {
		s.cluster.removeNode(old.Name)
		return
	}
	s.cluster.setNode(n)
	if old != nil && ready(old) == ready(n) && old.Spec.Unschedulable == n.Spec.Unschedulable &&
		maps.Equal(old.Labels, n.Labels) && apiequality.Semantic.DeepEqual(old.Spec.Taints, n.Spec.Taints) &&
		apiequality.Semantic.DeepEqual(old.Status.Allocatable, n.Status.Allocatable) {
		return
	}
	s.retry()
}

// retry puts every waiting pod back on the queue.
func (s *Scheduler) retry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.waiting {
		s.queue.Add(key)
	}
	clear(s.waiting)
}

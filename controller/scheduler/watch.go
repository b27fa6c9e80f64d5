package scheduler

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/controller/scheduler/placement"
	"fairlead.dev/fairlead/kube"
)

// mine reports whether this scheduler has to find the pod a node (rule D14).
func mine(p *corev1.Pod) bool { return ours(p) && len(p.Spec.SchedulingGates) == 0 }

// ours reports whether it will have to, once the pod has no gates.
func ours(p *corev1.Pod) bool {
	return p.Spec.NodeName == "" && p.DeletionTimestamp == nil &&
		(p.Spec.SchedulerName == "" || p.Spec.SchedulerName == corev1.DefaultSchedulerName) && !api.Finished(p)
}

// podChanged counts the pod where it is, or queues it if it has to find its place.
func (s *Scheduler) podChanged(old, p *corev1.Pod, _ bool) {
	switch {
	case p == nil:
		s.leave(kube.Key(old))
		if s.cluster.remove(old.UID) {
			s.retry()
		}
	case api.Finished(p):
		s.leave(kube.Key(p))
		if s.cluster.remove(p.UID) {
			s.retry()
		}
	case p.Spec.NodeName != "":
		s.leave(kube.Key(p))
		if old == nil || old.Spec.NodeName == "" || costChanged(old, p) {
			s.cluster.put(p)
		}
	case !mine(p):
		s.leave(kube.Key(p))
	case old == nil || old.Generation != p.Generation || !apiequality.Semantic.DeepEqual(old.Spec, p.Spec):
		s.enter(kube.Key(p))
	}
}

// costChanged reports whether the pod must be counted anew.
func costChanged(old, p *corev1.Pod) bool {
	return (old.DeletionTimestamp == nil) != (p.DeletionTimestamp == nil) ||
		old.Generation != p.Generation || placement.GroupOf(old) != placement.GroupOf(p)
}

// nodeChanged lets waiting pods try again if the node may now take more: a
// heartbeat alone does not.
func (s *Scheduler) nodeChanged(old, n *corev1.Node, _ bool) {
	if n == nil {
		s.cluster.removeNode(old.Name)
		return
	}
	s.cluster.setNode(n)
	if old != nil && api.NodeReady(old) == api.NodeReady(n) && old.Spec.Unschedulable == n.Spec.Unschedulable &&
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
	for key, p := range s.pending {
		if p.queue == unschedulable {
			p.queue = active
			s.queue.Add(key)
		}
	}
}

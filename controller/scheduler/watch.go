package scheduler

import (
	"maps"
	"time"

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
			s.retry(placement.PodGone)
		}
	case api.Finished(p):
		s.leave(kube.Key(p))
		if s.cluster.remove(p.UID) {
			s.retry(placement.PodGone)
		}
	case p.Spec.NodeName != "":
		s.leave(kube.Key(p))
		s.counted(old, p)
	case !mine(p):
		s.leave(kube.Key(p))
		if s.cluster.nominated(p, "") { // it waited for room that others may have now
			s.retry(placement.PodGone)
		}
	default:
		if old == nil || old.Status.NominatedNodeName != p.Status.NominatedNodeName {
			s.cluster.nominated(p, p.Status.NominatedNodeName)
		}
		if old == nil || old.Generation != p.Generation || !maps.Equal(old.Labels, p.Labels) || !apiequality.Semantic.DeepEqual(old.Spec, p.Spec) {
			s.enter(turnOf(p))
		}
	}
}

// counted counts a pod that has a node, if it counts otherwise than before.
func (s *Scheduler) counted(old, p *corev1.Pod) {
	switch {
	case old == nil || old.Spec.NodeName == "" || !maps.Equal(old.Labels, p.Labels):
		s.cluster.put(p)
		s.retry(placement.PodCame)
	case old.DeletionTimestamp == nil && p.DeletionTimestamp != nil:
		s.cluster.put(p)
		s.retry(placement.PodGone) // of those over which pods are spread
	case costChanged(old, p):
		s.cluster.put(p)
		s.retry(placement.PodGone) // or has become smaller
	}
}

// costChanged reports whether the pod must be counted anew.
func costChanged(old, p *corev1.Pod) bool {
	return old.Generation != p.Generation || old.Status.StartTime == nil && p.Status.StartTime != nil ||
		resized(old) || placement.GroupOf(old) != placement.GroupOf(p)
}

// resized reports whether the pod's resources are other than its spec says.
func resized(p *corev1.Pod) bool {
	for i := range p.Status.Conditions {
		if t := p.Status.Conditions[i].Type; t == corev1.PodResizePending || t == corev1.PodResizeInProgress {
			return true
		}
	}
	return false
}

// nodeChanged lets waiting pods try again if the node may now take more: a
// heartbeat alone does not.
func (s *Scheduler) nodeChanged(old, n *corev1.Node, _ bool) {
	if n == nil {
		s.cluster.removeNode(old.Name)
		s.retry(placement.NodeChanged)
		return
	}
	s.cluster.setNode(n)
	if old != nil && api.NodeReady(old) == api.NodeReady(n) && old.Spec.Unschedulable == n.Spec.Unschedulable &&
		maps.Equal(old.Labels, n.Labels) && apiequality.Semantic.DeepEqual(old.Spec.Taints, n.Spec.Taints) &&
		apiequality.Semantic.DeepEqual(old.Status.Allocatable, n.Status.Allocatable) {
		return
	}
	s.retry(placement.NodeChanged)
}

// retry puts the waiting pods that the change may help back on the queue, those that have just been looked at after a pause.
func (s *Scheduler) retry(change placement.Change) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.pending {
		if p.queue != unschedulable || p.heals&change == 0 {
			continue
		}
		if wait := time.Until(p.tried.Add(p.pause())); wait > 0 {
			p.queue = backoff
			s.queue.AddAfter(p.turn, wait)
			continue
		}
		p.queue = active
		s.queue.Add(p.turn)
	}
}

package schedule

import (
	"fmt"
	"maps"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
)

// watch registers the handlers, which keep the cluster and feed the queue.
func (s *Scheduler) watch() {
	s.listed = append(s.listed, handle(s.nodes, s.nodeChanged, func(n *corev1.Node) {
		s.cluster.removeNode(n.Name)
	}))
	s.listed = append(s.listed, handle(s.pods, s.podChanged, func(p *corev1.Pod) {
		s.mu.Lock()
		delete(s.waiting, keyOf(p))
		s.mu.Unlock()
		if s.cluster.remove(p.UID) {
			s.retry()
		}
	}))
}

// handle calls changed for each new or changed object (old is nil when it is new)
// and gone for each that is deleted. What it returns tells whether the whole
// first list has been handed to changed.
func handle[T any](informer cache.SharedIndexInformer, changed func(old, obj *T), gone func(*T)) cache.InformerSynced {
	reg, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(obj any) { changed(nil, obj.(*T)) },
		UpdateFunc: func(old, obj any) { changed(old.(*T), obj.(*T)) },
		DeleteFunc: func(obj any) {
			if last, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = last.Obj
			}
			if t, ok := obj.(*T); ok {
				gone(t)
			}
		},
	})
	if err != nil {
		panic(fmt.Sprintf("BUG: schedule: %v", err)) // the informer was stopped before New
	}
	return reg.HasSynced
}

func keyOf(p *corev1.Pod) types.NamespacedName {
	return types.NamespacedName{Namespace: p.Namespace, Name: p.Name}
}

// mine reports whether this scheduler has to find the pod a node (rule D14).
func mine(p *corev1.Pod) bool {
	return p.Spec.NodeName == "" && p.DeletionTimestamp == nil && len(p.Spec.SchedulingGates) == 0 &&
		(p.Spec.SchedulerName == "" || p.Spec.SchedulerName == corev1.DefaultSchedulerName) && !finished(p)
}

// finished pods have given back what they used.
func finished(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

func (s *Scheduler) podChanged(old, p *corev1.Pod) {
	switch {
	case finished(p):
		if s.cluster.remove(p.UID) {
			s.retry()
		}
	case p.Spec.NodeName != "":
		if old == nil || old.Spec.NodeName == "" || costChanged(old, p) {
			s.cluster.put(p, p.Spec.NodeName)
		}
	case mine(p) && (old == nil || old.Generation != p.Generation || !apiequality.Semantic.DeepEqual(old.Spec, p.Spec)):
		s.queue.Add(keyOf(p))
	}
}

// costChanged reports whether the pod must be counted anew.
func costChanged(old, p *corev1.Pod) bool {
	return (old.DeletionTimestamp == nil) != (p.DeletionTimestamp == nil) ||
		old.Generation != p.Generation || groupOf(old) != groupOf(p)
}

// nodeChanged lets waiting pods try again if the node may now take more: a
// heartbeat alone does not.
func (s *Scheduler) nodeChanged(old, n *corev1.Node) {
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

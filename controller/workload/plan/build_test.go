package plan

import (
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// epoch is the time of the tests' world.
var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(seconds int) metav1.Time {
	return metav1.NewTime(epoch.Add(time.Duration(seconds) * time.Second))
}

func ptr[T any](v T) *T { return &v }

// replicaSet is a ReplicaSet named name for pods labelled app=name.
func replicaSet(name string, replicas int32) *appsv1.ReplicaSet {
	l := map[string]string{"app": name}
	return &appsv1.ReplicaSet{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID("uid-" + name), Generation: 1, CreationTimestamp: at(0)},
		Spec: appsv1.ReplicaSetSpec{
			Replicas: ptr(replicas), Selector: &metav1.LabelSelector{MatchLabels: l},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: l}},
		},
	}
}

// podOf is a running, ready pod of rs.
func podOf(rs *appsv1.ReplicaSet, name string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := NewPod(rs)
	p.Name, p.UID, p.CreationTimestamp = name, types.UID("uid-"+name), at(0)
	p.Spec.NodeName = "node1"
	p.Status.Phase = corev1.PodRunning
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: at(0)}}
	for _, f := range change {
		f(p)
	}
	return p
}

func notReady(p *corev1.Pod)    { p.Status.Conditions[0].Status = corev1.ConditionFalse }
func pending(p *corev1.Pod)     { p.Status.Phase = corev1.PodPending; notReady(p) }
func unassigned(p *corev1.Pod)  { p.Spec.NodeName = ""; pending(p) }
func failed(p *corev1.Pod)      { p.Status.Phase = corev1.PodFailed; notReady(p) }
func terminating(p *corev1.Pod) { p.DeletionTimestamp = ptr(at(1)) }
func orphan(p *corev1.Pod)      { p.OwnerReferences = nil }
func readyAt(s int) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Status.Conditions[0].LastTransitionTime = at(s) }
}
func createdAt(s int) func(*corev1.Pod) { return func(p *corev1.Pod) { p.CreationTimestamp = at(s) } }
func onNode(n string) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Spec.NodeName = n } }
func cost(c string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Annotations = map[string]string{deletionCostKey: c} }
}
func restarted(n int32) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Status.ContainerStatuses = []corev1.ContainerStatus{{RestartCount: n}} }
}
func labelled(k, v string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Labels = map[string]string{k: v} }
}

func names[T metav1.Object](objs []T) string {
	out := ""
	for _, o := range objs {
		out += o.GetName() + " "
	}
	return out
}

// deployment is a Deployment named web with the image.
func deployment(replicas int32, image string) *appsv1.Deployment {
	l := map[string]string{"app": "web"}
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web", Namespace: "default", UID: "uid-web", Generation: 1},
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr(replicas), Selector: &metav1.LabelSelector{MatchLabels: l},
			ProgressDeadlineSeconds: ptr(int32(600)), RevisionHistoryLimit: ptr(int32(10)),
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType, RollingUpdate: &appsv1.RollingUpdateDeployment{
				MaxSurge: ptr(intstr.FromString("25%")), MaxUnavailable: ptr(intstr.FromString("25%")),
			}},
			Template: corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: l},
				Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: image}}}},
		},
	}
}

func strategy(d *appsv1.Deployment, surge, unavailable string) {
	d.Spec.Strategy.RollingUpdate = &appsv1.RollingUpdateDeployment{
		MaxSurge: ptr(intstr.Parse(surge)), MaxUnavailable: ptr(intstr.Parse(unavailable)),
	}
}

// setOf is d's ReplicaSet for the image, as created at revision, with replicas of
// which available are available.
func setOf(d *appsv1.Deployment, image string, revision int, replicas, available int32) *appsv1.ReplicaSet {
	other := d.DeepCopy()
	other.Spec.Template.Spec.Containers[0].Image = image
	rs := newRollout(other, nil, epoch).newReplicaSet()
	rs.UID, rs.Generation, rs.CreationTimestamp = types.UID("uid-"+rs.Name), 1, at(revision)
	rs.Annotations[RevisionKey] = fmt.Sprint(revision)
	rs.Annotations[desiredKey] = fmt.Sprint(*d.Spec.Replicas)
	rs.Spec.Replicas = ptr(replicas)
	rs.Status = appsv1.ReplicaSetStatus{Replicas: replicas, ReadyReplicas: available, AvailableReplicas: available, ObservedGeneration: 1}
	return rs
}

package registry

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/storage"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/api"
)

func pods() *kind[*corev1.Pod] {
	return &kind[*corev1.Pod]{
		plural: "pods", singular: "pod", short: []string{"po"}, categories: []string{"all"}, returns: true,
		new:            func() *corev1.Pod { return &corev1.Pod{} },
		list:           func() runtime.Object { return &corev1.PodList{} },
		prepare:        preparePod,
		prepareUpdate:  preparePodUpdate,
		validate:       validatePod,
		validateUpdate: validatePodUpdate,
		warn: func(pod, _ *corev1.Pod) []string {
			return podWarnings(&pod.ObjectMeta, &pod.Spec, field.NewPath("spec"))
		},
		prepareStatus: preparePodStatus,
		selectable:    podFields,
		triggers: storage.IndexerFuncs{"spec.nodeName": func(obj runtime.Object) string {
			return obj.(*corev1.Pod).Spec.NodeName // each node agent watches the pods of its node
		}},
		grace:   podGrace,
		columns: podColumns(),
		row:     podRow,
	}
}

// preparePod gives a new pod the state of one that nobody has looked at yet, and five minutes to stay on a node that is lost.
func preparePod(_ context.Context, pod *corev1.Pod) {
	pod.Generation = 1 // rule D11
	pod.Status = corev1.PodStatus{Phase: corev1.PodPending, QOSClass: api.QOS(&pod.Spec)}
	if len(pod.Spec.SchedulingGates) > 0 {
		pod.Status.Conditions = []corev1.PodCondition{{
			Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonSchedulingGated,
			Message: "Scheduling is blocked due to non-empty scheduling gates",
		}}
	}
	pod.Spec.DeprecatedServiceAccount = pod.Spec.ServiceAccountName
	tolerateLostNodes(&pod.Spec)
}

// tolerateLostNodes is upstream's plugin DefaultTolerationSeconds. It works on updates too: a pod that is replaced by the manifest
// it was made from has not lost its tolerations.
func tolerateLostNodes(spec *corev1.PodSpec) {
	addToleration(spec, corev1.TaintNodeNotReady)
	addToleration(spec, corev1.TaintNodeUnreachable)
}

// ClassPriority is the priority of a class: of none, and of the two that every cluster has.
func ClassPriority(class string) (int32, bool) {
	switch class {
	case "":
		return 0, true
	case "system-node-critical":
		return 2000001000, true
	case "system-cluster-critical":
		return 2000000000, true
	}
	return 0, false
}

// addToleration lets a pod stay on a node with the taint for 300 s, unless the pod says something about the taint.
func addToleration(spec *corev1.PodSpec, taint string) {
	for _, t := range spec.Tolerations {
		if (t.Key == taint || t.Key == "") && (t.Effect == corev1.TaintEffectNoExecute || t.Effect == "") {
			return
		}
	}
	spec.Tolerations = append(spec.Tolerations, corev1.Toleration{
		Key: taint, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: ptr.To[int64](300),
	})
}

func preparePodUpdate(_ context.Context, pod, old *corev1.Pod) {
	pod.Status = old.Status
	tolerateLostNodes(&pod.Spec)
	if pod.Spec.Priority == nil { // plugin Priority: what it filled in stays
		pod.Spec.Priority = old.Spec.Priority
	}
	if pod.Spec.PreemptionPolicy == nil {
		pod.Spec.PreemptionPolicy = old.Spec.PreemptionPolicy
	}
	if !samePodSpec(&pod.Spec, &old.Spec) {
		pod.Generation = old.Generation + 1
	}
}

// preparePodStatus lets a status write change the status and metadata, except that it cannot delete the pod or change
// whose it is.
func preparePodStatus(_ context.Context, pod, old *corev1.Pod) {
	pod.Spec = old.Spec
	pod.DeletionTimestamp = nil
	pod.OwnerReferences = old.OwnerReferences
	setDefault(&pod.Status.QOSClass, old.Status.QOSClass)
	syncPodIPs(&pod.Status)
}

// syncPodIPs makes podIP the first of podIPs and hostIP the first of hostIPs (rule D3) for agents that write one of
// the two.
func syncPodIPs(s *corev1.PodStatus) {
	switch {
	case len(s.PodIPs) == 0 && s.PodIP != "", s.PodIP != "" && s.PodIPs[0].IP != s.PodIP:
		s.PodIPs = []corev1.PodIP{{IP: s.PodIP}}
	case len(s.PodIPs) > 0:
		s.PodIP = s.PodIPs[0].IP
	}
	switch {
	case len(s.HostIPs) == 0 && s.HostIP != "", s.HostIP != "" && s.HostIPs[0].IP != s.HostIP:
		s.HostIPs = []corev1.HostIP{{IP: s.HostIP}}
	case len(s.HostIPs) > 0:
		s.HostIP = s.HostIPs[0].IP
	}
}

// podGrace decides how long a deleted pod may take to stop (rules D5, D6). A pod no node has, or one that has ended, is
// removed at once: nobody would confirm its end.
func podGrace(pod *corev1.Pod, options *metav1.DeleteOptions) bool {
	period := ptr.Deref(pod.Spec.TerminationGracePeriodSeconds, 0)
	if options.GracePeriodSeconds != nil {
		period = *options.GracePeriodSeconds
	}
	if pod.Spec.NodeName == "" || api.Finished(pod) {
		period = 0
	}
	if period < 0 {
		period = 1
	}
	options.GracePeriodSeconds = &period
	return true
}

func podFields(pod *corev1.Pod, set fields.Set) {
	ips := make([]string, len(pod.Status.PodIPs))
	for i := range pod.Status.PodIPs {
		ips[i] = pod.Status.PodIPs[i].IP
	}
	set["spec.nodeName"] = pod.Spec.NodeName
	set["spec.restartPolicy"] = string(pod.Spec.RestartPolicy)
	set["spec.schedulerName"] = pod.Spec.SchedulerName
	set["spec.serviceAccountName"] = pod.Spec.ServiceAccountName
	set["spec.hostNetwork"] = boolString(pod.Spec.HostNetwork)
	set["status.phase"] = string(pod.Status.Phase)
	set["status.podIP"] = pod.Status.PodIP
	set["status.podIPs"] = strings.Join(ips, ",")
	set["status.nominatedNodeName"] = pod.Status.NominatedNodeName
}

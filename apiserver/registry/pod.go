package registry

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/storage"
	core "k8s.io/kubernetes/pkg/apis/core"
	convert "k8s.io/kubernetes/pkg/apis/core/v1"
	"k8s.io/kubernetes/pkg/registry/core/pod"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/api"
)

var podRules = foreign[*corev1.Pod, *core.Pod]{
	strategy: pod.Strategy, status: pod.StatusStrategy, new: func() *core.Pod { return &core.Pod{} },
	in: convert.Convert_v1_Pod_To_core_Pod, out: convert.Convert_core_Pod_To_v1_Pod,
}

func pods() *kind[*corev1.Pod] {
	return admitted(ofPods(adopt(podRules, kind[*corev1.Pod]{
		plural: "pods", singular: "pod", short: []string{"po"}, categories: []string{"all"}, returns: true,
		new: func() *corev1.Pod { return &corev1.Pod{} }, list: func() runtime.Object { return &corev1.PodList{} },
		selectable: podFields,
		triggers: storage.IndexerFuncs{"spec.nodeName": func(obj runtime.Object) string {
			return obj.(*corev1.Pod).Spec.NodeName // each node agent watches the pods of its node
		}},
		grace: podGrace,
	}), func(p *corev1.Pod) *corev1.PodSpec { return &p.Spec }, "spec"))
}

// ephemeral is the row of pods for the ephemeralcontainers subresource (KEP-277), by which kubectl debug adds a container to a
// running pod. Nothing else of the pod changes.
func ephemeral() *kind[*corev1.Pod] {
	k := pods()
	return refusingToo(podRules.part(k, pod.EphemeralContainersStrategy), undone(func(p *corev1.Pod) *corev1.PodSpec { return &p.Spec }, "spec"))
}

// admitted does for a pod what upstream's admission does: five minutes to stay on a node that is lost, and a priority that stays.
func admitted(k *kind[*corev1.Pod]) *kind[*corev1.Pod] {
	prepare, prepareUpdate := k.prepare, k.prepareUpdate
	k.prepare = func(ctx context.Context, p *corev1.Pod) {
		p.Spec.DeprecatedServiceAccount = p.Spec.ServiceAccountName
		tolerateLostNodes(&p.Spec)
		prepare(ctx, p)
	}
	k.prepareUpdate = func(ctx context.Context, p, old *corev1.Pod) {
		tolerateLostNodes(&p.Spec)
		if p.Spec.Priority == nil { // plugin Priority: what it filled in stays
			p.Spec.Priority = old.Spec.Priority
		}
		if p.Spec.PreemptionPolicy == nil {
			p.Spec.PreemptionPolicy = old.Spec.PreemptionPolicy
		}
		prepareUpdate(ctx, p, old)
	}
	return k
}

// tolerateLostNodes is upstream's plugin DefaultTolerationSeconds. It works on updates too: a pod that is replaced by the manifest
// it was made from has not lost its tolerations.
func tolerateLostNodes(spec *corev1.PodSpec) {
	addToleration(spec, corev1.TaintNodeNotReady)
	addToleration(spec, corev1.TaintNodeUnreachable)
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

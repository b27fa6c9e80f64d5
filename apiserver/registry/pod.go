package registry

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/apiserver/pkg/storage"
	core "k8s.io/kubernetes/pkg/apis/core"
	convert "k8s.io/kubernetes/pkg/apis/core/v1"
	"k8s.io/kubernetes/pkg/registry/core/pod"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/api"
)

var podRules = foreign[*corev1.Pod, *core.Pod]{
	strategy: pod.Strategy, status: pod.StatusStrategy,
	in: convert.Convert_v1_Pod_To_core_Pod, out: convert.Convert_core_Pod_To_v1_Pod,
}

func pods() *kind[*corev1.Pod] {
	return ofPods(adopt(podRules, kind[*corev1.Pod]{
		plural: "pods", singular: "pod", short: []string{"po"}, categories: []string{"all"}, returns: true,
		list:       func() runtime.Object { return &corev1.PodList{} },
		selectable: podFields,
		triggers: storage.IndexerFuncs{"spec.nodeName": func(obj runtime.Object) string {
			return obj.(*corev1.Pod).Spec.NodeName // each node agent watches the pods of its node
		}},
		grace: podGrace,
	}), func(p *corev1.Pod) *corev1.PodSpec { return &p.Spec }, "spec")
}

// podPart is the row of pods for a subresource of which upstream has a strategy of its own and that changes nothing else of the pod:
// ephemeralcontainers (KEP-277), by which kubectl debug adds a container to a running pod, and resize (KEP-1287), by which what its
// containers ask for is changed.
func podPart(s rest.RESTUpdateStrategy) *kind[*corev1.Pod] {
	return refusingToo(podRules.part(pods(), s), undone(func(p *corev1.Pod) *corev1.PodSpec { return &p.Spec }, "spec"))
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

package why

//lint:file-ignore SA1019 v1 Endpoints are still what older clients read.

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/api"
)

// selected judges a Service whose selector chooses its endpoints.
func (v View) selected() []Finding {
	if len(v.Pods) == 0 {
		return []Finding{v.noPods()}
	}
	var all []Finding
	if !slices.ContainsFunc(v.Pods, v.receives) {
		all = append(all, v.noneReady())
	}
	if f, wrong := v.unusable(); wrong {
		all = append(all, f)
	}
	for i := range v.Service.Spec.Ports {
		if f, wrong := v.noSuchPort(&v.Service.Spec.Ports[i]); wrong {
			all = append(all, f)
		}
	}
	if ep := v.Endpoints; ep != nil && ep.Annotations[corev1.EndpointsOverCapacity] != "" {
		listed := 0
		for i := range ep.Subsets {
			listed += len(ep.Subsets[i].Addresses) + len(ep.Subsets[i].NotReadyAddresses)
		}
		all = append(all, Finding{Code: "EndpointsTruncated", Harmless: true, After: written, Sentence: fmt.Sprintf(
			"Endpoints %s lists %d of the %s that the selector matches: who reads Endpoints misses the others",
			ep.Name, listed, count(len(v.Pods), "pod")), Remedy: "Read EndpointSlices, as proxies and DNS do, which have all"})
	}
	return all
}

// noPods is about a selector that matches nothing.
func (v View) noPods() Finding {
	svc := v.Service
	text := fmt.Sprintf("no pod in namespace %s has the labels of spec.selector: %s", svc.Namespace, labels(svc.Spec.Selector))
	var pairs []string
	for key, value := range svc.Spec.Selector {
		pair := key + "=" + value
		if n, known := v.NearMisses.Pairs[pair]; known && len(svc.Spec.Selector) > 1 {
			have := "none"
			if n > 0 {
				have = count(n, "pod")
			}
			pairs = append(pairs, pair+": "+have)
		}
	}
	slices.Sort(pairs)
	if len(pairs) > 0 {
		text += " (" + strings.Join(pairs, "; ") + ")"
	}
	if names := v.NearMisses.Namespaces; len(names) > 0 {
		return Finding{Code: "NoMatchingPods", After: written, Sentence: fmt.Sprintf("%s. Pods with these labels are in namespace %s, and a Service selects pods of its own namespace only",
			text, several(names)), Remedy: "Create it there"}
	}
	return Finding{Code: "NoMatchingPods", After: written, Sentence: text,
		Remedy: "Create the pods, or correct the selector or the labels of the pods"}
}

// receives reports whether a pod gets new connections.
func (v View) receives(pod *corev1.Pod) bool {
	if api.Finished(pod) || !v.addressed(pod) {
		return false
	}
	return v.Service.Spec.PublishNotReadyAddresses || api.PodReady(pod) && pod.DeletionTimestamp == nil
}

// addressed reports whether a pod has an address of one of the Service's families.
func (v View) addressed(pod *corev1.Pod) bool {
	return slices.ContainsFunc(api.Families(v.Service), func(family corev1.IPFamily) bool {
		return len(api.PodAddresses(pod, family)) > 0
	})
}

// noneReady is about pods of which none gets traffic.
func (v View) noneReady() Finding {
	pods := slices.SortedFunc(slices.Values(v.Pods), func(a, b *corev1.Pod) int { return cmp.Compare(a.Name, b.Name) })
	var states []string
	for _, pod := range pods {
		states = append(states, pod.Name+" "+v.state(pod))
	}
	verb := "matches %s and none of them is ready"
	if len(pods) == 1 {
		verb = "matches %s and it is not ready"
	}
	return Finding{Code: "NoReadyPods", After: starting, Sentence: fmt.Sprintf("the selector "+verb+": %s", count(len(pods), "pod"), several(states)),
		Remedy: fmt.Sprintf("See kubectl describe pod %s -n %s", pods[0].Name, pods[0].Namespace)}
}

// unusable is about addresses in the status of pods that no endpoint can be.
func (v View) unusable() (Finding, bool) {
	var found []string
	for _, pod := range v.Pods {
		if !api.Finished(pod) {
			for _, text := range api.UnusablePodAddresses(pod) {
				found = append(found, fmt.Sprintf("%s of pod %s", cmp.Or(trimmed(text), "an empty one"), pod.Name))
			}
		}
	}
	if len(found) == 0 {
		return Finding{}, false
	}
	slices.Sort(found)
	return Finding{Code: "UnusableAddress", After: written, Sentence: fmt.Sprintf(
		"%s in status.podIPs: nobody can be reached there, so it is no endpoint", several(found)),
		Remedy: "What runs the pod, or who wrote its status, has to give an address of the pod network"}, true
}

// state says why a pod gets no traffic.
func (v View) state(pod *corev1.Pod) string {
	switch {
	case api.Finished(pod):
		return fmt.Sprintf("has ended (%s)", pod.Status.Phase)
	case pod.DeletionTimestamp != nil:
		return "is being deleted"
	case len(pod.Status.PodIPs) > 0 && !v.addressed(pod):
		return fmt.Sprintf("has no address of family %s, which spec.ipFamilies asks for", several(texts(api.Families(v.Service))))
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return trimmed("is not scheduled: " + c.Message)
		}
	}
	for _, c := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		if w := c.State.Waiting; w != nil && w.Reason != "" && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" {
			return fmt.Sprintf("is not ready (container %s: %s)", c.Name, w.Reason)
		}
	}
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady && c.Message != "" {
			return trimmed("is not ready (" + c.Message + ")")
		}
	}
	return fmt.Sprintf("is not ready (phase %s)", cmp.Or(pod.Status.Phase, corev1.PodPending))
}

// trimmed cuts what others have written to a length that leaves room for more.
func trimmed(text string) string {
	const limit = 150
	if len(text) > limit {
		return strings.ToValidUTF8(text[:limit], "") + "..."
	}
	return text
}

func texts[T ~string](list []T) []string {
	var all []string
	for _, t := range list {
		all = append(all, string(t))
	}
	return all
}

// noSuchPort is about a target port that is a name, and pods without a port of this name.
func (v View) noSuchPort(port *corev1.ServicePort) (Finding, bool) {
	var without []string
	var have []string
	pods := 0
	for _, pod := range v.Pods {
		if api.Finished(pod) || pod.DeletionTimestamp != nil {
			continue
		}
		pods++
		if _, found := api.TargetPort(pod, port); !found {
			without = append(without, pod.Name)
			have = append(have, containerPorts(pod)...)
		}
	}
	if len(without) == 0 {
		return Finding{}, false
	}
	slices.Sort(without)
	who, get := fmt.Sprintf("no container of the %s that the selector matches has", count(pods, "pod")), "it has no endpoint"
	if len(without) < pods {
		who = fmt.Sprintf("%d of the %d pods that the selector matches (%s) have no container with", len(without), pods, several(without))
		get = "they get no connections to it"
	}
	named := "They name no port"
	if have = unique(have); len(have) > 0 {
		named = "Their ports are " + several(have)
	}
	return Finding{Code: "NoSuchTargetPort", About: portName(port.Name, port.Port, port.Protocol), After: starting, Sentence: fmt.Sprintf(
		"port %s has targetPort %q, and %s a %s port of that name: %s. %s",
		portName(port.Name, port.Port, port.Protocol), port.TargetPort.StrVal, who, api.Protocol(port.Protocol), get, named),
		Remedy: "Correct targetPort, or name the port of the container"}, true
}

// containerPorts prints the named ports that a Service could refer to.
func containerPorts(pod *corev1.Pod) []string {
	var all []string
	for c := range api.ServingContainers(&pod.Spec) {
		for _, p := range c.Ports {
			if p.Name != "" {
				all = append(all, portName(p.Name, p.ContainerPort, p.Protocol))
			}
		}
	}
	return all
}

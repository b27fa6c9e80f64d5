package life

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Ephemeral are the containers that were added to a running pod to look at the others (KEP-277), as containers like any other.
func Ephemeral(pod *corev1.Pod) []corev1.Container {
	var out []corev1.Container
	for i := range pod.Spec.EphemeralContainers {
		out = append(out, corev1.Container(pod.Spec.EphemeralContainers[i].EphemeralContainerCommon))
	}
	return out
}

// ephemeral tells whether a container was added to the running pod. Such a one is never started again.
func (v View) ephemeral(name string) bool {
	return slices.ContainsFunc(v.Pod.Spec.EphemeralContainers, func(c corev1.EphemeralContainer) bool { return c.Name == name })
}

// startEphemeral starts the containers that were added to the pod. Each is started once: it is there to be looked through.
func (v View) startEphemeral(p *Plan) {
	added := Ephemeral(v.Pod)
	for i := range added {
		if last := v.Seen.Newest(added[i].Name); last == nil || last.State == Created {
			v.startIfDue(p, &added[i], false)
		}
	}
}

package cluster

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/network/world"
)

// routed tells whether a Service has a pod as an endpoint that is ready and does not terminate, as far as the world knows: what it
// returns for a pod is nil if there is none, and else looks at those again.
func routed(w *world.World) func(*corev1.Pod) func() bool {
	return func(pod *corev1.Pod) func() bool {
		sends := func(service types.NamespacedName) bool {
			_, list := w.Service(service)
			return slices.ContainsFunc(list, func(s *discoveryv1.EndpointSlice) bool {
				return slices.ContainsFunc(s.Endpoints, func(e discoveryv1.Endpoint) bool { return sentTo(&e, pod) })
			})
		}
		var by []types.NamespacedName
		for _, name := range w.Services() {
			if name.Namespace == pod.Namespace && sends(name) {
				by = append(by, name)
			}
		}
		if len(by) == 0 {
			return nil
		}
		return func() bool { return slices.ContainsFunc(by, sends) }
	}
}

func sentTo(e *discoveryv1.Endpoint, pod *corev1.Pod) bool {
	c := &e.Conditions
	return e.TargetRef != nil && e.TargetRef.UID == pod.UID && (c.Ready == nil || *c.Ready) && (c.Terminating == nil || !*c.Terminating)
}

package api

//lint:file-ignore SA1019 v1 Endpoints are deprecated for new clients; people still write them.

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// MirrorLimit is how many addresses of one subset are mirrored (rule E106).
const MirrorLimit = 1000

// Mirrored reports whether an Endpoints object is somebody's own and has to be mirrored into slices: there is a Service of its
// name that has no selector, and the object is neither marked to be skipped nor a lock (rules E100 and E110). Either argument
// may be nil.
func Mirrored(ep *corev1.Endpoints, svc *corev1.Service) bool {
	return ep != nil && svc != nil && len(svc.Spec.Selector) == 0 && ep.DeletionTimestamp == nil &&
		!Lock(ep) && ep.Labels[discoveryv1.LabelSkipMirror] != "true"
}

// Lock reports whether an Endpoints object is a lock of leader election and has nothing to do with a Service (rule E34).
func Lock(ep *corev1.Endpoints) bool {
	_, lock := ep.Annotations[AnnotationLeader]
	return lock
}

// ByHand reports whether a slice is a person's: no controller made it.
func ByHand(slice *discoveryv1.EndpointSlice) bool {
	switch slice.Labels[discoveryv1.LabelManagedBy] {
	case SlicesManager, MirrorManager:
		return false
	}
	return metav1.GetControllerOfNoCopy(slice) == nil && slice.DeletionTimestamp == nil
}

// ServiceOf names the Service whose endpoints a slice has. Its Name is empty when the slice names none.
func ServiceOf(slice *discoveryv1.EndpointSlice) types.NamespacedName {
	return types.NamespacedName{Namespace: slice.Namespace, Name: slice.Labels[discoveryv1.LabelServiceName]}
}

// EndpointReady reports whether an endpoint gets new connections; unset means yes, as discovery/v1 documents it. One that is
// published regardless of its readiness says that it is ready.
func EndpointReady(c *discoveryv1.EndpointConditions) bool { return c.Ready == nil || *c.Ready }

// EndpointDraining reports whether an endpoint still serves though it is being deleted: good enough when none is ready. An unset
// serving means yes, an unset terminating no.
func EndpointDraining(c *discoveryv1.EndpointConditions) bool {
	return (c.Serving == nil || *c.Serving) && c.Terminating != nil && *c.Terminating
}

// MaxWeight is the largest weight of a slice, that of a backend in Gateway API.
const MaxWeight = 1000000

// Weight is what a slice's endpoints get together of new connections, and the name that those which share it have in common. It is
// given unless the annotation is missing, or no number from 0 to MaxWeight.
func Weight(slice *discoveryv1.EndpointSlice) (weight uint64, group string, given bool) {
	text, is := slice.Annotations[AnnotationWeight]
	if !is {
		return 1, slice.Name, false
	}
	group = slice.Name
	if name := slice.Annotations[AnnotationWeightGroup]; name != "" {
		group = "group " + name
	}
	weight, err := strconv.ParseUint(text, 10, 32)
	if err != nil || weight > MaxWeight {
		return 1, slice.Name, false
	}
	return weight, group, true
}

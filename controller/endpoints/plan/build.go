package plan

import (
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// build is step 9 of Slices: it makes the objects to write.
func (t *template) build(plans []*slicePlan, trigger time.Time) Changes {
	var plan Changes
	for _, s := range plans {
		switch {
		case s.retired && s.object != nil:
			plan.Delete = append(plan.Delete, s.object)
		case s.retired || !s.dirty:
		case s.object == nil:
			plan.Create = append(plan.Create, t.object(s, trigger))
		default:
			plan.Update = append(plan.Update, t.object(s, trigger))
		}
	}
	return plan
}

// object builds the slice to write. A slice that exists keeps its name, UID and resourceVersion,
// so that a write against an outdated copy is refused.
func (t *template) object(s *slicePlan, trigger time.Time) *discoveryv1.EndpointSlice {
	slice := &discoveryv1.EndpointSlice{
		AddressType: s.group.family,
		Ports:       s.ports,
		Endpoints:   make([]discoveryv1.Endpoint, len(s.endpoints)),
	}
	for i, want := range s.endpoints {
		slice.Endpoints[i] = want.endpoint
	}
	if s.object != nil {
		slice.ObjectMeta = metadataOf(&s.object.ObjectMeta)
	} else {
		slice.Namespace, slice.GenerateName = t.namespace, generateName(t.name)
		slice.OwnerReferences = []metav1.OwnerReference{t.owner}
	}
	slice.Labels = maps.Clone(t.labels)
	if t.annotations != nil {
		slice.Annotations = maps.Clone(t.annotations)
	}
	slice.Annotations = withTrigger(slice.Annotations, trigger)
	return slice
}

// metadataOf returns a copy of an object's metadata for its update. The list of one empty entry tells
// the API server not to track which client owns which field: nobody but this controller writes the
// object, and for a thousand addresses the tracking costs more than all the rest of the write.
func metadataOf(old *metav1.ObjectMeta) metav1.ObjectMeta {
	metadata := *old
	metadata.ManagedFields = nil
	metadata = *metadata.DeepCopy()
	metadata.ManagedFields = []metav1.ManagedFieldsEntry{{}}
	return metadata
}

// withTrigger sets the trigger time in annotations, which it may change; the zero time removes it
// (rules E29 and E51).
func withTrigger(annotations map[string]string, trigger time.Time) map[string]string {
	if trigger.IsZero() {
		delete(annotations, corev1.EndpointsLastChangeTriggerTime)
		return annotations
	}
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[corev1.EndpointsLastChangeTriggerTime] = trigger.UTC().Format(time.RFC3339Nano)
	return annotations
}

// trigger returns the moment whose consequences the plan writes down, which tells how late the
// network is: the creation of the owner for its first slices; later the earliest last change of
// readiness among the pods that are new or whose conditions differ; zero when no pod is the cause
// (rules E29 and E51).
func (t *template) trigger(groups map[group]*desired, existing []*discoveryv1.EndpointSlice) time.Time {
	if !slices.ContainsFunc(existing, t.owns) {
		return t.created
	}
	var earliest time.Time
	var before map[identity]discoveryv1.EndpointConditions
	for _, want := range groups {
		for i := range want.endpoints {
			w := &want.endpoints[i]
			if !w.placed { // it is new, or comes from a slice with other ports
				if before == nil {
					before = t.conditions(existing)
				}
				conditions, known := before[identify(&w.endpoint)]
				w.changed = !known || !sameConditions(&conditions, &w.endpoint.Conditions)
			}
			if w.changed && !w.since.IsZero() && (earliest.IsZero() || w.since.Before(earliest)) {
				earliest = w.since
			}
		}
	}
	return earliest
}

// conditions returns the conditions of all endpoints in the owner's slices.
func (t *template) conditions(existing []*discoveryv1.EndpointSlice) map[identity]discoveryv1.EndpointConditions {
	found := map[identity]discoveryv1.EndpointConditions{}
	for _, slice := range existing {
		if !t.owns(slice) {
			continue
		}
		for i := range slice.Endpoints {
			if ep := &slice.Endpoints[i]; len(ep.Addresses) > 0 {
				found[identify(ep)] = ep.Conditions
			}
		}
	}
	return found
}

// sameEndpoint reports whether two endpoints of one identity would be stored alike.
func sameEndpoint(a, b *discoveryv1.Endpoint) bool {
	return sameConditions(&a.Conditions, &b.Conditions) &&
		ptr.Equal(a.NodeName, b.NodeName) &&
		ptr.Equal(a.Zone, b.Zone) &&
		sameRef(a.TargetRef, b.TargetRef) &&
		sameHints(a.Hints, b.Hints)
}

func sameConditions(a, b *discoveryv1.EndpointConditions) bool {
	return ptr.Equal(a.Ready, b.Ready) && ptr.Equal(a.Serving, b.Serving) && ptr.Equal(a.Terminating, b.Terminating)
}

// sameRef ignores the resourceVersion (rules E31 and E71).
func sameRef(a, b *corev1.ObjectReference) bool {
	if a == nil || b == nil {
		return a == b
	}
	x, y := *a, *b
	x.ResourceVersion, y.ResourceVersion = "", ""
	return x == y
}

func sameHints(a, b *discoveryv1.EndpointHints) bool {
	if a == nil || b == nil {
		return a == b
	}
	return slices.Equal(a.ForZones, b.ForZones) && slices.Equal(a.ForNodes, b.ForNodes)
}

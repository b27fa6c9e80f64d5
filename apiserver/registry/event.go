package registry

import (
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/conversion"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	core "k8s.io/kubernetes/pkg/apis/core"
	convert "k8s.io/kubernetes/pkg/apis/core/v1"
	convertevents "k8s.io/kubernetes/pkg/apis/events/v1"
	"k8s.io/kubernetes/pkg/registry/core/event"
)

// eventSeconds is how long an event is kept: an hour, as kube-apiserver's default.
const eventSeconds = 60 * 60

func events() *kind[*corev1.Event] {
	return adopt(foreign[*corev1.Event, *core.Event]{
		strategy: event.Strategy,
		in:       convert.Convert_v1_Event_To_core_Event, out: convert.Convert_core_Event_To_v1_Event,
	}, kind[*corev1.Event]{
		plural: "events", singular: "event", short: []string{"ev"}, ttl: eventSeconds,
		list:       func() runtime.Object { return &corev1.EventList{} },
		selectable: eventFields,
	})
}

func eventFields(e *corev1.Event, set fields.Set) {
	source := e.Source.Component
	if source == "" {
		source = e.ReportingController
	}
	about := &e.InvolvedObject
	set["involvedObject.kind"] = about.Kind
	set["involvedObject.namespace"] = about.Namespace
	set["involvedObject.name"] = about.Name
	set["involvedObject.uid"] = string(about.UID)
	set["involvedObject.apiVersion"] = about.APIVersion
	set["involvedObject.resourceVersion"] = about.ResourceVersion
	set["involvedObject.fieldPath"] = about.FieldPath
	set["reason"] = e.Reason
	set["reportingComponent"] = e.ReportingController
	set["source"] = source
	set["type"] = e.Type
}

// addEventConversions registers the conversions between the core event that is stored and the events.k8s.io/v1 event that is
// served beside it: upstream's, by way of its internal type.
func addEventConversions(s *runtime.Scheme) error {
	for _, c := range []struct {
		from, to any
		convert  conversion.ConversionFunc
	}{
		{&corev1.Event{}, &eventsv1.Event{}, func(in, out any, _ conversion.Scope) error {
			return eventFromCore(in.(*corev1.Event), out.(*eventsv1.Event))
		}},
		{&eventsv1.Event{}, &corev1.Event{}, func(in, out any, _ conversion.Scope) error {
			return eventToCore(in.(*eventsv1.Event), out.(*corev1.Event))
		}},
		{&corev1.EventList{}, &eventsv1.EventList{}, func(in, out any, _ conversion.Scope) error {
			from, to := in.(*corev1.EventList), out.(*eventsv1.EventList)
			to.ListMeta, to.Items = from.ListMeta, make([]eventsv1.Event, len(from.Items))
			return convertEach(from.Items, to.Items, eventFromCore)
		}},
		{&eventsv1.EventList{}, &corev1.EventList{}, func(in, out any, _ conversion.Scope) error {
			from, to := in.(*eventsv1.EventList), out.(*corev1.EventList)
			to.ListMeta, to.Items = from.ListMeta, make([]corev1.Event, len(from.Items))
			return convertEach(from.Items, to.Items, eventToCore)
		}},
	} {
		if err := s.AddConversionFunc(c.from, c.to, c.convert); err != nil {
			return err
		}
	}
	return nil
}

func convertEach[From, To any](from []From, to []To, one func(*From, *To) error) error {
	for i := range from {
		if err := one(&from[i], &to[i]); err != nil {
			return err
		}
	}
	return nil
}

func eventFromCore(in *corev1.Event, out *eventsv1.Event) error {
	var internal core.Event
	if err := convert.Convert_v1_Event_To_core_Event(in, &internal, nil); err != nil {
		return err
	}
	return convertevents.Convert_core_Event_To_v1_Event(&internal, out, nil)
}

func eventToCore(in *eventsv1.Event, out *corev1.Event) error {
	var internal core.Event
	if err := convertevents.Convert_v1_Event_To_core_Event(in, &internal, nil); err != nil {
		return err
	}
	return convert.Convert_core_Event_To_v1_Event(&internal, out, nil)
}

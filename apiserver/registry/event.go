package registry

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
)

// eventSeconds is how long an event is kept: an hour, as kube-apiserver's default.
const eventSeconds = 60 * 60

func events() *kind[*corev1.Event] {
	doc := corev1.Event{}.SwaggerDoc()
	return &kind[*corev1.Event]{
		plural: "events", singular: "event", short: []string{"ev"}, createOnUpdate: true, ttl: eventSeconds, collect: rest.Unsupported,
		new:            func() *corev1.Event { return &corev1.Event{} },
		list:           func() runtime.Object { return &corev1.EventList{} },
		validate:       validateEvent,
		validateUpdate: validateEventUpdate,
		selectable:     eventFields,
		columns: []metav1.TableColumnDefinition{
			column("Last Seen", "string", doc["lastTimestamp"]),
			column("Type", "string", doc["type"]),
			column("Reason", "string", doc["reason"]),
			column("Object", "string", doc["involvedObject"]),
			wide("Subobject", "string", doc["involvedObject"]),
			wide("Source", "string", doc["source"]),
			column("Message", "string", doc["message"]),
			wide("First Seen", "string", doc["firstTimestamp"]),
			wide("Count", "string", doc["count"]),
			{Name: "Name", Type: "string", Format: "name", Priority: 1, Description: metav1.ObjectMeta{}.SwaggerDoc()["name"]},
		},
		row: eventRow,
	}
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

func eventRow(e *corev1.Event) []any {
	first, last := since(e.FirstTimestamp), since(e.LastTimestamp)
	if e.FirstTimestamp.IsZero() {
		first = since(metav1.Time(e.EventTime))
	}
	count := int64(e.Count)
	switch {
	case e.Series != nil:
		last = since(metav1.Time(e.Series.LastObservedTime))
		count = int64(e.Series.Count)
	case e.LastTimestamp.IsZero():
		last = first
	}
	if count == 0 {
		count = 1 // an event without a count was seen once
	}
	about := strings.ToLower(e.InvolvedObject.Kind)
	if e.InvolvedObject.Name != "" {
		about += "/" + e.InvolvedObject.Name
	}
	return []any{
		last, e.Type, e.Reason, about, e.InvolvedObject.FieldPath, eventSource(e), strings.TrimSpace(e.Message),
		first, count, e.Name,
	}
}

// eventSource is the component that reported an event, with its host or instance.
func eventSource(e *corev1.Event) string {
	component, instance := e.Source.Component, e.Source.Host
	if component == "" {
		component = e.ReportingController
	}
	if instance == "" {
		instance = e.ReportingInstance
	}
	if instance == "" {
		return component
	}
	return fmt.Sprintf("%s, %s", component, instance)
}

package registry

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validate/content"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/endpoints/request"
)

// validateEvent checks an event. What comes through events.k8s.io has to be complete; the core group takes what old clients
// send. As upstream, fields have their names in the core group in both.
func validateEvent(ctx context.Context, e *corev1.Event) field.ErrorList {
	errs := validateAnyEvent(e)
	if !strictEvents(ctx) {
		return errs
	}
	errs = append(errs, validateSeries(e.Series)...)
	if e.EventTime.IsZero() {
		errs = append(errs, field.Required(field.NewPath("eventTime"), ""))
	}
	if e.Type != corev1.EventTypeNormal && e.Type != corev1.EventTypeWarning {
		errs = append(errs, field.Invalid(field.NewPath("type"), "", "has invalid value: "+e.Type))
	}
	for _, old := range []struct {
		name string
		set  bool
	}{
		{"firstTimestamp", !e.FirstTimestamp.IsZero()}, {"lastTimestamp", !e.LastTimestamp.IsZero()},
		{"count", e.Count != 0}, {"source", e.Source != corev1.EventSource{}},
	} {
		if old.set {
			errs = append(errs, field.Invalid(field.NewPath(old.name), "", "needs to be unset"))
		}
	}
	return errs
}

// validateEventUpdate checks a change of an event, of which events.k8s.io lets only the series change.
func validateEventUpdate(ctx context.Context, e, old *corev1.Event) field.ErrorList {
	errs := validateAnyEvent(e)
	if !strictEvents(ctx) {
		return errs
	}
	if !equality.Semantic.DeepEqual(e.Series, old.Series) {
		errs = append(errs, validateSeries(e.Series)...)
	}
	for _, fixed := range []struct {
		name     string
		now, was any
	}{
		{"involvedObject", e.InvolvedObject, old.InvolvedObject}, {"reason", e.Reason, old.Reason}, {"message", e.Message, old.Message},
		{"source", e.Source, old.Source}, {"firstTimestamp", e.FirstTimestamp, old.FirstTimestamp},
		{"lastTimestamp", e.LastTimestamp, old.LastTimestamp}, {"count", e.Count, old.Count}, {"type", e.Type, old.Type},
		{"eventTime", e.EventTime, old.EventTime}, {"action", e.Action, old.Action}, {"related", e.Related, old.Related},
		{"reportingController", e.ReportingController, old.ReportingController},
		{"reportingInstance", e.ReportingInstance, old.ReportingInstance},
	} {
		errs = append(errs, unchanged(field.NewPath(fixed.name), fixed.now, fixed.was)...)
	}
	return errs
}

// strictEvents reports whether a request came through events.k8s.io.
func strictEvents(ctx context.Context) bool {
	info, ok := request.RequestInfoFrom(ctx)
	return ok && info.APIGroup == eventsv1.GroupName
}

// validateAnyEvent checks that an event lies in the namespace of what it is about; events of cluster-wide objects lie in
// the default one (or kube-system). One that says when it happened says who told it, too.
func validateAnyEvent(e *corev1.Event) field.ErrorList {
	errs := validateMeta(&e.ObjectMeta, true, apivalidation.NameIsDNSSubdomain)
	about := e.InvolvedObject.Namespace
	switch {
	case about == "" && e.Namespace != metav1.NamespaceDefault && e.Namespace != metav1.NamespaceSystem,
		about != "" && about != e.Namespace:
		errs = append(errs, field.Invalid(field.NewPath("involvedObject", "namespace"), about, "does not match event.namespace"))
	}
	if e.EventTime.IsZero() {
		return errs
	}
	for _, text := range []struct {
		name, value string
		required    bool
		most        int
	}{
		{"reportingController", e.ReportingController, true, 0}, {"reportingInstance", e.ReportingInstance, true, 128},
		{"action", e.Action, true, 128}, {"reason", e.Reason, true, 128}, {"message", e.Message, false, 1024},
	} {
		path := field.NewPath(text.name)
		switch {
		case text.required && text.value == "":
			errs = append(errs, field.Required(path, ""))
		case text.most > 0 && len(text.value) > text.most:
			errs = append(errs, field.Invalid(path, "", fmt.Sprintf("can have at most %d characters", text.most)))
		}
	}
	return append(errs, invalid(field.NewPath("reportingController"), e.ReportingController, content.IsLabelKey(e.ReportingController))...)
}

func validateSeries(series *corev1.EventSeries) field.ErrorList {
	var errs field.ErrorList
	if series == nil {
		return nil
	}
	path := field.NewPath("series")
	if series.Count < 2 {
		errs = append(errs, field.Invalid(path.Child("count"), "", "should be at least 2"))
	}
	if series.LastObservedTime.IsZero() {
		errs = append(errs, field.Required(path.Child("lastObservedTime"), ""))
	}
	return errs
}

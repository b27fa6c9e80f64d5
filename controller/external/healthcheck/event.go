package healthcheck

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/api"
)

// Event is something to tell people about a Service.
type Event struct {
	Type, Reason, Message string
	Written               bool // it is true only once the objects have been written
}

const (
	maxEvents = 8   // about addresses, of one kind and of one look at a Service; the others are counted
	maxText   = 300 // bytes of a failure
)

// changes puts into words what happens to the endpoints of a Service.
func changes(w Writes, s *serviceState, kept map[string]bool, minHealthy string) []Event {
	failed := func(name string) string {
		text := s.failure(name)
		if len(text) > maxText {
			text = strings.ToValidUTF8(text[:maxText], "") + "..."
		}
		if text == "" {
			return fmt.Sprintf("Endpoint %s failed its probe before", name)
		}
		return fmt.Sprintf("Endpoint %s failed its probe: %s", name, text)
	}
	var all []Event
	all = appendEvents(all, w.Ejected, Event{Type: corev1.EventTypeWarning, Reason: "Unhealthy", Written: true},
		func(name string) string { return failed(name) + "; it gets no traffic" },
		"%d more endpoints failed their probe; they get no traffic")
	all = appendEvents(all, w.Restored, Event{Type: corev1.EventTypeNormal, Reason: "Healthy", Written: true},
		func(name string) string {
			if kept[name] {
				return fmt.Sprintf("Endpoint %s gets traffic again although it fails its probe, because %s is %s", name, api.AnnotationKeep, minHealthy)
			}
			return fmt.Sprintf("Endpoint %s answers again", name)
		}, "%d more endpoints answer again")
	fresh := map[string]bool{}
	for name := range kept {
		fresh[name] = !s.kept[name] && !w.Restored[name]
	}
	maps.DeleteFunc(fresh, func(_ string, is bool) bool { return !is })
	return appendEvents(all, fresh, Event{Type: corev1.EventTypeWarning, Reason: "Unhealthy"},
		func(name string) string {
			return fmt.Sprintf("%s; it keeps its traffic, because %s is %s", failed(name), api.AnnotationKeep, minHealthy)
		}, "%d more endpoints failed their probe; they keep their traffic, because of "+api.AnnotationKeep)
}

func appendEvents(all []Event, names map[string]bool, like Event, text func(string) string, rest string) []Event {
	for i, name := range slices.Sorted(maps.Keys(names)) {
		if i == maxEvents {
			like.Message = fmt.Sprintf(rest, len(names)-maxEvents)
			return append(all, like)
		}
		like.Message = text(name)
		all = append(all, like)
	}
	return all
}

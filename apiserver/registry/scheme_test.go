package registry

import (
	"net/url"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

func TestQueryOptionsAreReadByTheirJSONNames(t *testing.T) {
	query, err := url.ParseQuery("container=app&follow=true&tailLines=10&sinceTime=2026-01-02T03:04:05Z&previous=0&timestamps")
	if err != nil {
		t.Fatal(err)
	}
	var got corev1.PodLogOptions
	if err := ParameterCodec.DecodeParameters(query, corev1.SchemeGroupVersion, &got); err != nil {
		t.Fatal(err)
	}
	if got.Container != "app" || !got.Follow || got.TailLines == nil || *got.TailLines != 10 || got.Previous || !got.Timestamps {
		t.Errorf("got %+v", got)
	}
	if want := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC); got.SinceTime == nil || !got.SinceTime.Time.Equal(want) {
		t.Errorf("sinceTime is %v, want %v", got.SinceTime, want)
	}
	var exec corev1.PodExecOptions
	if err := ParameterCodec.DecodeParameters(url.Values{"command": {"sh", "-c"}, "stdin": {"true"}}, corev1.SchemeGroupVersion, &exec); err != nil {
		t.Fatal(err)
	}
	if len(exec.Command) != 2 || exec.Command[1] != "-c" || !exec.Stdin || exec.TTY {
		t.Errorf("got %+v", exec)
	}
	var forward corev1.PodPortForwardOptions
	if err := ParameterCodec.DecodeParameters(url.Values{"ports": {"80", "443"}}, corev1.SchemeGroupVersion, &forward); err != nil {
		t.Fatal(err)
	}
	if len(forward.Ports) != 2 || forward.Ports[1] != 443 {
		t.Errorf("got %+v", forward)
	}
	if err := ParameterCodec.DecodeParameters(url.Values{"tailLines": {"many"}}, corev1.SchemeGroupVersion, &corev1.PodLogOptions{}); err == nil {
		t.Error("tailLines=many was accepted")
	}
}

func TestD53_EventsAreOneObjectUnderTwoNames(t *testing.T) {
	event := &eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{Name: "e", Namespace: "default"}, Note: "something happened", Reason: "Tested",
		Regarding: corev1.ObjectReference{Kind: "Pod", Name: "p"}, Series: &eventsv1.EventSeries{Count: 3},
	}
	hub, err := Scheme.ConvertToVersion(event, runtime.InternalGroupVersioner)
	if err != nil {
		t.Fatal(err)
	}
	stored, ok := hub.(*corev1.Event)
	if !ok || stored.Message != event.Note || stored.InvolvedObject.Name != "p" || stored.Series.Count != 3 {
		t.Fatalf("the stored form is %T %+v", hub, hub)
	}
	back, err := Scheme.ConvertToVersion(stored, eventsv1.SchemeGroupVersion)
	if err != nil {
		t.Fatal(err)
	}
	if got := back.(*eventsv1.Event); got.Note != event.Note || got.Regarding.Name != "p" || got.Kind != "Event" || got.APIVersion != "events.k8s.io/v1" {
		t.Errorf("got %+v", got)
	}
}

func TestD13_FieldLabels(t *testing.T) {
	if _, _, err := Scheme.ConvertFieldLabel(corev1.SchemeGroupVersion.WithKind("Pod"), "spec.nodeName", "n1"); err != nil {
		t.Error(err)
	}
	_, _, err := Scheme.ConvertFieldLabel(corev1.SchemeGroupVersion.WithKind("Pod"), "spec.nope", "n1")
	if err == nil || err.Error() != "field label not supported: spec.nope" {
		t.Errorf("got %v", err)
	}
	label, _, err := Scheme.ConvertFieldLabel(eventsv1.SchemeGroupVersion.WithKind("Event"), "regarding.name", "p")
	if err != nil || label != "involvedObject.name" {
		t.Errorf("got %q, %v", label, err)
	}
}

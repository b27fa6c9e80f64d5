package garbage

import (
	"reflect"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestConditions(t *testing.T) {
	var r content
	r.add(gvr("", "v1", "pods"), &metav1.PartialObjectMetadataList{Items: []metav1.PartialObjectMetadata{
		{ObjectMeta: metav1.ObjectMeta{Finalizers: []string{"example.com/keep"}}}, {},
	}})
	first := r.conditions(nil, time.Unix(100, 0))
	want := map[string]string{
		"NamespaceDeletionDiscoveryFailure":           "False ResourcesDiscovered All resources successfully discovered",
		"NamespaceDeletionGroupVersionParsingFailure": "False ParsedGroupVersions All legacy kube types successfully parsed",
		"NamespaceDeletionContentFailure":             "False ContentDeleted All content successfully deleted, may be waiting on finalization",
		"NamespaceContentRemaining":                   "True SomeResourcesRemain Some resources are remaining: pods. has 2 resource instances",
		"NamespaceFinalizersRemaining":                "True SomeFinalizersRemain Some content in the namespace has finalizers remaining: example.com/keep in 1 resource instances",
	}
	for _, c := range first {
		if got := string(c.Status) + " " + c.Reason + " " + c.Message; got != want[string(c.Type)] {
			t.Errorf("%s: %q, want %q", c.Type, got, want[string(c.Type)])
		}
	}
	again := r.conditions(first, time.Unix(200, 0))
	if !reflect.DeepEqual(first, again) {
		t.Errorf("conditions of the same state differ: %v, %v", first, again)
	}
}

// A namespace with content that does not go is looked at less and less often.
func TestNextLook(t *testing.T) {
	for age, want := range map[time.Duration]time.Duration{
		-time.Hour: 5 * time.Second, 0: 5 * time.Second, 20 * time.Second: 5 * time.Second, 40 * time.Second: 10 * time.Second,
		4 * time.Minute: time.Minute, 24 * time.Hour: time.Minute,
	} {
		if got := nextLook(age); got != want {
			t.Errorf("after %s: %s, want %s", age, got, want)
		}
	}
}

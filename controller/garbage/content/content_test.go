package content

import (
	"reflect"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func TestConditions(t *testing.T) {
	var r Remaining
	r.Add(schema.GroupVersionResource{Version: "v1", Resource: "pods"}, &metav1.PartialObjectMetadataList{Items: []metav1.PartialObjectMetadata{
		{ObjectMeta: metav1.ObjectMeta{Finalizers: []string{"example.com/keep"}}}, {},
	}})
	first := r.Conditions(nil, time.Unix(100, 0))
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
	again := r.Conditions(first, time.Unix(200, 0))
	if !reflect.DeepEqual(first, again) {
		t.Errorf("conditions of the same state differ: %v, %v", first, again)
	}
}

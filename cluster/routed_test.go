package cluster

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/network/world"
)

// TestRouted: a pod is routed while a Service has it as an endpoint that is ready and does not terminate.
func TestRouted(t *testing.T) {
	w := world.New()
	w.Put(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web"}})
	put := func(c discoveryv1.EndpointConditions) {
		w.Put(&discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web-1", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
			Endpoints:  []discoveryv1.Endpoint{{TargetRef: &corev1.ObjectReference{UID: "other"}}, {TargetRef: &corev1.ObjectReference{UID: "u"}, Conditions: c}, {}},
		})
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "a", UID: "u"}}
	if routed(w)(pod) != nil {
		t.Error("a pod of no slice is routed")
	}
	put(discoveryv1.EndpointConditions{})
	elsewhere := pod.DeepCopy()
	elsewhere.Namespace = "other"
	if routed(w)(elsewhere) != nil {
		t.Error("a pod is routed by a Service of another namespace")
	}
	still := routed(w)(pod)
	if still == nil || !still() {
		t.Fatal("an endpoint that is ready is not routed")
	}
	for _, c := range []discoveryv1.EndpointConditions{
		{Ready: ptr.To(false), Serving: ptr.To(true), Terminating: ptr.To(true)},
		{Ready: ptr.To(true), Terminating: ptr.To(true)}, // of publishNotReadyAddresses
		{Ready: ptr.To(false)},
	} {
		if put(c); still() || routed(w)(pod) != nil {
			t.Errorf("%+v is routed", c)
		}
	}
}

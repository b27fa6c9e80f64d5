package api

//lint:file-ignore SA1019 v1 Endpoints are deprecated for new clients; people still write them.

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
)

func TestMirrored(t *testing.T) {
	now := metav1.Now()
	own, selecting := &corev1.Service{}, &corev1.Service{Spec: corev1.ServiceSpec{Selector: map[string]string{"app": "web"}}}
	with := func(meta metav1.ObjectMeta) *corev1.Endpoints { return &corev1.Endpoints{ObjectMeta: meta} }
	for name, c := range map[string]struct {
		ep   *corev1.Endpoints
		svc  *corev1.Service
		want bool
	}{
		"written by hand":          {with(metav1.ObjectMeta{}), own, true},
		"of a selector":            {with(metav1.ObjectMeta{}), selecting, false},
		"of no Service":            {with(metav1.ObjectMeta{}), nil, false},
		"a Service alone":          {nil, own, false},
		"nothing":                  {nil, nil, false},
		"being deleted":            {with(metav1.ObjectMeta{DeletionTimestamp: &now}), own, false},
		"to be skipped":            {with(metav1.ObjectMeta{Labels: map[string]string{discoveryv1.LabelSkipMirror: "true"}}), own, false},
		"not to be skipped":        {with(metav1.ObjectMeta{Labels: map[string]string{discoveryv1.LabelSkipMirror: "false"}}), own, true},
		"a lock":                   {with(metav1.ObjectMeta{Annotations: map[string]string{"control-plane.alpha.kubernetes.io/leader": "{}"}}), own, false},
		"a lock that nobody holds": {with(metav1.ObjectMeta{Annotations: map[string]string{"control-plane.alpha.kubernetes.io/leader": ""}}), own, false},
	} {
		if got := Mirrored(c.ep, c.svc); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestByHand(t *testing.T) {
	now := metav1.Now()
	for name, c := range map[string]struct {
		meta metav1.ObjectMeta
		want bool
	}{
		"nobody's label":            {metav1.ObjectMeta{}, true},
		"a person's label":          {metav1.ObjectMeta{Labels: map[string]string{discoveryv1.LabelManagedBy: "me"}}, true},
		"of a selector":             {metav1.ObjectMeta{Labels: map[string]string{discoveryv1.LabelManagedBy: "endpointslice-controller.k8s.io"}}, false},
		"a mirror":                  {metav1.ObjectMeta{Labels: map[string]string{discoveryv1.LabelManagedBy: "endpointslicemirroring-controller.k8s.io"}}, false},
		"of another controller":     {metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{Kind: "Thing", Controller: ptr.To(true)}}}, false},
		"owned, but not kept":       {metav1.ObjectMeta{OwnerReferences: []metav1.OwnerReference{{Kind: "Thing"}}}, true},
		"a person's, being deleted": {metav1.ObjectMeta{DeletionTimestamp: &now}, false},
	} {
		if got := ByHand(&discoveryv1.EndpointSlice{ObjectMeta: c.meta}); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestServiceOf(t *testing.T) {
	slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "web-x1", Labels: map[string]string{"kubernetes.io/service-name": "web"}}}
	if got, want := ServiceOf(slice), (types.NamespacedName{Namespace: "ns", Name: "web"}); got != want {
		t.Errorf("%v, want %v", got, want)
	}
	slice.Labels = nil
	if got := ServiceOf(slice); got.Name != "" || got.Namespace != "ns" {
		t.Errorf("a slice of no Service is %v's", got)
	}
}

func TestEndpointConditions(t *testing.T) {
	yes, no := ptr.To(true), ptr.To(false)
	for _, c := range []struct {
		ready, serving, terminating *bool
		isReady, isDraining         bool
	}{
		{nil, nil, nil, true, false},
		{yes, yes, no, true, false},
		{no, nil, nil, false, false},
		{no, yes, yes, false, true},
		{no, nil, yes, false, true},
		{no, no, yes, false, false},
		{no, yes, no, false, false},
		{yes, yes, yes, true, true}, // published regardless of readiness
	} {
		conditions := &discoveryv1.EndpointConditions{Ready: c.ready, Serving: c.serving, Terminating: c.terminating}
		if ready, draining := EndpointReady(conditions), EndpointDraining(conditions); ready != c.isReady || draining != c.isDraining {
			t.Errorf("%v: ready %v, draining %v; want %v, %v", conditions, ready, draining, c.isReady, c.isDraining)
		}
	}
}

package plan

//lint:file-ignore SA1019 v1 Endpoints are what the tests are about.

import (
	"fmt"
	"maps"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/controller/endpoints/sample"
)

// external is a Service without selector, for endpoints that somebody writes by hand.
func external() *corev1.Service {
	return sample.Service(func(s *corev1.Service) { s.Spec.Selector = nil })
}

// mirror plans and applies, and returns the plan as text.
func (s *store) mirror(t *testing.T, ep *corev1.Endpoints, svc *corev1.Service) []string {
	t.Helper()
	plan, _ := Mirror(ep, svc, s.list())
	lines := describe(plan)
	s.apply(t, plan)
	return lines
}

func TestE100_WhatIsMirrored(t *testing.T) {
	marked := func(change func(*corev1.Endpoints)) *corev1.Endpoints {
		ep := sample.HandWritten()
		ep.Labels, ep.Annotations = map[string]string{}, map[string]string{}
		change(ep)
		return ep
	}
	for _, c := range []struct {
		name string
		ep   *corev1.Endpoints
		svc  *corev1.Service
		want bool
	}{
		{"hand-written", sample.HandWritten(), external(), true},
		{"no Service", sample.HandWritten(), nil, false},
		{"no Endpoints", nil, external(), false},
		{"Service with a selector", sample.HandWritten(), sample.Service(), false},
		{"skip-mirror", marked(func(ep *corev1.Endpoints) { ep.Labels[discoveryv1.LabelSkipMirror] = "true" }), external(), false},
		{"skip-mirror is false", marked(func(ep *corev1.Endpoints) { ep.Labels[discoveryv1.LabelSkipMirror] = "false" }), external(), true},
		{"leader election", marked(func(ep *corev1.Endpoints) { ep.Annotations["control-plane.alpha.kubernetes.io/leader"] = "" }), external(), false},
	} {
		if got := api.Mirrored(c.ep, c.svc); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}

func TestE101_LabelsAndOwnerOfMirrors(t *testing.T) {
	var s store
	s.mirror(t, sample.HandWritten(sample.Subset([]string{"10.0.0.1"}, 1)), external())
	slice := s.slices["web-1"]
	want := map[string]string{
		discoveryv1.LabelServiceName: "web",
		discoveryv1.LabelManagedBy:   "endpointslicemirroring-controller.k8s.io",
	}
	if !maps.Equal(slice.Labels, want) {
		t.Errorf("labels %v, want %v", slice.Labels, want)
	}
	if ref := slice.OwnerReferences[0]; ref.Kind != "Endpoints" || ref.APIVersion != "v1" || ref.UID != "ep-1" || !*ref.Controller {
		t.Errorf("owner %v", ref)
	}
	// Endpoints of the same name that were made anew own their slices by UID.
	again := sample.HandWritten(sample.Subset([]string{"10.0.0.1"}, 1))
	again.UID = "ep-2"
	equal(t, s.mirror(t, again, external()), "create IPv4 p1:1/TCP -> 10.0.0.1(ready)", "delete web-1")
}

func TestE102_LabelsAndAnnotationsAreCopied(t *testing.T) {
	ep := sample.HandWritten(sample.Subset([]string{"10.0.0.1"}, 1))
	ep.Labels = map[string]string{"a": "b"}
	ep.Annotations = map[string]string{
		"c": "d",
		"kubectl.kubernetes.io/last-applied-configuration": "{}",
		corev1.EndpointsLastChangeTriggerTime:              "2026-01-01T00:00:00Z",
	}
	var s store
	s.mirror(t, ep, external())
	slice := s.slices["web-1"]
	wantLabels := map[string]string{
		"a":                          "b",
		discoveryv1.LabelServiceName: "web",
		discoveryv1.LabelManagedBy:   "endpointslicemirroring-controller.k8s.io",
	}
	if !maps.Equal(slice.Labels, wantLabels) {
		t.Errorf("labels %v, want %v", slice.Labels, wantLabels)
	}
	if want := map[string]string{"c": "d"}; !maps.Equal(slice.Annotations, want) {
		t.Errorf("annotations %v, want %v", slice.Annotations, want)
	}
	equal(t, s.mirror(t, ep, external()))
	ep.Annotations["c"] = "e"
	equal(t, s.mirror(t, ep, external()), "update web-1 IPv4 p1:1/TCP -> 10.0.0.1(ready)")
}

func TestE103_GroupsOfMirrors(t *testing.T) {
	var s store
	ep := sample.HandWritten(sample.Subset([]string{"10.0.0.1", "fd00::1"}, 1), sample.Subset([]string{"10.0.0.2"}, 1), sample.Subset([]string{"10.0.0.3"}, 2))
	equal(t, s.mirror(t, ep, external()),
		"create IPv4 p1:1/TCP -> 10.0.0.1(ready) 10.0.0.2(ready)",
		"create IPv4 p2:2/TCP -> 10.0.0.3(ready)",
		"create IPv6 p1:1/TCP -> fd00::1(ready)")
}

func TestE104_ConditionsOfMirrors(t *testing.T) {
	var s store
	equal(t, s.mirror(t, sample.HandWritten(sample.Subset([]string{"10.0.0.1", "!10.0.0.2"}, 1)), external()),
		"create IPv4 p1:1/TCP -> 10.0.0.1(ready) 10.0.0.2()")
	for _, ep := range s.slices["web-1"].Endpoints {
		if ep.Conditions.Ready == nil || ep.Conditions.Serving != nil || ep.Conditions.Terminating != nil {
			t.Errorf("conditions of %s: %v", ep.Addresses[0], ep.Conditions)
		}
	}
	equal(t, s.mirror(t, sample.HandWritten(sample.Subset([]string{"10.0.0.1"}, 1), sample.Subset([]string{"!10.0.0.1"}, 1)), external()),
		"update web-1 IPv4 p1:1/TCP -> 10.0.0.1()")
}

func TestE105_WhatIsCopied(t *testing.T) {
	ep := sample.HandWritten(sample.Subset([]string{"10.0.0.1"}, 1), sample.Subset([]string{"10.0.0.1"}, 2))
	a := &ep.Subsets[0].Addresses[0]
	a.Hostname, a.NodeName = "h", ptr.To("n1")
	a.TargetRef = &corev1.ObjectReference{Kind: "Pod", Name: "x", ResourceVersion: "9"}
	var s store
	equal(t, s.mirror(t, ep, external()),
		"create IPv4 p1:1/TCP -> 10.0.0.1(ready)",
		"create IPv4 p2:2/TCP -> 10.0.0.1(ready)")
	got := s.slices["web-1"].Endpoints[0]
	if *got.Hostname != "h" || *got.NodeName != "n1" || got.TargetRef.Name != "x" || got.TargetRef.ResourceVersion != "" {
		t.Errorf("got %v", got)
	}
}

func TestE106_SurplusAndInvalidAddresses(t *testing.T) {
	var many []string
	for i := range 1003 {
		many = append(many, fmt.Sprintf("10.0.%d.%d", i/250, i%250+1))
	}
	many[5] = "nonsense"
	ep := sample.HandWritten(sample.Subset(many, 1), sample.Subset([]string{"10.1.0.1"}, 1))
	plan, left := Mirror(ep, external(), nil)
	total := 0
	for _, slice := range plan.Create {
		total += len(slice.Endpoints)
	}
	if total != 1001 || left != (Omissions{Surplus: 2, Invalid: 1}) {
		t.Errorf("mirrored %d, left out %+v", total, left)
	}
}

func TestE108_ASelectorRemovesTheMirror(t *testing.T) {
	ep := sample.HandWritten(sample.Subset([]string{"10.0.0.1"}, 1))
	var s store
	s.mirror(t, ep, external())
	equal(t, s.mirror(t, ep, sample.Service()), "delete web-1")
	equal(t, s.mirror(t, ep, sample.Service()))
	equal(t, s.mirror(t, ep, external()), "create IPv4 p1:1/TCP -> 10.0.0.1(ready)")
}

// What the controller itself writes for a Service with a selector has no mirror.
func TestE110_EndpointsOfASelectorAreNotMirrored(t *testing.T) {
	svc := sample.Service()
	ep := Endpoints(svc, sample.Pods(0, 2), nil)
	if len(ep.Subsets) != 1 {
		t.Fatalf("subsets: %v", ep.Subsets)
	}
	var s store
	equal(t, s.mirror(t, ep, svc))
	// Without the selector the object stays and becomes a person's, who may edit it from there (rule E1).
	equal(t, s.mirror(t, ep, external()), "create IPv4 http:8080/TCP -> 10.244.0.1(ready) 10.244.0.2(ready)")
}

func TestE107_MirrorsGoAway(t *testing.T) {
	ep := sample.HandWritten(sample.Subset([]string{"10.0.0.1"}, 1))
	for name, change := range map[string]func(ep *corev1.Endpoints, svc *corev1.Service) (*corev1.Endpoints, *corev1.Service){
		"Endpoints deleted": func(_ *corev1.Endpoints, svc *corev1.Service) (*corev1.Endpoints, *corev1.Service) { return nil, svc },
		"Service deleted":   func(ep *corev1.Endpoints, _ *corev1.Service) (*corev1.Endpoints, *corev1.Service) { return ep, nil },
		"no address left": func(_ *corev1.Endpoints, svc *corev1.Service) (*corev1.Endpoints, *corev1.Service) {
			return sample.HandWritten(), svc
		},
	} {
		t.Run(name, func(t *testing.T) {
			var s store
			s.mirror(t, ep, external())
			equal(t, s.mirror(t, ep, external()))
			changed, svc := change(ep, external())
			equal(t, s.mirror(t, changed, svc), "delete web-1")
			equal(t, s.mirror(t, changed, svc))
		})
	}
}

func TestOneEditOfEndpointsWritesOneMirror(t *testing.T) {
	var many []string
	for i := range 450 {
		many = append(many, fmt.Sprintf("10.0.%d.%d", i/250, i%250+1))
	}
	var s store
	s.mirror(t, sample.HandWritten(sample.Subset(many, 1)), external())
	if len(s.slices) != 5 {
		t.Fatalf("%d slices, want 5", len(s.slices))
	}
	edited := append([]string{"!10.0.0.1"}, many[1:]...)
	equal(t, s.mirror(t, sample.HandWritten(sample.Subset(edited, 1)), external()), "update web-1 IPv4 p1:1/TCP -> 100 endpoints")
}

package plan

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"fairlead.dev/fairlead/controller/endpoints/sample"
)

func TestMetricsOfAPlan(t *testing.T) {
	var existing []*discoveryv1.EndpointSlice
	for _, test := range []struct {
		name string
		pods []*corev1.Pod
		want Tally
	}{
		{"no pods", nil, Tally{Sufficient: 1, Slices: 1}},
		{"the first", sample.Pods(0, 150), Tally{Added: 150, Endpoints: 150, Sufficient: 2, Slices: 2}},
		{"nothing new", sample.Pods(0, 150), Tally{Endpoints: 150, Sufficient: 2, Slices: 2}},
		{"some others: slices are not balanced again", sample.Pods(100, 51), Tally{Added: 1, Removed: 100, Endpoints: 51, Sufficient: 1, Slices: 2}},
	} {
		plan, remarks := Slices(sample.Service(), test.pods, sample.Nodes(), existing)
		if remarks.Tally != test.want {
			t.Errorf("%s: %+v, want %+v", test.name, remarks.Tally, test.want)
		}
		existing = applied(existing, plan)
	}
}

// applied is the slices after a plan.
func applied(existing []*discoveryv1.EndpointSlice, plan Changes) []*discoveryv1.EndpointSlice {
	var after []*discoveryv1.EndpointSlice
	gone := map[string]bool{}
	for _, s := range append(plan.Delete, plan.Update...) {
		gone[s.Name] = true
	}
	for _, s := range existing {
		if !gone[s.Name] {
			after = append(after, s)
		}
	}
	for i, s := range plan.Create {
		s.Name = fmt.Sprint(s.GenerateName, len(existing), i)
	}
	return append(append(after, plan.Update...), plan.Create...)
}

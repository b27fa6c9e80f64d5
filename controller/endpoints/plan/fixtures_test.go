package plan

//lint:file-ignore SA1019 v1 Endpoints are what the tests are about.

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/controller/endpoints/sample"
)

// store is the part of an API server that plans need: it names, numbers and keeps slices.
type store struct {
	slices map[string]*discoveryv1.EndpointSlice
	serial int
}

func (s *store) list() []*discoveryv1.EndpointSlice {
	var list []*discoveryv1.EndpointSlice
	for _, slice := range s.slices {
		list = append(list, slice)
	}
	return list
}

// apply carries out a plan, and fails the test when a real API would refuse it.
func (s *store) apply(t *testing.T, plan Changes) {
	t.Helper()
	if s.slices == nil {
		s.slices = map[string]*discoveryv1.EndpointSlice{}
	}
	for _, slice := range plan.Create {
		s.serial++
		slice.Name = slice.GenerateName + strconv.Itoa(s.serial)
		slice.UID = types.UID("slice-" + strconv.Itoa(s.serial))
		slice.ResourceVersion = strconv.Itoa(s.serial)
		s.slices[slice.Name] = slice
	}
	for _, slice := range plan.Update {
		old := s.slices[slice.Name]
		if old == nil || old.ResourceVersion != slice.ResourceVersion || old.UID != slice.UID {
			t.Fatalf("update of %s is not against the stored object", slice.Name)
		}
		if old == slice {
			t.Fatalf("the plan Changes the stored object %s itself", slice.Name)
		}
		if old.AddressType != slice.AddressType {
			t.Fatalf("update of %s changes its address type, which is immutable", slice.Name)
		}
		s.serial++
		slice.ResourceVersion = strconv.Itoa(s.serial)
		s.slices[slice.Name] = slice
	}
	for _, slice := range plan.Delete {
		if s.slices[slice.Name] == nil {
			t.Fatalf("delete of %s, which does not exist", slice.Name)
		}
		delete(s.slices, slice.Name)
	}
}

// sync plans and applies, and returns the plan as text.
func (s *store) sync(t *testing.T, svc *corev1.Service, pods []*corev1.Pod) []string {
	t.Helper()
	plan, _ := Slices(svc, pods, sample.Nodes(), s.list())
	lines := describe(plan)
	s.apply(t, plan)
	return lines
}

// describe prints a plan, a line per write: what, the slice, its family, ports and endpoints.
func describe(plan Changes) []string {
	var lines []string
	for _, slice := range plan.Create {
		lines = append(lines, "create "+sample.SliceText(slice))
	}
	for _, slice := range plan.Update {
		lines = append(lines, "update "+slice.Name+" "+sample.SliceText(slice))
	}
	for _, slice := range plan.Delete {
		lines = append(lines, "delete "+slice.Name)
	}
	slices.Sort(lines)
	return lines
}

// equal compares lines of text.
func equal(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

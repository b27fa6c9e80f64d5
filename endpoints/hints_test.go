package endpoints

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

func TestE90_E91_E92_TrafficDistribution(t *testing.T) {
	prefer := func(mode string) func(*corev1.Service) {
		return func(s *corev1.Service) { s.Spec.TrafficDistribution = &mode }
	}
	pods := []*corev1.Pod{webPod("a", "10.0.0.1"), webPod("b", "10.0.0.2", onNode("n2")), webPod("c", "10.0.0.3", onNode("n0"))}
	hints := func(slice *discoveryv1.EndpointSlice) string {
		var text []string
		for _, ep := range slice.Endpoints {
			words := []string{"-"}
			if ep.Hints != nil {
				words = nil
				for _, z := range ep.Hints.ForZones {
					words = append(words, "zone "+z.Name)
				}
				for _, n := range ep.Hints.ForNodes {
					words = append(words, "node "+n.Name)
				}
			}
			text = append(text, strings.Join(words, " "))
		}
		return strings.Join(text, ", ")
	}
	var s store
	for _, c := range []struct{ mode, want string }{
		{"PreferClose", "zone a, zone b, -"},
		{"PreferSameZone", "zone a, zone b, -"},
		{"PreferSameNode", "zone a node n1, zone b node n2, node n0"},
		{"Somewhere", "-, -, -"},
	} {
		s.sync(t, webService(prefer(c.mode)), pods)
		if got := hints(s.slices["web-1"]); got != c.want {
			t.Errorf("%s: got %s, want %s", c.mode, got, c.want)
		}
	}
	s.sync(t, webService(prefer("PreferClose")), pods)
	unready(pods[0])
	s.sync(t, webService(prefer("PreferClose")), pods)
	if got, want := hints(s.slices["web-1"]), "zone a, zone b, -"; got != want {
		t.Errorf("an endpoint that is not ready keeps its hints: got %s, want %s", got, want)
	}
	s.sync(t, webService(), pods)
	if got, want := hints(s.slices["web-1"]), "-, -, -"; got != want {
		t.Errorf("unset: got %s, want %s", got, want)
	}
}

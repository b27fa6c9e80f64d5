package plan

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"fairlead.dev/fairlead/controller/endpoints/sample"
)

// prefer sets a Service's trafficDistribution.
func prefer(mode string) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Spec.TrafficDistribution = &mode }
}

// hints returns the hints of a slice's endpoints, - for none.
func hints(slice *discoveryv1.EndpointSlice) string {
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

// hinted plans for pods in zone a, zone b and no zone, and checks the hints that they have then.
func (s *store) hinted(t *testing.T, svc *corev1.Service, pods []*corev1.Pod, want string) {
	t.Helper()
	s.sync(t, svc, pods)
	if got := hints(s.slices["web-1"]); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func podsInZones() []*corev1.Pod {
	return []*corev1.Pod{sample.Pod("a", "10.0.0.1"), sample.Pod("b", "10.0.0.2", sample.OnNode("n2")), sample.Pod("c", "10.0.0.3", sample.OnNode("n0"))}
}

func TestE90_PreferSameZone(t *testing.T) {
	for _, mode := range []string{"PreferClose", "PreferSameZone"} {
		var s store
		pods := podsInZones()
		s.hinted(t, sample.Service(prefer(mode)), pods, "zone a, zone b, -")
		sample.Unready(pods[0]) // it keeps what it has
		s.hinted(t, sample.Service(prefer(mode)), pods, "zone a, zone b, -")
		pods[1].Spec.NodeName = "n1" // it moves
		s.hinted(t, sample.Service(prefer(mode)), pods, "zone a, zone a, -")
	}
	var s store
	s.hinted(t, sample.Service(prefer("PreferClose")), []*corev1.Pod{sample.Pod("a", "10.0.0.1", sample.Unready)}, "-")
}

func TestE91_PreferSameNode(t *testing.T) {
	var s store
	s.hinted(t, sample.Service(prefer("PreferSameNode")), podsInZones(), "zone a node n1, zone b node n2, node n0")
	s.hinted(t, sample.Service(prefer("PreferSameZone")), podsInZones(), "zone a, zone b, -")
}

func TestE92_NothingElseGivesHints(t *testing.T) {
	for _, svc := range []*corev1.Service{sample.Service(), sample.Service(prefer("Somewhere")), sample.Service(prefer(""))} {
		var s store
		s.hinted(t, sample.Service(prefer("PreferClose")), podsInZones(), "zone a, zone b, -")
		s.hinted(t, svc, podsInZones(), "-, -, -")
	}
}

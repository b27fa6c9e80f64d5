package packet

import (
	"testing"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/api"
)

// Slices of weights 1 and 3 get a quarter and three quarters, TCP and UDP alike, however many endpoints each has; with affinity as
// well; and as much as each other when the weights go. Six standard deviations to either side, as in TestP20_FairShares.
func TestP21_Weights(t *testing.T) {
	each(t, func(l *lab) {
		s := l.service("web")
		small, large := l.slice(s, ready(l.a2)...), l.slice(s, ready(l.b1, l.b2)...)
		large.Name = "large"
		small.Annotations, large.Annotations = map[string]string{api.AnnotationWeight: "1"}, map[string]string{api.AnnotationWeight: "3"}
		l.put(s, small, large)
		l.shares(s, map[string]int{l.a2.name: 225, l.b1.name: 338, l.b2.name: 337})
		small.Annotations, large.Annotations = nil, nil
		l.put(small, large)
		l.shares(s, map[string]int{l.a2.name: 300, l.b1.name: 300, l.b2.name: 300})
		small.Annotations, large.Annotations = map[string]string{api.AnnotationWeight: "1"}, map[string]string{api.AnnotationWeight: "9"}
		s.Spec.SessionAffinity = corev1.ServiceAffinityClientIP
		l.put(s, small, large)
		first := l.reached(s)
		large.Annotations = map[string]string{api.AnnotationWeight: "4"}
		l.put(large) // other shares, and nobody has to move
		if again := l.reached(s); again != first {
			l.t.Errorf("a client of %s came to %s when the weights changed", first, again)
		}
	})
}

// shares holds what endpoints get of 900 connections against what they are to get.
func (l *lab) shares(s *corev1.Service, want map[string]int) {
	l.t.Helper()
	counts := map[string]int{}
	for range 10 {
		for i, r := range l.a1.Volley(both(vip(s), 45), 0, patient) {
			if r.Err != nil {
				l.t.Fatalf("connection %d: %v", i, r.Err)
			}
			counts[r.Answer.Name]++
		}
	}
	for name, n := range want {
		if counts[name] < n-85 || counts[name] > n+85 {
			l.t.Errorf("%s got %d of 900 connections, want about %d: %v", name, counts[name], n, counts)
		}
	}
}

// reached is the one endpoint that a client's connections go to.
func (l *lab) reached(s *corev1.Service) (name string) {
	l.t.Helper()
	for i, r := range l.a1.Volley(both(vip(s), 10), 0, patient) {
		if r.Err != nil {
			l.t.Fatalf("connection %d: %v", i, r.Err)
		}
		if name == "" && r.Answer.Name != "" {
			name = r.Answer.Name
		}
	}
	return name
}

package life

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/api"
)

// Span is a stretch of time.
type Span struct{ From, To time.Time }

// StartupDuration is the time from the making of a pod until a moment, without the spans, which may overlap (upstream's service
// level indicator of pod startup: neither the pulling of images nor init containers count).
func StartupDuration(created, until time.Time, without []Span) time.Duration {
	total := until.Sub(created)
	spans := slices.Clone(without)
	slices.SortFunc(spans, func(a, b Span) int { return a.From.Compare(b.From) })
	done := created
	for _, s := range spans {
		from, to := latest(s.From, done), earliest(s.To, until)
		if to.After(from) {
			total -= to.Sub(from)
			done = to
		}
	}
	return max(total, 0)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func earliest(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// AllStarted tells whether every container of a pod is reported to run.
func AllStarted(pod *corev1.Pod) bool {
	for i := range pod.Status.ContainerStatuses {
		if r := pod.Status.ContainerStatuses[i].State.Running; r == nil || r.StartedAt.IsZero() {
			return false
		}
	}
	return len(pod.Status.ContainerStatuses) == len(pod.Spec.Containers)
}

// InitSpans are the runs of a pod's init containers that have ended. Sidecars are not among them: they run on.
func InitSpans(pod *corev1.Pod, seen Observed) []Span {
	var spans []Span
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		if api.Sidecar(c) {
			continue
		}
		for _, run := range seen.Containers[c.Name] {
			if run.State == Exited && !run.Started.IsZero() {
				spans = append(spans, Span{run.Started, run.Finished})
			}
		}
	}
	return spans
}

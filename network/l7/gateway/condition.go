package gateway

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// verdict is a condition before it is written: without the type, the generation and the time.
type verdict struct {
	no      bool // the status is False
	reason  string
	message string
}

func yes[R ~string](reason R, message string) verdict {
	return verdict{reason: string(reason), message: message}
}

func no[R ~string](reason R, message string) verdict {
	return verdict{no: true, reason: string(reason), message: message}
}

// condition is what a verdict is written as. Its time is set by Merge.
func condition[T ~string](kind T, generation int64, v verdict) metav1.Condition {
	status := metav1.ConditionTrue
	if v.no {
		status = metav1.ConditionFalse
	}
	return metav1.Condition{Type: string(kind), Status: status, ObservedGeneration: generation, Reason: v.reason, Message: v.message}
}

// Merge is what an object's conditions become at a time: those wanted in place of those of the same type, whose time stays unless
// their status changes; those of the types in dropped are removed unless they are wanted; all others, which are somebody else's,
// stay as and where they are.
func Merge(have, want []metav1.Condition, now metav1.Time, dropped ...string) []metav1.Condition {
	find := func(list []metav1.Condition, kind string) int {
		return slices.IndexFunc(list, func(c metav1.Condition) bool { return c.Type == kind })
	}
	merged := make([]metav1.Condition, 0, len(want))
	for _, c := range have {
		if find(want, c.Type) >= 0 || !slices.Contains(dropped, c.Type) {
			merged = append(merged, c)
		}
	}
	for _, c := range want {
		c.LastTransitionTime = now
		at := find(merged, c.Type)
		if at < 0 {
			merged = append(merged, c)
			continue
		}
		if merged[at].Status == c.Status {
			c.LastTransitionTime = merged[at].LastTransitionTime
		}
		if merged[at].ObservedGeneration <= c.ObservedGeneration { // a newer one was written by somebody who knows more
			merged[at] = c
		}
	}
	return merged
}

package content

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Remaining is what one look at a deleted namespace still found in it.
type Remaining struct {
	byResource  map[string]int // "pods." or "widgets.example.com" to a count
	byFinalizer map[string]int
	Failures    []string
}

// Add counts what is left of one resource.
func (c *Remaining) Add(gvr schema.GroupVersionResource, left *metav1.PartialObjectMetadataList) {
	if len(left.Items) == 0 {
		return
	}
	if c.byResource == nil {
		c.byResource, c.byFinalizer = map[string]int{}, map[string]int{}
	}
	c.byResource[gvr.Resource+"."+gvr.Group] += len(left.Items)
	for i := range left.Items {
		for _, f := range left.Items[i].Finalizers {
			c.byFinalizer[f]++
		}
	}
}

// Total is how many objects are left.
func (c *Remaining) Total() int {
	n := 0
	for _, k := range c.byResource {
		n += k
	}
	return n
}

// Conditions are the namespace's conditions, in upstream's words, with have's
// transition times where the status is the same.
func (c *Remaining) Conditions(have []corev1.NamespaceCondition, now time.Time) []corev1.NamespaceCondition {
	condition := func(t corev1.NamespaceConditionType, holds bool, yes, yesMessage, no, noMessage string) corev1.NamespaceCondition {
		c := corev1.NamespaceCondition{Type: t, Status: corev1.ConditionFalse, Reason: no, Message: noMessage, LastTransitionTime: metav1.NewTime(now)}
		if holds {
			c.Status, c.Reason, c.Message = corev1.ConditionTrue, yes, yesMessage
		}
		for _, old := range have {
			if old.Type == t && old.Status == c.Status {
				c.LastTransitionTime = old.LastTransitionTime
			}
		}
		return c
	}
	return []corev1.NamespaceCondition{
		condition(corev1.NamespaceDeletionDiscoveryFailure, false, "", "", "ResourcesDiscovered", "All resources successfully discovered"),
		condition(corev1.NamespaceDeletionGVParsingFailure, false, "", "", "ParsedGroupVersions", "All legacy kube types successfully parsed"),
		condition(corev1.NamespaceDeletionContentFailure, len(c.Failures) > 0,
			"ContentDeletionFailed", "Failed to delete all resource types, "+fmt.Sprint(len(c.Failures))+" remaining: "+strings.Join(c.Failures, ", "),
			"ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
		condition(corev1.NamespaceContentRemaining, len(c.byResource) > 0,
			"SomeResourcesRemain", "Some resources are remaining: "+list(c.byResource, "%s has %d resource instances"),
			"ContentRemoved", "All content successfully removed"),
		condition(corev1.NamespaceFinalizersRemaining, len(c.byFinalizer) > 0,
			"SomeFinalizersRemain", "Some content in the namespace has finalizers remaining: "+list(c.byFinalizer, "%s in %d resource instances"),
			"ContentHasNoFinalizers", "All content-preserving finalizers finished"),
	}
}

func list(counts map[string]int, format string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		out = append(out, fmt.Sprintf(format, k, counts[k]))
	}
	return strings.Join(out, ", ")
}

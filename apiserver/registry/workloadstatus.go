package registry

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

// count is one number of a workload's status.
type count struct {
	name   string
	number int64
	part   bool // of all replicas, so not more than those
}

func validateDeploymentStatus(_ context.Context, d, _ *appsv1.Deployment) field.ErrorList {
	s := &d.Status
	return validateCounts(s.Replicas, s.ReadyReplicas, s.AvailableReplicas,
		count{"updatedReplicas", int64(s.UpdatedReplicas), true},
		count{"unavailableReplicas", int64(s.UnavailableReplicas), false},
		count{"terminatingReplicas", int64(ptr.Deref(s.TerminatingReplicas, 0)), false},
		count{"collisionCount", int64(ptr.Deref(s.CollisionCount, 0)), false},
		count{"observedGeneration", s.ObservedGeneration, false})
}

func validateReplicaSetStatus(_ context.Context, rs, _ *appsv1.ReplicaSet) field.ErrorList {
	s := &rs.Status
	return validateCounts(s.Replicas, s.ReadyReplicas, s.AvailableReplicas,
		count{"fullyLabeledReplicas", int64(s.FullyLabeledReplicas), true},
		count{"terminatingReplicas", int64(ptr.Deref(s.TerminatingReplicas, 0)), false},
		count{"observedGeneration", s.ObservedGeneration, false})
}

// validateCounts checks the numbers that every workload reports and those of one kind.
func validateCounts(replicas, ready, available int32, more ...count) field.ErrorList {
	path := field.NewPath("status")
	errs := validateNonNegative(path.Child("replicas"), int64(replicas))
	for _, c := range append(more, count{"readyReplicas", int64(ready), true}, count{"availableReplicas", int64(available), true}) {
		errs = append(errs, validateNonNegative(path.Child(c.name), c.number)...)
		if c.part && c.number > int64(replicas) {
			errs = append(errs, field.Invalid(path.Child(c.name), c.number, "cannot be greater than status.replicas"))
		}
	}
	if available > ready {
		errs = append(errs, field.Invalid(path.Child("availableReplicas"), available, "cannot be greater than readyReplicas"))
	}
	return errs
}

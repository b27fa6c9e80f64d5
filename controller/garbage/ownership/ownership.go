// Package ownership decides what becomes of an object by what became of its owners and dependents (garbage collector upstream). It
// only computes.
package ownership

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Owner is what became of the object an owner reference names.
type Owner int

const (
	// Solid owners exist and keep their dependents.
	Solid Owner = iota
	// Dangling owners do not exist: no object of that name, or one with another UID.
	Dangling
	// Waiting owners are being deleted in the foreground: they wait for their
	// dependents to go first.
	Waiting
)

// Verb is what to do with an object.
type Verb int

const (
	Leave            Verb = iota // nothing
	Delete                       // delete it, with Action.Policy
	DropOwners                   // keep it, with only Action.Owners
	Orphan                       // remove its references from its dependents, then RemoveFinalizer
	DeleteDependents             // it is deleted in the foreground: look at its dependents
	Unblock                      // it waits in a circle for itself: keep it, with only Action.Owners
	RemoveFinalizer              // remove Action.Finalizer from it
)

// Action is a Verb with what it needs.
type Action struct {
	Verb      Verb
	Policy    metav1.DeletionPropagation
	Owners    []metav1.OwnerReference
	Finalizer string
}

// Dependents is what matters about the objects that name an object as their owner.
type Dependents struct {
	Any     bool // there are some
	Blocked bool // one of them has blockOwnerDeletion
	// Circle are the objects that wait for dependents as obj does, and that it waits
	// for, itself among them; empty when it does not wait for itself.
	Circle map[types.UID]bool
}

// Decide says what to do with obj, whose owner references have become owners, in
// the same order (garbage collector upstream).
func Decide(obj metav1.Object, owners []Owner, dependents Dependents) Action {
	finalizers := obj.GetFinalizers()
	if obj.GetDeletionTimestamp() != nil {
		switch {
		case slices.Contains(finalizers, metav1.FinalizerOrphanDependents):
			return Action{Verb: Orphan, Finalizer: metav1.FinalizerOrphanDependents}
		case !slices.Contains(finalizers, metav1.FinalizerDeleteDependents):
			return Action{}
		case !dependents.Blocked:
			return Action{Verb: RemoveFinalizer, Finalizer: metav1.FinalizerDeleteDependents}
		case len(dependents.Circle) > 0:
			return Action{Verb: Unblock, Owners: unblocked(obj.GetOwnerReferences(), dependents.Circle)}
		}
		return Action{Verb: DeleteDependents}
	}
	var keep []metav1.OwnerReference
	waiting := false
	for i, ref := range obj.GetOwnerReferences() {
		switch owners[i] {
		case Solid:
			keep = append(keep, ref)
		case Waiting:
			waiting = true
		case Dangling:
		}
	}
	switch {
	case len(owners) == 0, len(keep) == len(owners):
		return Action{}
	case len(keep) > 0:
		return Action{Verb: DropOwners, Owners: keep}
	case waiting && dependents.Any:
		return Action{Verb: Delete, Policy: metav1.DeletePropagationForeground}
	}
	return Action{Verb: Delete, Policy: policyOf(finalizers)}
}

// unblocked are the references, of which those to the owners in circle block
// their deletion no longer: one object less that the circle waits for opens it.
func unblocked(refs []metav1.OwnerReference, circle map[types.UID]bool) []metav1.OwnerReference {
	out := slices.Clone(refs)
	for i := range out {
		if circle[out[i].UID] {
			out[i].BlockOwnerDeletion = new(bool)
		}
	}
	return out
}

// policyOf keeps a wish that an earlier delete left on the object as a finalizer.
func policyOf(finalizers []string) metav1.DeletionPropagation {
	switch {
	case slices.Contains(finalizers, metav1.FinalizerOrphanDependents):
		return metav1.DeletePropagationOrphan
	case slices.Contains(finalizers, metav1.FinalizerDeleteDependents):
		return metav1.DeletePropagationForeground
	}
	return metav1.DeletePropagationBackground
}

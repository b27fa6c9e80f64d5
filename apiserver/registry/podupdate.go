package registry

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/diff"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

func samePodSpec(a, b *corev1.PodSpec) bool { return equality.Semantic.DeepEqual(a, b) }

// podFixed is upstream's sentence for a change of what a running pod cannot change (rule D10).
const podFixed = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`," +
	"`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations)," +
	"`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"

// validatePodUpdate checks the few changes a pod can take, and that there are no others (rule D10).
func validatePodUpdate(_ context.Context, pod, old *corev1.Pod) field.ErrorList {
	path := field.NewPath("spec")
	now, was := &pod.Spec, &old.Spec
	if samePodSpec(now, was) {
		return nil // it was checked when it came, maybe by a version that knew less: its metadata may change nevertheless
	}
	errs := validatePodSpec(now, path)
	if len(now.Containers) != len(was.Containers) {
		return append(errs, field.Forbidden(path.Child("containers"), "pod updates may not add or remove containers"))
	}
	if len(now.InitContainers) != len(was.InitContainers) {
		return append(errs, field.Forbidden(path.Child("initContainers"), "pod updates may not add or remove containers"))
	}
	errs = append(errs, validateDeadlineChange(now, was, path.Child("activeDeadlineSeconds"))...)
	if !keepsTolerations(now.Tolerations, was.Tolerations) {
		errs = append(errs, field.Forbidden(path.Child("tolerations"), "existing toleration can not be modified except its tolerationSeconds"))
	}
	rest := now.DeepCopy()
	for i := range rest.Containers {
		rest.Containers[i].Image = was.Containers[i].Image
	}
	for i := range rest.InitContainers {
		rest.InitContainers[i].Image = was.InitContainers[i].Image
	}
	rest.ActiveDeadlineSeconds, rest.Tolerations = was.ActiveDeadlineSeconds, was.Tolerations
	if ptr.Deref(was.TerminationGracePeriodSeconds, 0) < 0 && ptr.Deref(now.TerminationGracePeriodSeconds, 0) == 1 {
		rest.TerminationGracePeriodSeconds = was.TerminationGracePeriodSeconds
	}
	if removesGates(now.SchedulingGates, was.SchedulingGates) {
		rest.SchedulingGates = was.SchedulingGates
	}
	if !samePodSpec(rest, was) {
		errs = append(errs, field.Forbidden(path, podFixed+"\n"+diff.Diff(was, rest)))
	}
	return errs
}

func validateDeadlineChange(now, was *corev1.PodSpec, path *field.Path) field.ErrorList {
	switch {
	case was.ActiveDeadlineSeconds == nil:
		return nil
	case now.ActiveDeadlineSeconds == nil:
		return field.ErrorList{field.Invalid(path, now.ActiveDeadlineSeconds, "must not update from a positive integer to nil value")}
	case *now.ActiveDeadlineSeconds > *was.ActiveDeadlineSeconds:
		return field.ErrorList{field.Invalid(path, *now.ActiveDeadlineSeconds, "must be less than or equal to previous value")}
	}
	return nil
}

// keepsTolerations reports whether every toleration a pod had is still there, its seconds apart.
func keepsTolerations(now, was []corev1.Toleration) bool {
	for _, old := range was {
		kept := slices.ContainsFunc(now, func(t corev1.Toleration) bool {
			return t.Key == old.Key && t.Operator == old.Operator && t.Value == old.Value && t.Effect == old.Effect
		})
		if !kept {
			return false
		}
	}
	return true
}

// removesGates reports whether the only change of scheduling gates is that some are gone (KEP-3521).
func removesGates(now, was []corev1.PodSchedulingGate) bool {
	for _, gate := range now {
		if !slices.Contains(was, gate) {
			return false
		}
	}
	return true
}

package registry

import (
	"context"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func namespaces() *kind[*corev1.Namespace] {
	return &kind[*corev1.Namespace]{
		plural: "namespaces", singular: "namespace", short: []string{"ns"}, cluster: true, returns: true,
		new:  func() *corev1.Namespace { return &corev1.Namespace{} },
		list: func() runtime.Object { return &corev1.NamespaceList{} },
		prepare: func(_ context.Context, ns *corev1.Namespace) {
			ns.Status = corev1.NamespaceStatus{Phase: corev1.NamespaceActive}
			addNamespaceFinalizer(ns)
		},
		prepareUpdate: func(_ context.Context, ns, old *corev1.Namespace) {
			ns.Spec.Finalizers, ns.Status = old.Spec.Finalizers, old.Status
		},
		validate: func(_ context.Context, ns *corev1.Namespace) field.ErrorList {
			errs := validateMeta(&ns.ObjectMeta, false, apivalidation.NameIsDNSLabel)
			return append(errs, validateFinalizers(ns)...)
		},
		prepareStatus: func(_ context.Context, ns, old *corev1.Namespace) { ns.Spec = old.Spec },
		validateStatus: func(_ context.Context, ns, _ *corev1.Namespace) field.ErrorList {
			return validatePhase(ns)
		},
		selectable: func(ns *corev1.Namespace, set fields.Set) { set["status.phase"] = string(ns.Status.Phase) },
		columns: []metav1.TableColumnDefinition{
			name(), column("Status", "string", "The status of the namespace"), age(),
		},
		row: func(ns *corev1.Namespace) []any {
			return []any{ns.Name, string(ns.Status.Phase), since(ns.CreationTimestamp)}
		},
	}
}

// finalize is the row of namespaces for the finalize subresource, which alone may change spec.finalizers.
func finalize() *kind[*corev1.Namespace] {
	k := namespaces()
	k.prepareUpdate = func(_ context.Context, ns, old *corev1.Namespace) { ns.Status = old.Status }
	k.validateUpdate = func(_ context.Context, ns, _ *corev1.Namespace) field.ErrorList { return validateFinalizers(ns) }
	return k
}

// defaultNamespace labels a namespace with its name, so that selectors can name namespaces (KEP-2161).
func defaultNamespace(ns *corev1.Namespace) {
	setDefault(&ns.Status.Phase, corev1.NamespaceActive)
	if ns.Name == "" {
		return
	}
	if ns.Labels == nil {
		ns.Labels = map[string]string{}
	}
	ns.Labels[corev1.LabelMetadataName] = ns.Name
}

// addNamespaceFinalizer holds a namespace, once it is deleted, until its content is gone.
func addNamespaceFinalizer(ns *corev1.Namespace) {
	for _, finalizer := range ns.Spec.Finalizers {
		if finalizer == corev1.FinalizerKubernetes {
			return
		}
	}
	ns.Spec.Finalizers = append(ns.Spec.Finalizers, corev1.FinalizerKubernetes)
}

func validateFinalizers(ns *corev1.Namespace) field.ErrorList {
	var errs field.ErrorList
	for i, finalizer := range ns.Spec.Finalizers {
		at := field.NewPath("spec", "finalizers").Index(i)
		errs = append(errs, metavalidation.ValidateLabelName(string(finalizer), at)...)
		switch finalizer {
		case corev1.FinalizerKubernetes, metav1.FinalizerOrphanDependents, metav1.FinalizerDeleteDependents:
		default:
			if !strings.Contains(string(finalizer), "/") {
				errs = append(errs, field.Invalid(at, finalizer, "name is neither a standard finalizer name nor is it fully qualified"))
			}
		}
	}
	return errs
}

// validatePhase checks that a namespace is terminating exactly when it has been deleted.
func validatePhase(ns *corev1.Namespace) field.ErrorList {
	path := field.NewPath("status", "phase")
	switch {
	case ns.DeletionTimestamp.IsZero() && ns.Status.Phase != corev1.NamespaceActive:
		return field.ErrorList{field.Invalid(path, ns.Status.Phase, "may only be 'Active' if `deletionTimestamp` is empty")}
	case !ns.DeletionTimestamp.IsZero() && ns.Status.Phase != corev1.NamespaceTerminating:
		return field.ErrorList{field.Invalid(path, ns.Status.Phase, "may only be 'Terminating' if `deletionTimestamp` is not empty")}
	}
	return nil
}

package registry

import (
	"context"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

func replicaSets() *kind[*appsv1.ReplicaSet] {
	return &kind[*appsv1.ReplicaSet]{
		group: appsv1.GroupName, plural: "replicasets", singular: "replicaset", short: []string{"rs"}, categories: []string{"all"},
		new:  func() *appsv1.ReplicaSet { return &appsv1.ReplicaSet{} },
		list: func() runtime.Object { return &appsv1.ReplicaSetList{} },
		prepare: func(_ context.Context, rs *appsv1.ReplicaSet) {
			rs.Status, rs.Generation = appsv1.ReplicaSetStatus{}, 1
		},
		prepareUpdate: func(_ context.Context, rs, old *appsv1.ReplicaSet) {
			rs.Status = old.Status
			if !equality.Semantic.DeepEqual(rs.Spec, old.Spec) {
				rs.Generation = old.Generation + 1
			}
		},
		validate: func(_ context.Context, rs *appsv1.ReplicaSet) field.ErrorList { return validateReplicaSet(rs, nil) },
		validateUpdate: func(_ context.Context, rs, old *appsv1.ReplicaSet) field.ErrorList {
			errs := validateReplicaSet(rs, &old.Spec.Template)
			return append(errs, unchanged(field.NewPath("spec", "selector"), rs.Spec.Selector, old.Spec.Selector)...)
		},
		warn: func(rs, _ *appsv1.ReplicaSet) []string {
			return podWarnings(&rs.ObjectMeta, &rs.Spec.Template.Spec, field.NewPath("spec", "template", "spec"))
		},
		prepareStatus:  func(_ context.Context, rs, old *appsv1.ReplicaSet) { rs.Spec = old.Spec },
		validateStatus: validateReplicaSetStatus,
		selectable: func(rs *appsv1.ReplicaSet, set fields.Set) {
			set["status.replicas"] = strconv.Itoa(int(rs.Status.Replicas))
		},
		columns: []metav1.TableColumnDefinition{
			name(),
			column("Desired", "integer", appsv1.ReplicaSetSpec{}.SwaggerDoc()["replicas"]),
			column("Current", "integer", appsv1.ReplicaSetStatus{}.SwaggerDoc()["replicas"]),
			column("Ready", "integer", appsv1.ReplicaSetStatus{}.SwaggerDoc()["readyReplicas"]),
			age(),
			wide("Containers", "string", "Names of each container in the template."),
			wide("Images", "string", "Images referenced by each container in the template."),
			wide("Selector", "string", appsv1.ReplicaSetSpec{}.SwaggerDoc()["selector"]),
		},
		row: func(rs *appsv1.ReplicaSet) []any {
			containers, images := templateContainers(&rs.Spec.Template)
			return []any{
				rs.Name, int64(ptr.Deref(rs.Spec.Replicas, 1)), int64(rs.Status.Replicas), int64(rs.Status.ReadyReplicas),
				since(rs.CreationTimestamp), containers, images, metav1.FormatLabelSelector(rs.Spec.Selector),
			}
		},
	}
}

func defaultReplicaSet(rs *appsv1.ReplicaSet) {
	defaultPodSpec(&rs.Spec.Template.Spec)
	setPointer(&rs.Spec.Replicas, 1)
}

// validateReplicaSet checks a ReplicaSet; was is the template it had, if any.
func validateReplicaSet(rs *appsv1.ReplicaSet, was *corev1.PodTemplateSpec) field.ErrorList {
	errs := validateMeta(&rs.ObjectMeta, true, apivalidation.NameIsDNSSubdomain)
	path, spec := field.NewPath("spec"), &rs.Spec
	errs = append(errs, validateReplicas(spec.Replicas, path)...)
	errs = append(errs, validateNonNegative(path.Child("minReadySeconds"), int64(spec.MinReadySeconds))...)
	errs = append(errs, validateSelector(spec.Selector, &spec.Template, path)...)
	return append(errs, validateTemplate(&spec.Template, was, path.Child("template"))...)
}

func validateReplicas(replicas *int32, path *field.Path) field.ErrorList {
	if replicas == nil {
		return field.ErrorList{field.Required(path.Child("replicas"), "")}
	}
	return validateNonNegative(path.Child("replicas"), int64(*replicas))
}

// validateSelector checks that a workload selects the pods of its own template (rule D20).
func validateSelector(selector *metav1.LabelSelector, template *corev1.PodTemplateSpec, path *field.Path) field.ErrorList {
	at := path.Child("selector")
	if selector == nil {
		return field.ErrorList{field.Required(at, "")}
	}
	errs := metavalidation.ValidateLabelSelector(selector, metavalidation.LabelSelectorValidationOptions{}, at)
	if len(selector.MatchLabels)+len(selector.MatchExpressions) == 0 {
		errs = append(errs, field.Invalid(at, selector, "empty selector is invalid for deployment"))
	}
	s, err := metav1.LabelSelectorAsSelector(selector)
	switch {
	case err != nil:
		errs = append(errs, field.Invalid(at, selector, "invalid label selector"))
	case !s.Empty() && !s.Matches(labels.Set(template.Labels)):
		errs = append(errs, field.Invalid(path.Child("template", "metadata", "labels"), template.Labels, "`selector` does not match template `labels`"))
	}
	return errs
}

// validateTemplate checks the template of pods that are replaced when they end. One that has not changed was checked when it
// came, maybe by a version that knew less: the rest of the object may change nevertheless.
func validateTemplate(template, was *corev1.PodTemplateSpec, path *field.Path) field.ErrorList {
	if was != nil && equality.Semantic.DeepEqual(template, was) {
		return nil
	}
	meta := path.Child("metadata")
	errs := metavalidation.ValidateLabels(template.Labels, meta.Child("labels"))
	errs = append(errs, apivalidation.ValidateAnnotations(template.Annotations, meta.Child("annotations"))...)
	errs = append(errs, validatePodSpec(&template.Spec, path.Child("spec"))...)
	errs = append(errs, refuseUndone(&template.Spec, path.Child("spec"))...)
	if len(template.Spec.EphemeralContainers) > 0 {
		errs = append(errs, field.Forbidden(path.Child("spec", "ephemeralContainers"), "ephemeral containers not allowed in pod template"))
	}
	if policy := template.Spec.RestartPolicy; policy != corev1.RestartPolicyAlways {
		errs = append(errs, oneOf(path.Child("spec", "restartPolicy"), policy, corev1.RestartPolicyAlways)...)
	}
	if template.Spec.ActiveDeadlineSeconds != nil {
		errs = append(errs, field.Forbidden(path.Child("spec", "activeDeadlineSeconds"), "activeDeadlineSeconds in ReplicaSet is not Supported"))
	}
	return errs
}

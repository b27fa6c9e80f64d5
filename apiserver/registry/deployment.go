package registry

import (
	"context"
	"fmt"
	"strconv"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

func deployments() *kind[*appsv1.Deployment] {
	return &kind[*appsv1.Deployment]{
		group: appsv1.GroupName, plural: "deployments", singular: "deployment", short: []string{"deploy"}, categories: []string{"all"},
		new:  func() *appsv1.Deployment { return &appsv1.Deployment{} },
		list: func() runtime.Object { return &appsv1.DeploymentList{} },
		prepare: func(_ context.Context, d *appsv1.Deployment) {
			d.Status, d.Generation = appsv1.DeploymentStatus{}, 1
		},
		prepareUpdate: func(_ context.Context, d, old *appsv1.Deployment) {
			d.Status = old.Status
			if !equality.Semantic.DeepEqual(d.Spec, old.Spec) || !equality.Semantic.DeepEqual(d.Annotations, old.Annotations) {
				d.Generation = old.Generation + 1 // rule D32; upstream counts annotations for Deployments
			}
		},
		validate:       func(_ context.Context, d *appsv1.Deployment) field.ErrorList { return validateDeployment(d, nil) },
		validateUpdate: validateDeploymentUpdate,
		warn: func(d, _ *appsv1.Deployment) []string {
			return podWarnings(&d.ObjectMeta, &d.Spec.Template.Spec, field.NewPath("spec", "template", "spec"))
		},
		prepareStatus: func(_ context.Context, d, old *appsv1.Deployment) {
			d.Spec, d.Labels = old.Spec, old.Labels
		},
		validateStatus: validateDeploymentStatus,
		columns: []metav1.TableColumnDefinition{
			name(),
			column("Ready", "string", "Number of the pod with ready state"),
			column("Up-to-date", "string", appsv1.DeploymentStatus{}.SwaggerDoc()["updatedReplicas"]),
			column("Available", "string", appsv1.DeploymentStatus{}.SwaggerDoc()["availableReplicas"]),
			age(),
			wide("Containers", "string", "Names of each container in the template."),
			wide("Images", "string", "Images referenced by each container in the template."),
			wide("Selector", "string", appsv1.DeploymentSpec{}.SwaggerDoc()["selector"]),
		},
		row: func(d *appsv1.Deployment) []any {
			containers, images := templateContainers(&d.Spec.Template)
			ready := fmt.Sprintf("%d/%d", d.Status.ReadyReplicas, ptr.Deref(d.Spec.Replicas, 1))
			return []any{
				d.Name, ready, int64(d.Status.UpdatedReplicas), int64(d.Status.AvailableReplicas),
				since(d.CreationTimestamp), containers, images, metav1.FormatLabelSelector(d.Spec.Selector),
			}
		},
	}
}

// defaultDeployment fills in a Deployment (rule D30).
func defaultDeployment(d *appsv1.Deployment) {
	spec := &d.Spec
	defaultPodSpec(&spec.Template.Spec)
	setPointer(&spec.Replicas, 1)
	setPointer(&spec.RevisionHistoryLimit, 10)
	setPointer(&spec.ProgressDeadlineSeconds, 600)
	setDefault(&spec.Strategy.Type, appsv1.RollingUpdateDeploymentStrategyType)
	if spec.Strategy.Type != appsv1.RollingUpdateDeploymentStrategyType {
		return
	}
	if spec.Strategy.RollingUpdate == nil {
		spec.Strategy.RollingUpdate = &appsv1.RollingUpdateDeployment{}
	}
	setPointer(&spec.Strategy.RollingUpdate.MaxUnavailable, intstr.FromString("25%"))
	setPointer(&spec.Strategy.RollingUpdate.MaxSurge, intstr.FromString("25%"))
}

// validateDeployment checks a Deployment; was is the template it had, if any.
func validateDeployment(d *appsv1.Deployment, was *corev1.PodTemplateSpec) field.ErrorList {
	errs := validateMeta(&d.ObjectMeta, true, apivalidation.NameIsDNSSubdomain)
	path, spec := field.NewPath("spec"), &d.Spec
	errs = append(errs, validateReplicas(spec.Replicas, path)...)
	errs = append(errs, validateSelector(spec.Selector, &spec.Template, path)...)
	errs = append(errs, validateTemplate(&spec.Template, was, path.Child("template"))...)
	errs = append(errs, validateStrategy(&spec.Strategy, path.Child("strategy"))...)
	errs = append(errs, validateNonNegative(path.Child("minReadySeconds"), int64(spec.MinReadySeconds))...)
	if limit := spec.RevisionHistoryLimit; limit != nil {
		errs = append(errs, validateNonNegative(path.Child("revisionHistoryLimit"), int64(*limit))...)
	}
	if deadline := spec.ProgressDeadlineSeconds; deadline != nil {
		at := path.Child("progressDeadlineSeconds")
		errs = append(errs, validateNonNegative(at, int64(*deadline))...)
		if *deadline <= spec.MinReadySeconds {
			errs = append(errs, field.Invalid(at, *deadline, "must be greater than minReadySeconds"))
		}
	}
	return errs
}

func validateDeploymentUpdate(_ context.Context, d, old *appsv1.Deployment) field.ErrorList {
	errs := validateDeployment(d, &old.Spec.Template)
	return append(errs, unchanged(field.NewPath("spec", "selector"), d.Spec.Selector, old.Spec.Selector)...)
}

func validateStrategy(s *appsv1.DeploymentStrategy, path *field.Path) field.ErrorList {
	switch s.Type {
	case appsv1.RecreateDeploymentStrategyType:
		if s.RollingUpdate != nil {
			return field.ErrorList{field.Forbidden(path.Child("rollingUpdate"), fmt.Sprintf("may not be specified when strategy `type` is '%s'", s.Type))}
		}
		return nil
	case appsv1.RollingUpdateDeploymentStrategyType:
		if s.RollingUpdate == nil {
			return field.ErrorList{field.Required(path.Child("rollingUpdate"), "this should be defaulted and never be nil")}
		}
		return validateRollingUpdate(s.RollingUpdate, path.Child("rollingUpdate"))
	}
	return oneOf(path, s.Type, appsv1.RecreateDeploymentStrategyType, appsv1.RollingUpdateDeploymentStrategyType)
}

func validateRollingUpdate(r *appsv1.RollingUpdateDeployment, path *field.Path) field.ErrorList {
	unavailable, surge := path.Child("maxUnavailable"), path.Child("maxSurge")
	errs := validateShare(r.MaxUnavailable, unavailable)
	errs = append(errs, validateShare(r.MaxSurge, surge)...)
	if share(r.MaxUnavailable) == 0 && share(r.MaxSurge) == 0 {
		errs = append(errs, field.Invalid(unavailable, r.MaxUnavailable, "may not be 0 when `maxSurge` is 0"))
	}
	if r.MaxUnavailable != nil && r.MaxUnavailable.Type == intstr.String && share(r.MaxUnavailable) > 100 {
		errs = append(errs, field.Invalid(unavailable, r.MaxUnavailable, "must not be greater than 100%"))
	}
	return errs
}

// validateShare checks a number of pods or a percentage of them.
func validateShare(value *intstr.IntOrString, path *field.Path) field.ErrorList {
	if value == nil {
		return nil
	}
	if value.Type == intstr.String {
		return invalid(path, value, validation.IsValidPercent(value.StrVal))
	}
	return validateNonNegative(path, int64(value.IntVal))
}

// share is the number in a count or in a percentage.
func share(value *intstr.IntOrString) int {
	switch {
	case value == nil:
		return 0
	case value.Type == intstr.Int:
		return int(value.IntVal)
	case value.StrVal == "":
		return 0
	}
	n, err := strconv.Atoi(value.StrVal[:len(value.StrVal)-1])
	if err != nil {
		return 0
	}
	return n
}

// templateContainers are the names and images of a template's containers, as printed by "-o wide".
func templateContainers(template *corev1.PodTemplateSpec) (names, images string) {
	for i := range template.Spec.Containers {
		if i > 0 {
			names, images = names+",", images+","
		}
		names += template.Spec.Containers[i].Name
		images += template.Spec.Containers[i].Image
	}
	return names, images
}

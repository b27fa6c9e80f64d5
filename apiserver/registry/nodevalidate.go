package registry

import (
	"context"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/api/validate/content"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validateNode checks a node; old is what it was, empty on create.
func validateNode(n, old *corev1.Node) field.ErrorList {
	errs := validateMeta(&n.ObjectMeta, false, apivalidation.NameIsDNSSubdomain)
	path := field.NewPath("spec")
	errs = append(errs, validateTaints(n.Spec.Taints, path.Child("taints"))...)
	errs = append(errs, validatePodCIDRs(&n.Spec, path)...)
	errs = append(errs, refuseUndoneNode(&n.Spec, &old.Spec, path)...)
	return append(errs, validateNodeStatus(n)...)
}

func validateTaints(taints []corev1.Taint, path *field.Path) field.ErrorList {
	type key struct {
		name   string
		effect corev1.TaintEffect
	}
	var errs field.ErrorList
	seen := map[key]bool{}
	for i, taint := range taints {
		at := path.Index(i)
		errs = append(errs, metavalidation.ValidateLabelName(taint.Key, at.Child("key"))...)
		errs = append(errs, invalid(at.Child("value"), taint.Value, content.IsLabelValue(taint.Value))...)
		errs = append(errs, requiredOneOf(at.Child("effect"), taint.Effect, corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute)...)
		k := key{taint.Key, taint.Effect}
		if seen[k] {
			twice := field.Duplicate(at, taint)
			twice.Detail = "taints must be unique by key and effect pair"
			errs = append(errs, twice)
		}
		seen[k] = true
	}
	return errs
}

func validatePodCIDRs(spec *corev1.NodeSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if cidrs := spec.PodCIDRs; len(cidrs) > 2 || len(cidrs) == 2 && strings.Contains(cidrs[0], ":") == strings.Contains(cidrs[1], ":") {
		errs = append(errs, field.Invalid(path.Child("podCIDRs"), cidrs, "may specify no more than one CIDR for each IP family"))
	}
	for i, cidr := range spec.PodCIDRs {
		if _, err := netip.ParsePrefix(cidr); err != nil {
			errs = append(errs, field.Invalid(path.Child("podCIDRs").Index(i), cidr, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"))
		}
	}
	if spec.PodCIDR != "" && (len(spec.PodCIDRs) == 0 || spec.PodCIDRs[0] != spec.PodCIDR) {
		errs = append(errs, field.Invalid(path.Child("podCIDRs"), spec.PodCIDRs, "the first value must match `podCIDR`"))
	}
	return errs
}

// refuseUndoneNode refuses the fields that nothing here carries out. One that a node has already may stay, so that the rest of the
// node can change.
func refuseUndoneNode(spec, old *corev1.NodeSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	//lint:ignore SA1019 what is refused
	if spec.ConfigSource != nil && !equality.Semantic.DeepEqual(spec.ConfigSource, old.ConfigSource) {
		errs = append(errs, field.Forbidden(path.Child("configSource"), "dynamic configuration of nodes is not supported"))
	}
	if spec.PodPreemptionPolicy != nil && !equality.Semantic.DeepEqual(spec.PodPreemptionPolicy, old.PodPreemptionPolicy) {
		errs = append(errs, field.Forbidden(path.Child("podPreemptionPolicy"), "preemption is not supported"))
	}
	return errs
}

// validateNodeUpdate fixes what pods already run with: a node's pod addresses and provider, once set. A range of the
// other family may be added, as a cluster becomes dual-stack; upstream wants the node registered anew for that.
func validateNodeUpdate(_ context.Context, n, old *corev1.Node) field.ErrorList {
	errs := validateNode(n, old)
	path := field.NewPath("spec")
	if had := old.Spec.PodCIDRs; !slices.Equal(n.Spec.PodCIDRs[:min(len(had), len(n.Spec.PodCIDRs))], had) {
		errs = append(errs, field.Forbidden(path.Child("podCIDRs"), "node updates may not change podCIDR except from \"\" to valid"))
	}
	if old.Spec.ProviderID != "" && n.Spec.ProviderID != old.Spec.ProviderID {
		errs = append(errs, field.Forbidden(path.Child("providerID"), "node updates may not change providerID except from \"\" to valid"))
	}
	if n.Spec.DoNotUseExternalID != old.Spec.DoNotUseExternalID {
		errs = append(errs, field.Forbidden(path.Child("externalID"), "node updates may not change it"))
	}
	return errs
}

// validateNodeStatus checks what a node says of itself: how much it has, and where it is.
func validateNodeStatus(n *corev1.Node) field.ErrorList {
	path := field.NewPath("status")
	errs := validateCapacity(n.Status.Capacity, path.Child("capacity"))
	errs = append(errs, validateCapacity(n.Status.Allocatable, path.Child("allocatable"))...)
	seen := map[corev1.NodeAddress]bool{}
	for i, address := range n.Status.Addresses {
		if seen[address] {
			errs = append(errs, field.Duplicate(path.Child("addresses").Index(i), address))
		}
		seen[address] = true
	}
	return errs
}

func validateCapacity(list corev1.ResourceList, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, name := range slices.Sorted(maps.Keys(list)) {
		at, amount := path.Child(string(name)), list[name]
		if amount.Cmp(resource.Quantity{}) < 0 {
			errs = append(errs, field.Invalid(at, amount.String(), "must be greater than or equal to 0"))
		}
		if (name == corev1.ResourcePods || extended(name)) && amount.MilliValue()%1000 != 0 {
			errs = append(errs, field.Invalid(at, amount.String(), "must be an integer"))
		}
	}
	return errs
}

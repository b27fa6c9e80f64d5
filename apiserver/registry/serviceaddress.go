package registry

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// validateAddresses checks clusterIP, clusterIPs, ipFamilies and ipFamilyPolicy against each other (rules S47,
// S118-S123). It runs before addresses are allocated, which may rely on it, and again with the rest.
func validateAddresses(svc *corev1.Service) field.ErrorList {
	if svc.Spec.Type == corev1.ServiceTypeExternalName {
		return nil // validateServiceType refuses all of them
	}
	spec, path := &svc.Spec, field.NewPath("spec")
	errs := validateAddressPair(spec, path.Child("clusterIPs"))
	seen := map[corev1.IPFamily]bool{}
	for i, family := range spec.IPFamilies {
		at := path.Child("ipFamilies").Index(i)
		errs = append(errs, oneOf(at, family, corev1.IPv4Protocol, corev1.IPv6Protocol)...)
		if seen[family] {
			errs = append(errs, field.Duplicate(at, family))
		}
		seen[family] = true
	}
	if spec.IPFamilyPolicy != nil {
		errs = append(errs, oneOf(path.Child("ipFamilyPolicy"), *spec.IPFamilyPolicy, corev1.IPFamilyPolicyPreferDualStack,
			corev1.IPFamilyPolicyRequireDualStack, corev1.IPFamilyPolicySingleStack)...)
	}
	errs = append(errs, validateAddressList(spec, path.Child("clusterIPs"))...)
	if len(errs) > 0 {
		return errs // of what follows, little would be true
	}
	if len(spec.ClusterIPs) == 2 && familyOf(spec.ClusterIPs[0]) == familyOf(spec.ClusterIPs[1]) {
		errs = append(errs, field.Invalid(path.Child("clusterIPs"), spec.ClusterIPs, "may specify no more than one IP for each IP family"))
	}
	if headless(svc) {
		return errs
	}
	for i, ip := range spec.ClusterIPs {
		if i < len(spec.IPFamilies) && familyOf(ip) != spec.IPFamilies[i] {
			errs = append(errs, field.Invalid(path.Child("clusterIPs").Index(i), ip,
				fmt.Sprintf("expected an %s value as indicated by `ipFamilies[%d]`", spec.IPFamilies[i], i)))
		}
	}
	return errs
}

// validateAddressPair checks that clusterIP is the first of clusterIPs (rules S118, S119).
func validateAddressPair(spec *corev1.ServiceSpec, path *field.Path) field.ErrorList {
	switch {
	case spec.ClusterIP == "" && len(spec.ClusterIPs) > 0:
		return field.ErrorList{field.Invalid(path, spec.ClusterIPs, "must be empty when `clusterIP` is not specified")}
	case spec.ClusterIP != "" && len(spec.ClusterIPs) == 0:
		return field.ErrorList{field.Required(path, "")}
	case spec.ClusterIP != "" && spec.ClusterIPs[0] != spec.ClusterIP:
		return field.ErrorList{field.Invalid(path, spec.ClusterIPs, "first value must match `clusterIP`")}
	}
	return nil
}

// validateAddressList checks the form of each address (rules S120, S121, S134).
func validateAddressList(spec *corev1.ServiceSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, ip := range spec.ClusterIPs {
		if i == 0 && ip == corev1.ClusterIPNone {
			if len(spec.ClusterIPs) > 1 {
				errs = append(errs, field.Invalid(path, spec.ClusterIPs, "'None' must be the first and only value"))
			}
			continue
		}
		errs = append(errs, validation.IsValidIPForLegacyField(path.Index(i), ip, true, nil)...)
	}
	if len(spec.ClusterIPs) > 2 {
		errs = append(errs, field.Invalid(path, spec.ClusterIPs, "may only hold up to 2 values"))
	}
	return errs
}

// validateAddressChange keeps the first address and family for the life of a Service (rules S80, S90). A Service that
// is or becomes an ExternalName has none to keep, and one without an address may change its families.
func validateAddressChange(svc, old *corev1.Service) field.ErrorList {
	if !needsClusterIP(svc) || !needsClusterIP(old) {
		return nil
	}
	errs := validateClusterIPChange(svc, old)
	if headless(svc) && headless(old) {
		return errs
	}
	path := field.NewPath("spec", "ipFamilies")
	return append(errs, validateKept(path, svc.Spec.IPFamilies, old.Spec.IPFamilies, "primary ipFamily can not be unset")...)
}

func validateClusterIPChange(svc, old *corev1.Service) field.ErrorList {
	path := field.NewPath("spec", "clusterIPs")
	return validateKept(path, svc.Spec.ClusterIPs, old.Spec.ClusterIPs, "primary clusterIP can not be unset")
}

// validateKept checks that each place both lists have holds the same value, and that the first is still there.
func validateKept[T comparable](path *field.Path, now, was []T, gone string) field.ErrorList {
	if len(was) > 0 && len(now) == 0 {
		return field.ErrorList{field.Invalid(path.Index(0), now, gone)}
	}
	var errs field.ErrorList
	for i := range min(len(now), len(was)) {
		if now[i] != was[i] {
			errs = append(errs, field.Invalid(path.Index(i), now, "may not change once set"))
		}
	}
	return errs
}

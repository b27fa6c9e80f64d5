package registry

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	utilnet "k8s.io/utils/net"
	"k8s.io/utils/ptr"
)

// validateAddresses checks clusterIP, clusterIPs, ipFamilies and ipFamilyPolicy against each other (rules S47,
// S118-S123). It runs before addresses are allocated, which may rely on it, and again with the rest.
func validateAddresses(svc, old *corev1.Service) field.ErrorList {
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
	unusable := validateAddressList(spec, old.Spec.ClusterIPs, path.Child("clusterIPs"))
	if len(spec.ClusterIPs) > 2 {
		errs = append(errs, field.Invalid(path.Child("clusterIPs"), spec.ClusterIPs, "may only hold up to 2 values"))
	}
	if errs = append(errs, unusable...); len(unusable) > 0 {
		return errs // of what follows, little would be true
	}
	if dual, err := utilnet.IsDualStackIPStrings(spec.ClusterIPs); len(spec.ClusterIPs) > 1 && (err != nil || !dual) {
		errs = append(errs, field.Invalid(path.Child("clusterIPs"), spec.ClusterIPs, "may specify no more than one IP for each IP family"))
	}
	if withoutAddress(svc) {
		return errs
	}
	for i, ip := range spec.ClusterIPs[:min(len(spec.ClusterIPs), len(spec.IPFamilies))] {
		if family := spec.IPFamilies[i]; family == corev1.IPv4Protocol && utilnet.IsIPv6String(ip) || family == corev1.IPv6Protocol && !utilnet.IsIPv6String(ip) {
			errs = append(errs, field.Invalid(path.Child("clusterIPs").Index(i), ip, fmt.Sprintf("expected an %s value as indicated by `ipFamilies[%d]`", family, i)))
		}
	}
	return errs
}

// withoutAddress reports whether the list of addresses says that there is none.
func withoutAddress(svc *corev1.Service) bool {
	return len(svc.Spec.ClusterIPs) == 1 && svc.Spec.ClusterIPs[0] == corev1.ClusterIPNone
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

// validateAddressList checks the form of each address (rules S120, S121, S134). One that the Service has may stay in a form that is
// not allowed any more.
func validateAddressList(spec *corev1.ServiceSpec, had []string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, ip := range spec.ClusterIPs {
		if i == 0 && ip == corev1.ClusterIPNone {
			if len(spec.ClusterIPs) > 1 {
				errs = append(errs, field.Invalid(path, spec.ClusterIPs, "'None' must be the first and only value"))
			}
			continue
		}
		errs = append(errs, validation.IsValidIPForLegacyField(path.Index(i), ip, true, had)...)
	}
	return errs
}

// validateAddressChange keeps the first address and family for the life of a Service (rules S80, S90). A Service that
// is or becomes an ExternalName has none to keep, and one without an address may change its families.
func validateAddressChange(svc, old *corev1.Service) field.ErrorList {
	if svc.Spec.Type == corev1.ServiceTypeExternalName || old.Spec.Type == corev1.ServiceTypeExternalName {
		return nil
	}
	errs := validateKeptAddresses(svc, old)
	if len(svc.Spec.ClusterIPs) == 1 && len(old.Spec.ClusterIPs) > 1 && !single(svc) {
		errs = append(errs, field.Invalid(field.NewPath("spec", "ipFamilyPolicy"), svc.Spec.IPFamilyPolicy, "must be set to 'SingleStack' when releasing the secondary clusterIP"))
	}
	if !withoutAddress(svc) && !withoutAddress(old) {
		errs = append(errs, validateFamilyChange(svc, old)...)
	}
	return errs
}

func validateKeptAddresses(svc, old *corev1.Service) field.ErrorList {
	if withoutAddress(svc) && withoutAddress(old) {
		return nil
	}
	now, was, path := svc.Spec.ClusterIPs, old.Spec.ClusterIPs, field.NewPath("spec", "clusterIPs")
	var errs field.ErrorList
	compared := 1 // a second one may come and go
	if len(now) == len(was) {
		compared = len(was)
	}
	for i := range min(compared, len(now), len(was)) {
		if now[i] != was[i] {
			errs = append(errs, field.Invalid(path.Index(i), now, "may not change once set"))
		}
	}
	if len(now) == 0 && len(was) > 0 {
		errs = append(errs, field.Invalid(path.Index(0), now, "primary clusterIP can not be unset"))
	}
	return errs
}

// validateFamilyChange has the values that upstream shows: where the lists differ in length, addresses.
func validateFamilyChange(svc, old *corev1.Service) field.ErrorList {
	now, was, path := svc.Spec.IPFamilies, old.Spec.IPFamilies, field.NewPath("spec", "ipFamilies").Index(0)
	var errs field.ErrorList
	switch {
	case len(now) == len(was):
		for i := range was {
			if now[i] != was[i] {
				errs = append(errs, field.Invalid(path, now, "may not change once set"))
			}
		}
		return errs
	case len(now) < len(was) && len(svc.Spec.ClusterIPs) == 0:
		errs = append(errs, field.Invalid(path, now, "primary ipFamily can not be unset"))
	}
	if len(now) > 0 && len(was) > 0 && now[0] != was[0] {
		errs = append(errs, field.Invalid(path, svc.Spec.ClusterIPs, "may not change once set"))
	}
	if len(now) == 1 && len(was) > 1 && !single(svc) {
		errs = append(errs, field.Invalid(field.NewPath("spec", "ipFamilyPolicy"), svc.Spec.IPFamilyPolicy, "must be set to 'SingleStack' when releasing the secondary ipFamily"))
	}
	return errs
}

func single(svc *corev1.Service) bool {
	return ptr.Deref(svc.Spec.IPFamilyPolicy, "") == corev1.IPFamilyPolicySingleStack
}

package registry

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"fairlead.dev/fairlead/api"
)

// familyOf is the IP family of an address; it is empty for what is not one.
func familyOf(ip string) corev1.IPFamily {
	if addr, err := netip.ParseAddr(ip); err == nil {
		return api.Family(addr)
	}
	return ""
}

func other(family corev1.IPFamily) corev1.IPFamily {
	if family == corev1.IPv6Protocol {
		return corev1.IPv4Protocol
	}
	return corev1.IPv6Protocol
}

// fillFamilies completes ipFamilyPolicy and ipFamilies of a Service that has addresses (rules S40-S51). The cluster's
// families come in the order of its address ranges, the default first; old is nil on create. The Service has passed
// validateAddresses.
func fillFamilies(svc, old *corev1.Service, cluster []corev1.IPFamily) field.ErrorList {
	if !needsClusterIP(svc) {
		return nil
	}
	spec := &svc.Spec
	if errs := changeFamilies(svc, old); len(errs) > 0 {
		return errs
	}
	if old != nil && needsClusterIP(old) && prefersSame(spec, &old.Spec) {
		return nil
	}
	if errs := inferFamilies(spec, cluster); len(errs) > 0 {
		return errs
	}
	everywhere := headless(svc) && len(spec.Selector) == 0
	if spec.IPFamilyPolicy == nil {
		policy := corev1.IPFamilyPolicySingleStack
		if everywhere {
			policy = corev1.IPFamilyPolicyRequireDualStack // rule S41
		}
		spec.IPFamilyPolicy = &policy
	}
	if errs := refuseFamilies(svc, cluster, everywhere); len(errs) > 0 {
		return errs
	}
	if len(spec.IPFamilies) == 0 {
		spec.IPFamilies = []corev1.IPFamily{cluster[0]}
	}
	dual := *spec.IPFamilyPolicy != corev1.IPFamilyPolicySingleStack
	second := other(spec.IPFamilies[0])
	if dual && len(spec.IPFamilies) == 1 && (everywhere || slices.Contains(cluster, second)) {
		spec.IPFamilies = append(spec.IPFamilies, second) // rules S43, S44
	}
	return nil
}

// prefersSame reports whether an update leaves a PreferDualStack Service as it was. It then keeps the families it has,
// also when the cluster has gained or lost one since (rule S44).
func prefersSame(now, was *corev1.ServiceSpec) bool {
	return now.IPFamilyPolicy != nil && *now.IPFamilyPolicy == corev1.IPFamilyPolicyPreferDualStack &&
		same(now.IPFamilyPolicy, was.IPFamilyPolicy) &&
		slices.Equal(now.IPFamilies, was.IPFamilies) && slices.Equal(now.ClusterIPs, was.ClusterIPs)
}

// inferFamilies takes the families the user did not give from the addresses he gave (rules S42, S46).
func inferFamilies(spec *corev1.ServiceSpec, cluster []corev1.IPFamily) field.ErrorList {
	var errs field.ErrorList
	for i, ip := range spec.ClusterIPs {
		family := familyOf(ip)
		if i < len(spec.IPFamilies) || family == "" {
			continue
		}
		if !slices.Contains(cluster, family) {
			path := field.NewPath("spec", "clusterIPs").Index(i)
			errs = append(errs, field.Invalid(path, spec.ClusterIPs, string(family)+" is not configured on this cluster"))
		}
		spec.IPFamilies = append(spec.IPFamilies, family)
	}
	return errs
}

// changeFamilies handles what an update says about the second family: nothing (kept), a policy of SingleStack (both
// lists are trimmed), or a list trimmed by hand without it, which is refused (rules S48, S49).
func changeFamilies(svc, old *corev1.Service) field.ErrorList {
	if old == nil || !needsClusterIP(old) {
		return nil
	}
	now, was := &svc.Spec, &old.Spec
	if now.IPFamilyPolicy == nil {
		now.IPFamilyPolicy = was.IPFamilyPolicy
	}
	if len(now.IPFamilies) == 0 && headless(svc) == headless(old) {
		now.IPFamilies = was.IPFamilies
	}
	single := now.IPFamilyPolicy != nil && *now.IPFamilyPolicy == corev1.IPFamilyPolicySingleStack
	if single && !same(now.IPFamilyPolicy, was.IPFamilyPolicy) {
		if len(was.ClusterIPs) == 2 && slices.Equal(now.ClusterIPs, was.ClusterIPs) {
			now.ClusterIPs = now.ClusterIPs[:1]
		}
		if len(was.IPFamilies) == 2 && slices.Equal(now.IPFamilies, was.IPFamilies) {
			now.IPFamilies = now.IPFamilies[:1]
		}
	}
	if single || now.IPFamilyPolicy == nil {
		return nil
	}
	var errs field.ErrorList
	path := field.NewPath("spec", "ipFamilyPolicy")
	if len(was.ClusterIPs) == 2 && len(now.ClusterIPs) == 1 {
		errs = append(errs, field.Invalid(path, *now.IPFamilyPolicy, "must be 'SingleStack' to release the secondary cluster IP"))
	}
	if len(was.IPFamilies) == 2 && len(now.IPFamilies) == 1 {
		errs = append(errs, field.Invalid(path, *now.IPFamilyPolicy, "must be 'SingleStack' to release the secondary IP family"))
	}
	return errs
}

// refuseFamilies says what of a Service's families this cluster cannot provide (rules S45-S47).
func refuseFamilies(svc *corev1.Service, cluster []corev1.IPFamily, everywhere bool) field.ErrorList {
	spec := &svc.Spec
	var errs field.ErrorList
	policy := field.NewPath("spec", "ipFamilyPolicy")
	if *spec.IPFamilyPolicy == corev1.IPFamilyPolicySingleStack {
		if len(spec.ClusterIPs) > 1 {
			errs = append(errs, field.Invalid(policy, *spec.IPFamilyPolicy, "must be 'RequireDualStack' or 'PreferDualStack' when multiple cluster IPs are specified"))
		}
		if len(spec.IPFamilies) > 1 {
			errs = append(errs, field.Invalid(policy, *spec.IPFamilyPolicy, "must be 'RequireDualStack' or 'PreferDualStack' when multiple IP families are specified"))
		}
	}
	if everywhere {
		return errs
	}
	if *spec.IPFamilyPolicy == corev1.IPFamilyPolicyRequireDualStack && len(cluster) < 2 {
		errs = append(errs, field.Invalid(policy, *spec.IPFamilyPolicy, "this cluster is not configured for dual-stack services"))
	}
	for i, family := range spec.IPFamilies {
		if !slices.Contains(cluster, family) {
			errs = append(errs, field.Invalid(field.NewPath("spec", "ipFamilies").Index(i), family, "not configured on this cluster"))
		}
	}
	return errs
}

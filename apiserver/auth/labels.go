package auth

import (
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// ownLabels are the labels of Kubernetes' own domains that a node may set on itself (upstream's kubelet labels).
func ownLabels() []string {
	return []string{
		corev1.LabelHostname, corev1.LabelOSStable, corev1.LabelArchStable, "beta.kubernetes.io/os", "beta.kubernetes.io/arch",
		corev1.LabelTopologyZone, corev1.LabelTopologyRegion, corev1.LabelFailureDomainBetaZone, corev1.LabelFailureDomainBetaRegion,
		corev1.LabelInstanceType, corev1.LabelInstanceTypeStable, corev1.LabelWindowsBuild,
	}
}

// forbiddenLabels are the labels that differ and that a node may not change on itself: pods are steered by them.
func forbiddenLabels(now, old map[string]string) []string {
	changed := map[string]bool{}
	for _, pair := range [][2]map[string]string{{now, old}, {old, now}} {
		for key, value := range pair[0] {
			if other, ok := pair[1][key]; !ok || other != value {
				changed[key] = true
			}
		}
	}
	maps.DeleteFunc(changed, func(key string, _ bool) bool { return !forbidden(key) })
	return slices.Sorted(maps.Keys(changed))
}

func forbidden(key string) bool {
	domain, _, ok := strings.Cut(key, "/")
	if !ok {
		return false
	}
	if in(domain, corev1.LabelNamespaceNodeRestriction) {
		return true
	}
	if !in(domain, "kubernetes.io") && !in(domain, "k8s.io") {
		return false
	}
	return !in(domain, corev1.LabelNamespaceSuffixKubelet) && !in(domain, corev1.LabelNamespaceSuffixNode) && !slices.Contains(ownLabels(), key)
}

// in reports whether a domain is another or below it.
func in(domain, parent string) bool {
	return domain == parent || strings.HasSuffix(domain, "."+parent)
}

package registry

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

// The functions of this file tell a user, in Warning headers, what is accepted and yet will not do what it seems to say.
// The sentences are upstream's where it
// has one.

// serviceWarnings are about fields a Service of its type has no use for, and addresses not in their usual form.
func serviceWarnings(svc, _ *corev1.Service) []string {
	spec, path := &svc.Spec, field.NewPath("spec")
	var warnings []string
	if _, ok := svc.Annotations[corev1.DeprecatedAnnotationTopologyAwareHints]; ok {
		warnings = append(warnings, fmt.Sprintf("annotation %s is deprecated, please use %s instead", corev1.DeprecatedAnnotationTopologyAwareHints, corev1.AnnotationTopologyMode))
	}
	if headless(svc) {
		if spec.LoadBalancerIP != "" {
			warnings = append(warnings, "spec.loadBalancerIP is ignored for headless services")
		}
		if len(spec.ExternalIPs) > 0 {
			warnings = append(warnings, "spec.externalIPs is ignored for headless services")
		}
		if spec.SessionAffinity != corev1.ServiceAffinityNone {
			warnings = append(warnings, "spec.SessionAffinity is ignored for headless services")
		}
	} else {
		for i, ip := range spec.ClusterIPs {
			warnings = append(warnings, validation.GetWarningsForIP(path.Child("clusterIPs").Index(i), ip)...)
		}
	}
	for i, ip := range spec.ExternalIPs {
		warnings = append(warnings, validation.GetWarningsForIP(path.Child("externalIPs").Index(i), ip)...)
	}
	if spec.LoadBalancerIP != "" {
		warnings = append(warnings, validation.GetWarningsForIP(path.Child("loadBalancerIP"), spec.LoadBalancerIP)...)
	}
	for i, cidr := range spec.LoadBalancerSourceRanges {
		warnings = append(warnings, validation.GetWarningsForCIDR(path.Child("loadBalancerSourceRanges").Index(i), cidr)...)
	}
	if spec.Type != corev1.ServiceTypeExternalName && spec.ExternalName != "" {
		warnings = append(warnings, fmt.Sprintf("spec.externalName is ignored when spec.type is not %q", corev1.ServiceTypeExternalName))
	}
	if spec.Type == corev1.ServiceTypeExternalName && len(spec.ExternalIPs) > 0 {
		warnings = append(warnings, fmt.Sprintf("spec.externalIPs is ignored when spec.type is %q", corev1.ServiceTypeExternalName))
	}
	if ptr.Deref(spec.TrafficDistribution, "") == corev1.ServiceTrafficDistributionPreferClose {
		warnings = append(warnings, fmt.Sprintf("spec.trafficDistribution: %q is deprecated; use %q", corev1.ServiceTrafficDistributionPreferClose, corev1.ServiceTrafficDistributionPreferSameZone))
	}
	return warnings
}

// sliceWarnings are about addresses that no proxy sends anything to.
func sliceWarnings(s, _ *discoveryv1.EndpointSlice) []string {
	if s.AddressType == discoveryv1.AddressTypeFQDN {
		return []string{"spec.addressType: FQDN endpoints are deprecated"}
	}
	return nil
}

// nodeWarnings are about a field that means nothing any more.
func nodeWarnings(n, _ *corev1.Node) []string {
	if n.Spec.DoNotUseExternalID != "" {
		return []string{"spec.externalID: this field is deprecated, and is unused by Kubernetes"}
	}
	return nil
}

// secretWarnings are about a secret that waits for a token.
func secretWarnings(s, _ *corev1.Secret) []string {
	if s.Type == corev1.SecretTypeServiceAccountToken {
		return []string{fmt.Sprintf("type: %s has no effect: no token is put into the secret", s.Type)}
	}
	return nil
}

// accountWarnings are about the fields of an account that have no effect in a pod either.
func accountWarnings(a, _ *corev1.ServiceAccount) []string {
	var warnings []string
	if len(a.ImagePullSecrets) > 0 {
		warnings = append(warnings, "imagePullSecrets: "+ignored["PodSpec.ImagePullSecrets"])
	}
	if ptr.Deref(a.AutomountServiceAccountToken, false) {
		warnings = append(warnings, "automountServiceAccountToken: "+ignored["PodSpec.AutomountServiceAccountToken"])
	}
	return warnings
}

// podWarnings are about a pod or, with its path, a template.
func podWarnings(meta *metav1.ObjectMeta, spec *corev1.PodSpec, path *field.Path) []string {
	var warnings []string
	if messages := validation.IsDNS1123Label(meta.Name); meta.Name != "" && len(messages) > 0 {
		warnings = append(warnings, fmt.Sprintf("metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: %v", messages))
	}
	if grace := spec.TerminationGracePeriodSeconds; grace != nil && *grace < 0 {
		warnings = append(warnings, fmt.Sprintf("%s: must be >= 0; negative values are invalid and will be treated as 1", path.Child("terminationGracePeriodSeconds")))
	}
	ports := map[string]*field.Path{}
	for _, group := range []struct {
		name       string
		containers []corev1.Container
	}{{"initContainers", spec.InitContainers}, {"containers", spec.Containers}} {
		for i := range group.containers {
			c, at := &group.containers[i], path.Child(group.name).Index(i)
			warnings = append(warnings, envWarnings(c.Env, at.Child("env"))...)
			warnings = append(warnings, portWarnings(c.Ports, ports, at.Child("ports"))...)
		}
	}
	return append(warnings, ignoredWarnings(spec, path)...)
}

// envWarnings are about variables set twice, of which a client-side apply keeps one.
func envWarnings(env []corev1.EnvVar, path *field.Path) []string {
	var warnings []string
	seen := map[string]bool{}
	for i := range env {
		if seen[env[i].Name] {
			warnings = append(warnings, fmt.Sprintf("%s: hides previous definition of %q, which may be dropped when using apply", path.Index(i), env[i].Name))
		}
		seen[env[i].Name] = true
	}
	return warnings
}

// portWarnings are about port names two containers share: a Service that names the port gets the first. seen is carried
// from container to container.
func portWarnings(ports []corev1.ContainerPort, seen map[string]*field.Path, path *field.Path) []string {
	var warnings []string
	for i := range ports {
		name, at := ports[i].Name, path.Index(i)
		if first, ok := seen[name]; ok && name != "" {
			warnings = append(warnings, fmt.Sprintf("%s: duplicate port name %q with %s, services and probes that select ports by name will use %s", at, name, first, first))
			continue
		}
		seen[name] = at
	}
	return warnings
}

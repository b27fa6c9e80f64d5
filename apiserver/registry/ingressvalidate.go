package registry

import (
	"context"
	"fmt"
	"slices"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	utilnet "k8s.io/utils/net"

	"fairlead.dev/fairlead/api"
)

// ingressLeniency is what an Ingress may keep that was stored with it before it was checked for.
type ingressLeniency struct{ secretNames, wildcardRules bool }

// validateNewIngress checks an Ingress that is created (rules I1-I10).
func validateNewIngress(ing *networkingv1.Ingress) field.ErrorList {
	errs := validateIngress(ing, ingressLeniency{})
	class, ok := ing.Annotations[api.AnnotationIngressClass]
	if ok && ing.Spec.IngressClassName != nil && class != *ing.Spec.IngressClassName { // rule I10
		errs = append(errs, field.Invalid(field.NewPath("annotations").Child(api.AnnotationIngressClass), class, "must match `ingressClassName` when both are specified"))
	}
	return errs
}

func validateIngressUpdate(_ context.Context, ing, old *networkingv1.Ingress) field.ErrorList {
	return validateIngress(ing, leniency(&old.Spec))
}

// leniency is what the stored version has that would be refused today.
func leniency(old *networkingv1.IngressSpec) ingressLeniency {
	return ingressLeniency{
		secretNames: slices.ContainsFunc(old.TLS, func(t networkingv1.IngressTLS) bool { return len(secretName(t.SecretName)) > 0 }),
		wildcardRules: slices.ContainsFunc(old.Rules, func(r networkingv1.IngressRule) bool {
			return strings.Contains(r.Host, "*") && len(validateIngressPaths(r.HTTP, nil)) > 0
		}),
	}
}

func validateIngress(ing *networkingv1.Ingress, may ingressLeniency) field.ErrorList {
	errs := validateMeta(&ing.ObjectMeta, true, apivalidation.NameIsDNSSubdomain)
	spec, path := &ing.Spec, field.NewPath("spec")
	if len(spec.Rules) == 0 && spec.DefaultBackend == nil { // rule I1
		errs = append(errs, field.Invalid(path, spec.Rules, "either `defaultBackend` or `rules` must be specified"))
	}
	if spec.DefaultBackend != nil {
		errs = append(errs, validateIngressBackend(spec.DefaultBackend, path.Child("defaultBackend"))...)
	}
	for i := range spec.Rules {
		rule, at := &spec.Rules[i], path.Child("rules").Index(i)
		errs = append(errs, validateIngressHost(rule.Host, at.Child("host"))...)
		if !may.wildcardRules || !strings.Contains(rule.Host, "*") {
			errs = append(errs, validateIngressPaths(rule.HTTP, at.Child("http"))...)
		}
	}
	for i := range spec.TLS {
		errs = append(errs, validateIngressTLS(&spec.TLS[i], path.Child("tls").Index(i), may)...)
	}
	if class := spec.IngressClassName; class != nil {
		errs = append(errs, invalid(path.Child("ingressClassName"), *class, apivalidation.NameIsDNSSubdomain(*class, false))...)
	}
	return errs
}

// validateIngressHost checks the host of a rule (rule I2).
func validateIngressHost(host string, path *field.Path) field.ErrorList {
	if host == "" {
		return nil
	}
	var errs field.ErrorList
	if utilnet.ParseIPSloppy(host) != nil {
		errs = append(errs, field.Invalid(path, host, "must be a DNS name, not an IP address"))
	}
	return append(errs, validateHostPattern(host, path)...)
}

// validateHostPattern checks a name that may begin with a wildcard.
func validateHostPattern(host string, path *field.Path) field.ErrorList {
	if strings.Contains(host, "*") {
		return invalid(path, host, validation.IsWildcardDNS1123Subdomain(host))
	}
	return validateSubdomain(path, host)
}

// validateIngressPaths checks the paths of a rule (rule I3).
func validateIngressPaths(http *networkingv1.HTTPIngressRuleValue, path *field.Path) field.ErrorList {
	if http == nil {
		return nil
	}
	path = path.Child("paths")
	if len(http.Paths) == 0 {
		return field.ErrorList{field.Required(path, "")}
	}
	var errs field.ErrorList
	for i := range http.Paths {
		errs = append(errs, validateIngressPath(&http.Paths[i], path.Index(i))...)
	}
	return errs
}

// validateIngressPath checks one path with its backend (rules I4-I6).
func validateIngressPath(p *networkingv1.HTTPIngressPath, at *field.Path) field.ErrorList {
	if p.PathType == nil {
		return field.ErrorList{field.Required(at.Child("pathType"), "pathType must be specified")}
	}
	var errs field.ErrorList
	path := at.Child("path")
	switch *p.PathType {
	case networkingv1.PathTypeExact, networkingv1.PathTypePrefix:
		if !strings.HasPrefix(p.Path, "/") {
			errs = append(errs, field.Invalid(path, p.Path, "must be an absolute path"))
		}
		for _, part := range []string{"//", "/./", "/../", "%2f", "%2F"} {
			if strings.Contains(p.Path, part) {
				errs = append(errs, field.Invalid(path, p.Path, fmt.Sprintf("must not contain '%s'", part)))
			}
		}
		for _, end := range []string{"/..", "/."} {
			if strings.HasSuffix(p.Path, end) {
				errs = append(errs, field.Invalid(path, p.Path, fmt.Sprintf("cannot end with '%s'", end)))
			}
		}
	case networkingv1.PathTypeImplementationSpecific:
		if p.Path != "" && !strings.HasPrefix(p.Path, "/") {
			errs = append(errs, field.Invalid(path, p.Path, "must be an absolute path"))
		}
	default:
		errs = append(errs, oneOf(at.Child("pathType"), *p.PathType,
			networkingv1.PathTypeExact, networkingv1.PathTypeImplementationSpecific, networkingv1.PathTypePrefix)...)
	}
	return append(errs, validateIngressBackend(&p.Backend, at.Child("backend"))...)
}

// validateIngressBackend checks where requests go (rules I7, I8).
func validateIngressBackend(b *networkingv1.IngressBackend, path *field.Path) field.ErrorList {
	switch {
	case b.Resource != nil && b.Service != nil:
		return field.ErrorList{field.Invalid(path, "", "cannot set both resource and service backends")}
	case b.Resource != nil:
		return validateReference(b.Resource.APIGroup, b.Resource.Kind, b.Resource.Name, path.Child("resource"))
	case b.Service == nil:
		return field.ErrorList{field.Invalid(path, "", "resource or service backend is required")}
	}
	var errs field.ErrorList
	service := path.Child("service")
	if b.Service.Name == "" {
		errs = append(errs, field.Required(service.Child("name"), ""))
	} else {
		errs = append(errs, invalid(service.Child("name"), b.Service.Name, apivalidation.NameIsDNSLabel(b.Service.Name, false))...)
	}
	switch port := &b.Service.Port; {
	case port.Name != "" && port.Number != 0:
		errs = append(errs, field.Invalid(path, "", "cannot set both port name & port number"))
	case port.Name != "":
		errs = append(errs, invalid(service.Child("port", "name"), port.Name, validation.IsValidPortName(port.Name))...)
	case port.Number != 0:
		errs = append(errs, validatePort(service.Child("port", "number"), port.Number)...)
	default:
		errs = append(errs, field.Required(path, "port name or number is required"))
	}
	return errs
}

// validateReference checks a reference to an object of any kind.
func validateReference(group *string, kind, name string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if group != nil {
		errs = append(errs, validateSubdomain(path.Child("apiGroup"), *group)...)
	}
	for _, part := range []struct{ is, value string }{{"kind", kind}, {"name", name}} {
		if part.value == "" {
			errs = append(errs, field.Required(path.Child(part.is), ""))
		} else {
			errs = append(errs, invalid(path.Child(part.is), part.value, content.IsPathSegmentName(part.value))...)
		}
	}
	return errs
}

// validateIngressTLS checks hosts and the name of their certificate's Secret (rule I9).
func validateIngressTLS(t *networkingv1.IngressTLS, path *field.Path, may ingressLeniency) field.ErrorList {
	var errs field.ErrorList
	for i, host := range t.Hosts {
		errs = append(errs, validateHostPattern(host, path.Child("hosts").Index(i))...)
	}
	if !may.secretNames {
		errs = append(errs, invalid(path.Child("secretName"), t.SecretName, secretName(t.SecretName))...)
	}
	return errs
}

// secretName says what is wrong with the name of a Secret that may be left out.
func secretName(name string) []string {
	if name == "" {
		return nil
	}
	return apivalidation.NameIsDNSSubdomain(name, false)
}

// validateIngressStatus checks the addresses that a controller writes (rule I12). One that is there may stay.
func validateIngressStatus(_ context.Context, ing, old *networkingv1.Ingress) field.ErrorList {
	var errs field.ErrorList
	var stored []string
	for i := range old.Status.LoadBalancer.Ingress {
		stored = append(stored, old.Status.LoadBalancer.Ingress[i].IP)
	}
	for i := range ing.Status.LoadBalancer.Ingress {
		in, at := &ing.Status.LoadBalancer.Ingress[i], field.NewPath("status", "loadBalancer", "ingress").Index(i)
		if in.IP != "" {
			errs = append(errs, validation.IsValidIPForLegacyField(at.Child("ip"), in.IP, true, stored)...)
		}
		if in.Hostname != "" {
			errs = append(errs, validateSubdomain(at.Child("hostname"), in.Hostname)...)
			if utilnet.ParseIPSloppy(in.Hostname) != nil {
				errs = append(errs, field.Invalid(at.Child("hostname"), in.Hostname, "must be a DNS name, not an IP address"))
			}
		}
	}
	return errs
}

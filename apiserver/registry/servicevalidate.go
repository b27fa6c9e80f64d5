package registry

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	core "k8s.io/kubernetes/pkg/apis/core"
)

const onlyLoadBalancer = "may only be used when `type` is 'LoadBalancer'"

// validateService checks a Service that is created (rules S15, S100-S134).
func (r serviceRules) validate(_ context.Context, svc *corev1.Service) field.ErrorList {
	errs := validateMeta(&svc.ObjectMeta, true, apivalidation.NameIsDNSLabel)
	errs = append(errs, validateServiceObject(svc, &corev1.Service{})...)
	if len(svc.Spec.ExternalIPs) > 0 && !r.allowExternalIPs {
		errs = append(errs, refuseExternalIPs())
	}
	return append(errs, validateBalancerClass(svc, nil)...)
}

// validateUpdate checks an update; the allocated fields have been carried over already (rules S80-S90).
func (r serviceRules) validateUpdate(_ context.Context, svc, old *corev1.Service) field.ErrorList {
	errs := apivalidation.ValidateObjectMetaUpdate(&svc.ObjectMeta, &old.ObjectMeta, field.NewPath("metadata"))
	errs = append(errs, validateAddressChange(svc, old)...)
	errs = append(errs, validateServiceObject(svc, old)...)
	if needsHealthPort(svc) && needsHealthPort(old) && svc.Spec.HealthCheckNodePort != old.Spec.HealthCheckNodePort {
		errs = append(errs, field.Forbidden(field.NewPath("spec", "healthCheckNodePort"), "field is immutable"))
	}
	if !r.allowExternalIPs && addsExternalIP(svc, old) {
		errs = append(errs, refuseExternalIPs())
	}
	return append(errs, validateBalancerClass(svc, old)...)
}

// refuseExternalIPs is what upstream's DenyServiceExternalIPs admission does, off by default there and on here.
func refuseExternalIPs() *field.Error {
	return field.Forbidden(field.NewPath("spec", "externalIPs"),
		"external IPs are refused, because they let a user take over the traffic of any address (CVE-2020-8554); start the server with --allow-external-ips to allow them")
}

func addsExternalIP(svc, old *corev1.Service) bool {
	had := map[string]bool{}
	for _, ip := range old.Spec.ExternalIPs {
		had[ip] = true
	}
	for _, ip := range svc.Spec.ExternalIPs {
		if !had[ip] {
			return true
		}
	}
	return false
}

// validateServiceObject holds what is checked on create and on update alike. Addresses that old has, in a form that is not allowed
// any more, may stay; on create it is an empty Service.
func validateServiceObject(svc, old *corev1.Service) field.ErrorList {
	path := field.NewPath("spec")
	errs := validateTopologyAnnotations(svc)
	errs = append(errs, metavalidation.ValidateLabels(svc.Spec.Selector, path.Child("selector"))...)
	errs = append(errs, validateServiceType(svc, path)...)
	errs = append(errs, validateServicePorts(svc, path.Child("ports"))...)
	errs = append(errs, validateAffinity(&svc.Spec, path)...)
	errs = append(errs, validateAddresses(svc, old)...)
	for i, ip := range svc.Spec.ExternalIPs {
		at := path.Child("externalIPs").Index(i)
		if bad := validation.IsValidIPForLegacyField(at, ip, true, old.Spec.ExternalIPs); len(bad) > 0 {
			errs = append(errs, bad...)
			continue
		}
		errs = append(errs, validateNonSpecial(at, ip)...)
	}
	errs = append(errs, validateBalancer(svc, old, path)...)
	errs = append(errs, validateHealthPort(svc, path.Child("healthCheckNodePort"))...)
	return append(errs, validateTrafficPolicies(svc, path)...)
}

// validateTopologyAnnotations refuses two different values of one setting under its two names (rule S132).
func validateTopologyAnnotations(svc *corev1.Service) field.ErrorList {
	mode, ok := svc.Annotations[corev1.AnnotationTopologyMode]
	hints, both := svc.Annotations[corev1.DeprecatedAnnotationTopologyAwareHints]
	if !ok || !both || mode == hints {
		return nil
	}
	path := field.NewPath("metadata", "annotations")
	message := fmt.Sprintf("must match annotations[%s] when both are specified", corev1.DeprecatedAnnotationTopologyAwareHints)
	return field.ErrorList{field.Invalid(path.Key(corev1.AnnotationTopologyMode), mode, message)}
}

func validateServiceType(svc *corev1.Service, path *field.Path) field.ErrorList {
	spec := &svc.Spec
	errs := requiredOneOf(path.Child("type"), spec.Type,
		corev1.ServiceTypeClusterIP, corev1.ServiceTypeExternalName, corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeNodePort)
	switch spec.Type {
	case corev1.ServiceTypeLoadBalancer, corev1.ServiceTypeNodePort: // rule S111
		if withoutAddress(svc) {
			errs = append(errs, field.Invalid(path.Child("clusterIPs").Index(0), corev1.ClusterIPNone,
				fmt.Sprintf("may not be set to 'None' for %s services", spec.Type)))
		}
	case corev1.ServiceTypeExternalName: // rules S112, S113
		const message = "may not be set for ExternalName services"
		if len(spec.ClusterIPs) > 0 {
			errs = append(errs, field.Forbidden(path.Child("clusterIPs"), message))
		}
		if len(spec.IPFamilies) > 0 {
			errs = append(errs, field.Forbidden(path.Child("ipFamilies"), message))
		}
		if spec.IPFamilyPolicy != nil {
			errs = append(errs, field.Forbidden(path.Child("ipFamilyPolicy"), message))
		}
		if spec.ExternalName == "" {
			errs = append(errs, field.Required(path.Child("externalName"), ""))
		} else {
			errs = append(errs, validateSubdomain(path.Child("externalName"), strings.TrimSuffix(spec.ExternalName, "."))...)
		}
	}
	return errs
}

// validateServicePorts checks the ports one by one and against each other (rules S100-S109, S114).
func validateServicePorts(svc *corev1.Service, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	ports := svc.Spec.Ports
	if len(ports) == 0 && !withoutAddress(svc) && svc.Spec.Type != corev1.ServiceTypeExternalName {
		errs = append(errs, field.Required(path, ""))
	}
	type number struct {
		protocol corev1.Protocol
		port     int32
	}
	names, numbers, nodes := map[string]bool{}, map[number]bool{}, map[number]bool{}
	for i := range ports {
		port, at := &ports[i], path.Index(i)
		errs = append(errs, validateServicePort(port, at)...)
		switch {
		case port.Name == "" && len(ports) > 1:
			errs = append(errs, field.Required(at.Child("name"), ""))
		case port.Name != "" && names[port.Name]:
			errs = append(errs, field.Duplicate(at.Child("name"), port.Name))
		}
		names[port.Name] = true
		if svc.Spec.Type == corev1.ServiceTypeLoadBalancer && port.Port == 10250 {
			errs = append(errs, field.Invalid(at, port.Port, "may not expose port 10250 externally since it is used by kubelet"))
		}
		if svc.Spec.Type == corev1.ServiceTypeClusterIP && port.NodePort != 0 {
			errs = append(errs, field.Forbidden(at.Child("nodePort"), "may not be used when `type` is 'ClusterIP'"))
		}
		if key := (number{port.Protocol, port.NodePort}); port.NodePort != 0 {
			if nodes[key] {
				errs = append(errs, field.Duplicate(at.Child("nodePort"), port.NodePort))
			}
			nodes[key] = true
		}
		key := number{port.Protocol, port.Port}
		if numbers[key] {
			errs = append(errs, field.Duplicate(at, core.ServicePort{Protocol: core.Protocol(port.Protocol), Port: port.Port}))
		}
		numbers[key] = true
	}
	return errs
}

func validateServicePort(port *corev1.ServicePort, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if port.Name != "" {
		errs = append(errs, validateLabel(path.Child("name"), port.Name)...)
	}
	errs = append(errs, validatePort(path.Child("port"), port.Port)...)
	errs = append(errs, validateProtocol(path.Child("protocol"), port.Protocol)...)
	errs = append(errs, validatePortOrName(path.Child("targetPort"), port.TargetPort)...)
	return append(errs, validateAppProtocol(path.Child("appProtocol"), port.AppProtocol)...)
}

// validateAffinity checks session affinity and its timeout (rules S115-S117).
func validateAffinity(spec *corev1.ServiceSpec, path *field.Path) field.ErrorList {
	errs := requiredOneOf(path.Child("sessionAffinity"), spec.SessionAffinity, corev1.ServiceAffinityClientIP, corev1.ServiceAffinityNone)
	at := path.Child("sessionAffinityConfig")
	config := spec.SessionAffinityConfig
	switch {
	case spec.SessionAffinity == corev1.ServiceAffinityNone && config != nil:
		errs = append(errs, field.Forbidden(at, fmt.Sprintf("must not be set when session affinity is %s", corev1.ServiceAffinityNone)))
	case spec.SessionAffinity != corev1.ServiceAffinityClientIP:
	case config == nil || config.ClientIP == nil || config.ClientIP.TimeoutSeconds == nil:
		errs = append(errs, field.Required(at, fmt.Sprintf("when session affinity type is %s", corev1.ServiceAffinityClientIP)))
	default:
		const most = 86400
		if timeout := *config.ClientIP.TimeoutSeconds; timeout <= 0 || timeout > most {
			errs = append(errs, field.Invalid(at.Child("clientIP", "timeoutSeconds"), timeout, fmt.Sprintf("must be greater than 0 and less than %d", most)))
		}
	}
	return errs
}

// validateBalancer checks the fields that belong to a load balancer (rules S125, S127, S131).
func validateBalancer(svc, old *corev1.Service, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	spec := &svc.Spec
	balanced := spec.Type == corev1.ServiceTypeLoadBalancer
	switch {
	case balanced && spec.AllocateLoadBalancerNodePorts == nil:
		errs = append(errs, field.Required(path.Child("allocateLoadBalancerNodePorts"), ""))
	case !balanced && spec.AllocateLoadBalancerNodePorts != nil:
		errs = append(errs, field.Forbidden(path.Child("allocateLoadBalancerNodePorts"), onlyLoadBalancer))
	}
	return append(errs, validateSourceRanges(svc, old, path)...)
}

// validateSourceRanges checks the ranges that may send to a balancer. Those of the annotation count where the field has none.
func validateSourceRanges(svc, old *corev1.Service, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	balanced := svc.Spec.Type == corev1.ServiceTypeLoadBalancer
	if ranges := svc.Spec.LoadBalancerSourceRanges; len(ranges) > 0 {
		at := path.Child("LoadBalancerSourceRanges") // upstream's spelling
		if !balanced {
			errs = append(errs, field.Forbidden(at, onlyLoadBalancer))
		}
		had := make([]string, len(old.Spec.LoadBalancerSourceRanges))
		for i, cidr := range old.Spec.LoadBalancerSourceRanges {
			had[i] = strings.TrimSpace(cidr)
		}
		for i, cidr := range ranges {
			errs = append(errs, validation.IsValidCIDRForLegacyField(at.Index(i), strings.TrimSpace(cidr), true, had)...)
		}
		return errs
	}
	list, ok := svc.Annotations[corev1.AnnotationLoadBalancerSourceRangesKey]
	if !ok {
		return nil
	}
	at := field.NewPath("metadata", "annotations").Key(corev1.AnnotationLoadBalancerSourceRangesKey)
	if !balanced {
		errs = append(errs, field.Forbidden(at, onlyLoadBalancer))
	}
	if had, ok := old.Annotations[corev1.AnnotationLoadBalancerSourceRangesKey]; ok && had == list || strings.TrimSpace(list) == "" {
		return errs
	}
	for cidr := range strings.SplitSeq(strings.TrimSpace(list), ",") {
		errs = append(errs, validation.IsValidCIDRForLegacyField(at, strings.TrimSpace(cidr), true, nil)...)
	}
	return errs
}

// validateHealthPort checks the port at which nodes say whether they have endpoints.
func validateHealthPort(svc *corev1.Service, path *field.Path) field.ErrorList {
	switch number := svc.Spec.HealthCheckNodePort; {
	case !needsHealthPort(svc) && number != 0:
		return field.ErrorList{field.Invalid(path, number, "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'")}
	case !needsHealthPort(svc):
		return nil
	case number == 0:
		return field.ErrorList{field.Required(path, "")}
	default:
		return validatePort(path, number)
	}
}

// validateBalancerClass checks loadBalancerClass, which is fixed while the type stays LoadBalancer (rules S89, S130).
func validateBalancerClass(svc, old *corev1.Service) field.ErrorList {
	path := field.NewPath("spec", "loadBalancerClass")
	class := svc.Spec.LoadBalancerClass
	balanced := svc.Spec.Type == corev1.ServiceTypeLoadBalancer
	var errs field.ErrorList
	if old != nil && balanced && old.Spec.Type == corev1.ServiceTypeLoadBalancer && !same(class, old.Spec.LoadBalancerClass) {
		errs = append(errs, field.Invalid(path, class, "may not change once set"))
	}
	switch {
	case class == nil:
		return errs
	case !balanced:
		return append(errs, field.Forbidden(path, onlyLoadBalancer))
	}
	return append(errs, invalid(path, *class, content.IsLabelKey(*class))...)
}

// validateTrafficPolicies checks the three policies about where traffic may go (rules S126, S128, S129).
func validateTrafficPolicies(svc *corev1.Service, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	spec := &svc.Spec
	at := path.Child("externalTrafficPolicy")
	switch {
	case external(svc):
		errs = append(errs, requiredOneOf(at, spec.ExternalTrafficPolicy, corev1.ServiceExternalTrafficPolicyCluster, corev1.ServiceExternalTrafficPolicyLocal)...)
	case spec.ExternalTrafficPolicy != "":
		errs = append(errs, field.Invalid(at, spec.ExternalTrafficPolicy, "may only be set for externally-accessible services"))
	}
	at = path.Child("internalTrafficPolicy")
	switch policy := spec.InternalTrafficPolicy; {
	case policy != nil:
		errs = append(errs, oneOf(at, *policy, corev1.ServiceInternalTrafficPolicyCluster, corev1.ServiceInternalTrafficPolicyLocal)...)
	case needsClusterIP(svc):
		errs = append(errs, field.Required(at, ""))
	}
	if distribution := spec.TrafficDistribution; distribution != nil {
		errs = append(errs, oneOf(path.Child("trafficDistribution"), *distribution, corev1.ServiceTrafficDistributionPreferClose,
			corev1.ServiceTrafficDistributionPreferSameZone, corev1.ServiceTrafficDistributionPreferSameNode)...)
	}
	return errs
}

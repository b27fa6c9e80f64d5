package registry

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	utilnet "k8s.io/utils/net"
)

// serviceRules are the rules for Services that depend on how the server was started.
type serviceRules struct{ allowExternalIPs bool }

func services(rules serviceRules) *kind[*corev1.Service] {
	return &kind[*corev1.Service]{
		plural: "services", singular: "service", short: []string{"svc"}, categories: []string{"all"},
		returns: true, createOnUpdate: true,
		new:            func() *corev1.Service { return &corev1.Service{} },
		list:           func() runtime.Object { return &corev1.ServiceList{} },
		prepare:        func(_ context.Context, svc *corev1.Service) { svc.Status = corev1.ServiceStatus{} },
		prepareUpdate:  prepareServiceUpdate,
		validate:       rules.validate,
		validateUpdate: rules.validateUpdate,
		warn:           serviceWarnings,
		prepareStatus:  func(_ context.Context, svc, old *corev1.Service) { svc.Spec = old.Spec },
		validateStatus: validateServiceStatus,
		selectable: func(svc *corev1.Service, set fields.Set) {
			set["spec.clusterIP"], set["spec.type"] = svc.Spec.ClusterIP, string(svc.Spec.Type)
		},
		columns: []metav1.TableColumnDefinition{
			name(),
			column("Type", "string", corev1.ServiceSpec{}.SwaggerDoc()["type"]),
			column("Cluster-IP", "string", corev1.ServiceSpec{}.SwaggerDoc()["clusterIP"]),
			column("External-IP", "string", corev1.ServiceSpec{}.SwaggerDoc()["externalIPs"]),
			column("Port(s)", "string", corev1.ServiceSpec{}.SwaggerDoc()["ports"]),
			age(),
			wide("Selector", "string", corev1.ServiceSpec{}.SwaggerDoc()["selector"]),
		},
		row: serviceRow,
	}
}

// prepareServiceUpdate keeps the status, except that a Service that stops being a LoadBalancer loses its balancer's
// addresses (rule S85).
func prepareServiceUpdate(_ context.Context, svc, old *corev1.Service) {
	svc.Status = *old.Status.DeepCopy()
	if svc.Spec.Type != corev1.ServiceTypeLoadBalancer {
		svc.Status.LoadBalancer = corev1.LoadBalancerStatus{}
	}
}

// validateServiceStatus checks the status a load balancer's controller writes. Conditions are anybody's, and not looked at.
func validateServiceStatus(_ context.Context, svc, old *corev1.Service) field.ErrorList {
	path := field.NewPath("status", "loadBalancer", "ingress")
	ingress := svc.Status.LoadBalancer.Ingress
	errs := apivalidation.ValidateObjectMetaUpdate(&svc.ObjectMeta, &old.ObjectMeta, field.NewPath("metadata"))
	if svc.Spec.Type != corev1.ServiceTypeLoadBalancer && len(ingress) > 0 {
		return append(errs, field.Forbidden(path, "may only be used when `spec.type` is 'LoadBalancer'"))
	}
	var had []string
	for i := range old.Status.LoadBalancer.Ingress {
		had = append(had, old.Status.LoadBalancer.Ingress[i].IP)
	}
	for i := range ingress {
		errs = append(errs, validateBalancerAddress(&ingress[i], had, path.Index(i))...)
	}
	return errs
}

func validateBalancerAddress(ingress *corev1.LoadBalancerIngress, had []string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	mode := path.Child("ipMode")
	if ingress.IP != "" {
		errs = append(errs, validation.IsValidIPForLegacyField(path.Child("ip"), ingress.IP, true, had)...)
	}
	switch {
	case ingress.IP != "" && ingress.IPMode == nil:
		errs = append(errs, field.Required(mode, "must be specified when `ip` is set"))
	case ingress.IP != "":
		errs = append(errs, oneOf(mode, *ingress.IPMode, corev1.LoadBalancerIPModeProxy, corev1.LoadBalancerIPModeVIP)...)
	case ingress.IPMode != nil:
		errs = append(errs, field.Forbidden(mode, "may not be specified when `ip` is not set"))
	}
	if host := ingress.Hostname; host != "" {
		errs = append(errs, validateSubdomain(path.Child("hostname"), host)...)
		if utilnet.ParseIPSloppy(host) != nil {
			errs = append(errs, field.Invalid(path.Child("hostname"), host, "must be a DNS name, not an IP address"))
		}
	}
	return errs
}

// serviceRow prints a Service as kubectl users know it (rule S160).
func serviceRow(svc *corev1.Service) []any {
	address := none
	if len(svc.Spec.ClusterIPs) > 0 {
		address = svc.Spec.ClusterIPs[0]
	} else if svc.Spec.ClusterIP != "" {
		address = svc.Spec.ClusterIP
	}
	ports := make([]string, len(svc.Spec.Ports))
	for i, port := range svc.Spec.Ports {
		ports[i] = strconv.Itoa(int(port.Port))
		if port.NodePort > 0 {
			ports[i] += fmt.Sprintf(":%d", port.NodePort)
		}
		ports[i] += "/" + string(port.Protocol)
	}
	return []any{
		svc.Name, string(svc.Spec.Type), address, externalAddress(svc), orNone(strings.Join(ports, ",")),
		since(svc.CreationTimestamp), labels.FormatLabels(svc.Spec.Selector),
	}
}

// externalAddress is where a Service can be reached from outside, in the words of its type.
func externalAddress(svc *corev1.Service) string {
	addresses := svc.Spec.ExternalIPs
	switch svc.Spec.Type {
	case corev1.ServiceTypeExternalName:
		return svc.Spec.ExternalName
	case corev1.ServiceTypeLoadBalancer:
		var balancer []string
		for _, ingress := range svc.Status.LoadBalancer.Ingress {
			if ingress.IP != "" {
				balancer = append(balancer, ingress.IP)
			} else if ingress.Hostname != "" {
				balancer = append(balancer, ingress.Hostname)
			}
		}
		addresses = append(balancer, addresses...)
		if len(addresses) == 0 {
			return "<pending>"
		}
	}
	return orNone(strings.Join(addresses, ","))
}

func orNone(s string) string {
	if s == "" {
		return none
	}
	return s
}

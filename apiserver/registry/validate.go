package registry

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/validate/content"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	utilnet "k8s.io/utils/net"

	"fairlead.dev/fairlead/api"
)

// The functions of this file check one value each and are shared by the kinds. Their sentences are those of
// k8s.io/apimachinery where it has one, and upstream's otherwise.

func validateMeta(meta *metav1.ObjectMeta, namespaced bool, name apivalidation.ValidateNameFunc) field.ErrorList {
	return apivalidation.ValidateObjectMeta(meta, namespaced, name, field.NewPath("metadata"))
}

// invalid makes an error of each message a check of k8s.io/apimachinery returned.
func invalid(path *field.Path, value any, messages []string) field.ErrorList {
	var errs field.ErrorList
	for _, message := range messages {
		errs = append(errs, field.Invalid(path, value, message))
	}
	return errs
}

// oneOf checks a value against those the API knows; they are listed in the error in the order given.
func oneOf[T ~string](path *field.Path, value T, known ...T) field.ErrorList {
	if slices.Contains(known, value) {
		return nil
	}
	return field.ErrorList{field.NotSupported(path, value, known)}
}

// requiredOneOf is oneOf for a field that must be set.
func requiredOneOf[T ~string](path *field.Path, value T, known ...T) field.ErrorList {
	if value == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	return oneOf(path, value, known...)
}

func validateProtocol(path *field.Path, protocol corev1.Protocol) field.ErrorList {
	return requiredOneOf(path, protocol, corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP)
}

func validatePort(path *field.Path, port int32) field.ErrorList {
	return invalid(path, port, validation.IsValidPortNum(int(port)))
}

// validatePortOrName checks a port given as a number or as the name of a container port (rule S108).
func validatePortOrName(path *field.Path, port intstr.IntOrString) field.ErrorList {
	if port.Type == intstr.String {
		return invalid(path, port.StrVal, validation.IsValidPortName(port.StrVal))
	}
	return invalid(path, port.IntVal, validation.IsValidPortNum(int(port.IntVal)))
}

func validateLabel(path *field.Path, value string) field.ErrorList {
	return invalid(path, value, validation.IsDNS1123Label(value))
}

// validateAppProtocol checks the protocol spoken on a port: a name of IANA's or one with a domain as prefix (rule S109).
func validateAppProtocol(path *field.Path, protocol *string) field.ErrorList {
	if protocol == nil {
		return nil
	}
	return invalid(path, *protocol, content.IsLabelKey(*protocol))
}

func validateSubdomain(path *field.Path, value string) field.ErrorList {
	return invalid(path, value, validation.IsDNS1123Subdomain(value))
}

func validateNonNegative(path *field.Path, value int64) field.ErrorList {
	return apivalidation.ValidateNonnegativeField(value, path)
}

// publishesServer reports whether an object is one in which the API server publishes its own address. A server that
// listens on loopback alone, as in a test, has no other to publish.
func publishesServer(meta *metav1.ObjectMeta) bool {
	return api.Name(meta) == api.APIService
}

// validateEndpointAddress checks an address traffic may be sent to. Addresses that mean the sender itself or its own
// link would let the API reach what only a node should (CVE-2021-25737), so they are refused.
func validateEndpointAddress(path *field.Path, value string) field.ErrorList {
	return append(validation.IsValidIPForLegacyField(path, value, true, nil), validateNonSpecial(path, value)...)
}

func validateNonSpecial(path *field.Path, value string) field.ErrorList {
	ip := utilnet.ParseIPSloppy(value)
	if ip == nil {
		return field.ErrorList{field.Invalid(path, value, "must be a valid IP address")}
	}
	for _, special := range []struct {
		is     bool
		reason string
	}{
		{ip.IsUnspecified(), "may not be unspecified (" + value + ")"},
		{ip.IsLoopback(), "may not be in the loopback range (127.0.0.0/8, ::1/128)"},
		{ip.IsLinkLocalUnicast(), "may not be in the link-local range (169.254.0.0/16, fe80::/10)"},
		{ip.IsLinkLocalMulticast(), "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"},
	} {
		if special.is {
			return field.ErrorList{field.Invalid(path, value, special.reason)}
		}
	}
	return nil
}

// unchanged refuses a change of a field that is fixed once the object exists.
func unchanged(path *field.Path, now, was any) field.ErrorList {
	return apivalidation.ValidateImmutableField(now, was, path)
}

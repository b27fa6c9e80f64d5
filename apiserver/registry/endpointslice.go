package registry

import (
	"context"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validate/content"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	utilnet "k8s.io/utils/net"
)

// Bounds of one slice (rule E81).
const (
	mostSliceEndpoints    = 1000
	mostSlicePorts        = 20000
	mostEndpointAddresses = 100
	mostHints             = 8
)

func endpointSlices() *kind[*discoveryv1.EndpointSlice] {
	doc := discoveryv1.EndpointSlice{}.SwaggerDoc()
	return &kind[*discoveryv1.EndpointSlice]{
		group: discoveryv1.GroupName, plural: "endpointslices", singular: "endpointslice",
		new:           func() *discoveryv1.EndpointSlice { return &discoveryv1.EndpointSlice{} },
		list:          func() runtime.Object { return &discoveryv1.EndpointSliceList{} },
		prepare:       func(_ context.Context, s *discoveryv1.EndpointSlice) { s.Generation = 1; dropTopology(s) },
		prepareUpdate: prepareSliceUpdate,
		validate:      func(_ context.Context, s *discoveryv1.EndpointSlice) field.ErrorList { return validateSlice(s, nil) },
		warn:          sliceWarnings,
		validateUpdate: func(_ context.Context, s, old *discoveryv1.EndpointSlice) field.ErrorList {
			return append(unchanged(field.NewPath("addressType"), s.AddressType, old.AddressType), validateSlice(s, old)...)
		},
		columns: []metav1.TableColumnDefinition{
			name(),
			column("AddressType", "string", doc["addressType"]),
			column("Ports", "string", doc["ports"]),
			column("Endpoints", "string", doc["endpoints"]),
			age(),
		},
		row: func(s *discoveryv1.EndpointSlice) []any {
			return []any{s.Name, string(s.AddressType), slicePorts(s.Ports), sliceAddresses(s.Endpoints), since(s.CreationTimestamp)}
		},
	}
}

// defaultEndpointSlice fills in names and protocols of ports (rule S13).
func defaultEndpointSlice(s *discoveryv1.EndpointSlice) {
	for i := range s.Ports {
		setPointer(&s.Ports[i].Name, "")
		setPointer(&s.Ports[i].Protocol, corev1.ProtocolTCP)
	}
}

// prepareSliceUpdate counts a generation for each change of what a slice says; labels count, as consumers select
// slices by them.
func prepareSliceUpdate(_ context.Context, s, old *discoveryv1.EndpointSlice) {
	dropTopology(s)
	if !reflect.DeepEqual(s.Labels, old.Labels) || !equality.Semantic.DeepEqual(s.Ports, old.Ports) ||
		!equality.Semantic.DeepEqual(s.Endpoints, old.Endpoints) || s.AddressType != old.AddressType {
		s.Generation = old.Generation + 1
	}
}

// dropTopology removes the field of the first versions of the API, which nobody reads any more (rule E86).
func dropTopology(s *discoveryv1.EndpointSlice) {
	for i := range s.Endpoints {
		s.Endpoints[i].DeprecatedTopology = nil
	}
}

// validateSlice checks a slice (rules E80-E83). Endpoints that old has as they are may stay, though they would be refused today; on
// create it is nil. Stricter than upstream, which looks at neither: ports have numbers that ports have, and zones are values of labels.
func validateSlice(s, old *discoveryv1.EndpointSlice) field.ErrorList {
	errs := validateMeta(&s.ObjectMeta, true, apivalidation.NameIsDNSSubdomain)
	errs = append(errs, requiredOneOf(field.NewPath("addressType"), s.AddressType,
		discoveryv1.AddressTypeFQDN, discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6)...)
	if bad := validateSliceEndpoints(s); len(bad) > 0 && (old == nil || !equality.Semantic.DeepEqual(s.Endpoints, old.Endpoints)) {
		errs = append(errs, bad...)
	}
	path := field.NewPath("ports")
	if len(s.Ports) > mostSlicePorts {
		return append(errs, field.TooMany(path, len(s.Ports), mostSlicePorts))
	}
	names := map[string]bool{}
	for i := range s.Ports {
		port, at := &s.Ports[i], path.Index(i)
		if port.Name != nil {
			if *port.Name != "" {
				errs = append(errs, validateLabel(at.Child("name"), *port.Name)...)
			}
			if names[*port.Name] {
				errs = append(errs, field.Duplicate(at.Child("name"), port.Name))
			}
			names[*port.Name] = true
		}
		if port.Protocol == nil {
			errs = append(errs, field.Required(at.Child("protocol"), ""))
		} else {
			errs = append(errs, oneOf(at.Child("protocol"), *port.Protocol, corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP)...)
		}
		if port.Port != nil {
			errs = append(errs, validatePort(at.Child("port"), *port.Port)...)
		}
		errs = append(errs, validateAppProtocol(at.Child("appProtocol"), port.AppProtocol)...)
	}
	return errs
}

func validateSliceEndpoints(s *discoveryv1.EndpointSlice) field.ErrorList {
	path := field.NewPath("endpoints")
	if len(s.Endpoints) > mostSliceEndpoints {
		return field.ErrorList{field.TooMany(path, len(s.Endpoints), mostSliceEndpoints)}
	}
	var errs field.ErrorList
	for i := range s.Endpoints {
		endpoint, at := &s.Endpoints[i], path.Index(i)
		errs = append(errs, validateSliceAddresses(s, endpoint.Addresses, at.Child("addresses"))...)
		if endpoint.Hostname != nil {
			errs = append(errs, validateLabel(at.Child("hostname"), *endpoint.Hostname)...)
		}
		if endpoint.NodeName != nil {
			errs = append(errs, invalid(at.Child("nodeName"), *endpoint.NodeName, apivalidation.NameIsDNSSubdomain(*endpoint.NodeName, false))...)
		}
		if endpoint.Zone != nil {
			errs = append(errs, invalid(at.Child("zone"), *endpoint.Zone, content.IsLabelValue(*endpoint.Zone))...)
		}
		if endpoint.Hints != nil {
			errs = append(errs, validateHints(endpoint.Hints, at.Child("hints"))...)
		}
	}
	return errs
}

func validateSliceAddresses(s *discoveryv1.EndpointSlice, addresses []string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(addresses) == 0 {
		errs = append(errs, field.Required(path, "must contain at least 1 address"))
	}
	if len(addresses) > mostEndpointAddresses {
		errs = append(errs, field.TooMany(path, len(addresses), mostEndpointAddresses))
	}
	for i, address := range addresses {
		at := path.Index(i)
		switch s.AddressType {
		case discoveryv1.AddressTypeFQDN:
			errs = append(errs, validation.IsFullyQualifiedDomainName(at, address)...)
		case discoveryv1.AddressTypeIPv4:
			bad := validation.IsValidIPForLegacyField(at, address, true, nil)
			errs = append(errs, orFurther(bad, s, address, utilnet.IsIPv4String(address), path, at)...)
		case discoveryv1.AddressTypeIPv6:
			errs = append(errs, orFurther(validation.IsValidIP(at, address), s, address, utilnet.IsIPv6String(address), path, at)...)
		}
	}
	return errs
}

// orFurther is what is bad about the form of an address, or else about what it is of.
func orFurther(bad field.ErrorList, s *discoveryv1.EndpointSlice, address string, ofFamily bool, all, at *field.Path) field.ErrorList {
	if len(bad) > 0 {
		return bad
	}
	if !ofFamily {
		bad = append(bad, field.Invalid(all, address, fmt.Sprintf("must be an %s address", s.AddressType)))
	}
	if !publishesServer(&s.ObjectMeta) {
		bad = append(bad, validateNonSpecial(at, address)...)
	}
	return bad
}

func validateHints(hints *discoveryv1.EndpointHints, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	zones, nodes := path.Child("forZones"), path.Child("forNodes")
	if len(hints.ForZones) > mostHints {
		return append(errs, field.TooMany(zones, len(hints.ForZones), mostHints))
	}
	seen := map[string]bool{}
	for i, zone := range hints.ForZones {
		at := zones.Index(i).Child("name")
		if seen[zone.Name] {
			errs = append(errs, field.Duplicate(at, zone.Name))
		}
		seen[zone.Name] = true
		errs = append(errs, invalid(at, zone.Name, content.IsLabelValue(zone.Name))...)
	}
	if len(hints.ForNodes) > mostHints {
		return append(errs, field.TooMany(nodes, len(hints.ForNodes), mostHints))
	}
	seen = map[string]bool{}
	for i, node := range hints.ForNodes {
		at := nodes.Index(i).Child("name")
		if seen[node.Name] {
			errs = append(errs, field.Duplicate(at, node.Name))
		}
		seen[node.Name] = true
		errs = append(errs, invalid(at, node.Name, apivalidation.NameIsDNSSubdomain(node.Name, false))...)
	}
	return errs
}

// slicePorts prints the numbers of the first three ports.
func slicePorts(ports []discoveryv1.EndpointPort) string {
	if len(ports) == 0 {
		return unset
	}
	list := make([]string, len(ports))
	for i := range ports {
		if list[i] = "*"; ports[i].Port != nil {
			list[i] = strconv.Itoa(int(*ports[i].Port))
		}
	}
	return firstThree(list)
}

// sliceAddresses prints the first three addresses, ready or not.
func sliceAddresses(endpoints []discoveryv1.Endpoint) string {
	var list []string
	for i := range endpoints {
		list = append(list, endpoints[i].Addresses...)
	}
	if len(list) == 0 {
		return unset
	}
	return firstThree(list)
}

func firstThree(list []string) string {
	if len(list) <= 3 {
		return strings.Join(list, ",")
	}
	return fmt.Sprintf("%s + %d more...", strings.Join(list[:3], ","), len(list)-3)
}

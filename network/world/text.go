package world

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Text is what the World holds under a Service's name, for people: the Service, its ports, its EndpointSlices and their
// endpoints, a line each. It ends in a line feed.
func (w *World) Text(name types.NamespacedName) string {
	service, slices := w.Service(name)
	return text(name, service, slices)
}

func text(name types.NamespacedName, service *corev1.Service, slices []*discoveryv1.EndpointSlice) string {
	var b strings.Builder
	if service == nil {
		fmt.Fprintf(&b, "service %s: none\n", name)
	} else {
		fmt.Fprintf(&b, "service %s type %s addresses %s revision %s\n", name, service.Spec.Type, strings.Join(clusterIPs(service), ","), or(service.ResourceVersion))
		for _, p := range service.Spec.Ports {
			fmt.Fprintf(&b, "  port %s %d/%s target %s", or(p.Name), p.Port, p.Protocol, p.TargetPort.String())
			if p.NodePort != 0 {
				fmt.Fprintf(&b, " node port %d", p.NodePort)
			}
			b.WriteByte('\n')
		}
	}
	for _, s := range slices {
		fmt.Fprintf(&b, "  slice %s %s ports %s revision %s\n", s.Name, s.AddressType, slicePorts(s), or(s.ResourceVersion))
		for i := range s.Endpoints {
			b.WriteString("    " + endpoint(&s.Endpoints[i]) + "\n")
		}
	}
	return b.String()
}

// or is a text, or a dash where there is none.
func or(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// clusterIPs are a Service's addresses, or the other name that it stands for.
func clusterIPs(s *corev1.Service) []string {
	switch {
	case s.Spec.Type == corev1.ServiceTypeExternalName:
		return []string{s.Spec.ExternalName}
	case len(s.Spec.ClusterIPs) > 0:
		return s.Spec.ClusterIPs
	}
	return []string{or(s.Spec.ClusterIP)}
}

func slicePorts(s *discoveryv1.EndpointSlice) string {
	var all []string
	for _, p := range s.Ports {
		all = append(all, fmt.Sprintf("%s:%s/%s", or(value(p.Name)), fmt.Sprint(value(p.Port)), value(p.Protocol)))
	}
	return or(strings.Join(all, ","))
}

// endpoint is one endpoint with what is said of it; what is not said is left out.
func endpoint(e *discoveryv1.Endpoint) string {
	words := []string{strings.Join(e.Addresses, ",")}
	for _, c := range []struct {
		name string
		is   *bool
	}{{"ready", e.Conditions.Ready}, {"serving", e.Conditions.Serving}, {"terminating", e.Conditions.Terminating}} {
		if c.is != nil {
			words = append(words, fmt.Sprintf("%s=%t", c.name, *c.is))
		}
	}
	for _, said := range []struct{ name, is string }{{"node", value(e.NodeName)}, {"zone", value(e.Zone)}, {"hostname", value(e.Hostname)}} {
		if said.is != "" {
			words = append(words, said.name+" "+said.is)
		}
	}
	if e.TargetRef != nil {
		words = append(words, strings.ToLower(e.TargetRef.Kind)+" "+e.TargetRef.Name)
	}
	return strings.Join(words, " ")
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

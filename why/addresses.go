package why

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/lb"
)

// otherFamilies is about listed endpoints whose family the Service does not have.
func (v View) otherFamilies() []Finding {
	has := api.Families(v.Service)
	lost := map[discoveryv1.AddressType][]listed{}
	for _, l := range v.list() {
		if l.family == discoveryv1.AddressTypeFQDN || !slices.Contains(has, corev1.IPFamily(l.family)) {
			lost[l.family] = append(lost[l.family], l)
		}
	}
	var found []Finding
	for _, family := range []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6, discoveryv1.AddressTypeFQDN} {
		all := lost[family]
		if len(all) == 0 {
			continue
		}
		why, remedy := "spec.ipFamilies of the Service is "+several(texts(has)), "Add the family, on a cluster of both, or remove the addresses"
		if family == discoveryv1.AddressTypeFQDN {
			why, remedy = "traffic is sent to addresses only", "List the addresses, or use a Service of type ExternalName"
		}
		found = append(found, Finding{Code: "OtherFamily", About: string(family), After: written, Remedy: remedy, Sentence: fmt.Sprintf(
			"the %s endpoints in %s (%s) get no traffic, because %s", family, several(objects(all)), several(addressesOf(all)), why)})
	}
	return found
}

func addressesOf(all []listed) []string {
	var names []string
	for _, l := range all {
		names = append(names, l.text)
	}
	return unique(names)
}

// clusterAddresses is about endpoints that are cluster addresses of Services.
func (v View) clusterAddresses() []Finding {
	inside := func(text string) bool {
		addr, err := netip.ParseAddr(text)
		return err == nil && slices.ContainsFunc(v.Cluster.Services, func(p netip.Prefix) bool { return p.Contains(addr.Unmap()) })
	}
	var found []Finding
	wrong := slices.DeleteFunc(v.list(), func(l listed) bool { return !inside(l.text) })
	if len(wrong) > 0 {
		found = append(found, Finding{Code: "EndpointIsClusterIP", After: written, Sentence: fmt.Sprintf(
			"%s in %s is in the range of cluster addresses: what was forwarded once is not forwarded again, so it is never reached",
			several(addressesOf(wrong)), several(objects(wrong))), Remedy: "List the endpoints behind it, or use a Service of type ExternalName"})
	}
	return found
}

// reserved is about claimed addresses that no Service can have: they stay what they are.
func (v View) reserved() []Finding {
	if len(Outside(v.Service)) == 0 {
		return nil
	}
	var found []Finding
	known := lb.NewReserved(v.Cluster.Nodes, v.Cluster.API, v.Cluster.Pods, v.Cluster.Services)
	tell := func(field, text, what string) {
		if what != "" {
			found = append(found, Finding{Code: "AddressReserved", About: field + " " + text, Sentence: fmt.Sprintf(
				"%s %s is %s: the Service does not answer there, and connections go where they would without it", field, text, what),
				Remedy: "Choose an address that nothing in the cluster has"})
		}
	}
	for _, ip := range v.Service.Spec.ExternalIPs {
		tell("spec.externalIPs", ip, v.named(ip, known))
	}
	if v.Service.Spec.Type != corev1.ServiceTypeLoadBalancer {
		return found
	}
	for _, in := range v.Service.Status.LoadBalancer.Ingress {
		if api.VIP(&in) {
			if addr, err := netip.ParseAddr(in.IP); err == nil {
				tell("status.loadBalancer.ingress", in.IP, known.Why(addr))
			}
		}
	}
	return found
}

// named says what an address of spec.externalIPs is that the Service cannot have, with the first of its ports that is taken.
func (v View) named(text string, known lb.Reserved) string {
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return ""
	}
	for _, p := range v.Service.Spec.Ports {
		proto := lb.UDP
		if api.Protocol(p.Protocol) == corev1.ProtocolTCP {
			proto = lb.TCP
		}
		at := netip.AddrPortFrom(addr, uint16(p.Port))
		switch what := known.WhyNamed(at, proto); what {
		case "":
		case known.Ports[at]:
			return fmt.Sprintf("with port %d where %s listens", p.Port, what)
		default:
			return what
		}
	}
	return ""
}

// claim is an address, port and protocol that a Service answers on for the world outside of the cluster.
type claim struct {
	addr     netip.Addr
	port     int32
	protocol corev1.Protocol
}

// Outside returns the addresses that a Service claims outside of the cluster, each once: spec.externalIPs and what a load
// balancer was given.
func Outside(svc *corev1.Service) []netip.Addr {
	var all []netip.Addr
	add := func(text string) {
		if addr, err := netip.ParseAddr(text); err == nil && !slices.Contains(all, addr.Unmap()) {
			all = append(all, addr.Unmap())
		}
	}
	for _, ip := range svc.Spec.ExternalIPs {
		add(ip)
	}
	if svc.Spec.Type == corev1.ServiceTypeLoadBalancer {
		for _, in := range svc.Status.LoadBalancer.Ingress {
			if api.VIP(&in) {
				add(in.IP)
			}
		}
	}
	return all
}

func claims(svc *corev1.Service) []claim {
	var all []claim
	for _, addr := range Outside(svc) {
		for _, p := range svc.Spec.Ports {
			all = append(all, claim{addr, p.Port, api.Protocol(p.Protocol)})
		}
	}
	return all
}

// contested is about addresses outside of the cluster that an older Service claims as well: it keeps them.
func (v View) contested() []Finding {
	mine := claims(v.Service)
	var found []Finding
	for _, addr := range Outside(v.Service) {
		var ports, rivals []string
		for _, rival := range v.Rivals {
			if api.AgeOf(rival).Compare(api.AgeOf(v.Service)) >= 0 {
				continue
			}
			for _, c := range claims(rival) {
				if c.addr == addr && slices.Contains(mine, c) {
					ports = append(ports, fmt.Sprintf("%d/%s", c.port, c.protocol))
					rivals = append(rivals, rival.Namespace+"/"+rival.Name)
				}
			}
		}
		if len(ports) > 0 {
			found = append(found, Finding{Code: "AddressTaken", About: addr.String(), After: written, Sentence: fmt.Sprintf(
				"port %s of address %s belongs to Service %s, which is older: the Service does not answer there",
				strings.Join(unique(ports), ", "), addr, several(unique(rivals))), Remedy: "Choose another address or port for one of them"})
		}
	}
	return found
}

// probes is about the annotations that have endpoints probed, on a Service to which they do not apply.
func (v View) probes() []Finding {
	_, probed := v.Service.Annotations[api.AnnotationProbe]
	_, keeps := v.Service.Annotations[api.AnnotationKeep]
	sentence, remedy := "", ""
	switch {
	case probed && v.Service.Spec.Type == corev1.ServiceTypeExternalName:
		sentence = fmt.Sprintf("annotation %s has no effect on a Service of type ExternalName, which has no endpoints", api.AnnotationProbe)
		remedy = "Remove it"
	case probed && api.Selects(v.Service):
		sentence = fmt.Sprintf("annotation %s has no effect on a Service with a selector: its pods have readiness probes", api.AnnotationProbe)
		remedy = "Remove it, or remove spec.selector"
	case keeps && !probed:
		sentence = fmt.Sprintf("annotation %s has no effect without %s", api.AnnotationKeep, api.AnnotationProbe)
		remedy = "Add that one, or remove it"
	default:
		return nil
	}
	return []Finding{{Code: "ProbeWithoutEffect", Harmless: true, Sentence: sentence, Remedy: remedy}}
}

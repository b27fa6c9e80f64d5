package why

//lint:file-ignore SA1019 v1 Endpoints are what people write by hand.

import (
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/api"
)

// port is one port of a listed endpoint.
type port struct {
	name     string
	number   int32 // 0: all
	protocol corev1.Protocol
}

// listed is one endpoint as a person has listed it.
type listed struct {
	text   string // its address
	addr   netip.Addr
	family discoveryv1.AddressType
	ready  bool
	ports  []port
	where  string // the object, as in: Endpoints db
	whose  string // the rest of what tells it apart from another of the same address
}

// list returns what is listed for a Service in objects that count.
func (v View) list() []listed {
	var all []listed
	if v.Endpoints != nil && api.Mirrored(v.Endpoints, v.Service) {
		all = listEndpoints(v.Endpoints)
	}
	for _, slice := range v.Slices {
		var ports []port
		for _, p := range slice.Ports {
			ports = append(ports, port{ptr.Deref(p.Name, ""), ptr.Deref(p.Port, 0), api.Protocol(ptr.Deref(p.Protocol, ""))})
		}
		for _, ep := range slice.Endpoints {
			if len(ep.Addresses) > 0 {
				l := listed{text: ep.Addresses[0], family: slice.AddressType, ready: ptr.Deref(ep.Conditions.Ready, true), ports: ports, where: "EndpointSlice " + slice.Name}
				l.addr, _ = netip.ParseAddr(l.text)
				all = append(all, l)
			}
		}
	}
	return all
}

func listEndpoints(ep *corev1.Endpoints) []listed {
	var all []listed
	for i := range ep.Subsets {
		var ports []port
		for _, p := range ep.Subsets[i].Ports {
			ports = append(ports, port{p.Name, p.Port, api.Protocol(p.Protocol)})
		}
		add := func(a *corev1.EndpointAddress, ready bool) {
			l := listed{text: a.IP, family: discoveryv1.AddressTypeIPv4, ready: ready, ports: ports, where: "Endpoints " + ep.Name, whose: a.Hostname}
			if l.addr, _ = netip.ParseAddr(a.IP); l.addr.Unmap().Is6() {
				l.family = discoveryv1.AddressTypeIPv6
			}
			if a.TargetRef != nil {
				l.whose += " " + a.TargetRef.Namespace + "/" + a.TargetRef.Name
			}
			all = append(all, l)
		}
		for j := range ep.Subsets[i].Addresses {
			add(&ep.Subsets[i].Addresses[j], true)
		}
		for j := range ep.Subsets[i].NotReadyAddresses {
			add(&ep.Subsets[i].NotReadyAddresses[j], false)
		}
	}
	return all
}

// byHand judges a Service without selector, whose endpoints a person writes.
func (v View) byHand() []Finding {
	all := v.list()
	if len(all) == 0 {
		return []Finding{v.noEndpoints()}
	}
	var found []Finding
	if !slices.ContainsFunc(all, func(l listed) bool { return l.ready }) {
		found = append(found, v.noneListedReady(all))
	}
	found = append(found, v.portsAgree(all)...)
	found = append(found, v.crowded()...)
	found = append(found, v.twice()...)
	return append(found, v.leftOver()...)
}

func (v View) noEndpoints() Finding {
	svc, text := v.Service, "nobody has written its endpoints"
	switch {
	case v.Endpoints != nil && v.Endpoints.Labels[discoveryv1.LabelSkipMirror] == "true":
		text = fmt.Sprintf("Endpoints %s has the label %s=true, so proxies do not see it", svc.Name, discoveryv1.LabelSkipMirror)
	case v.Endpoints != nil || len(v.Slices) > 0:
		text = "the objects for its endpoints list no address"
	}
	return Finding{Code: "NoEndpoints", After: written, Sentence: "the Service has no selector, and " + text, Remedy: fmt.Sprintf(
		"Write an Endpoints object named %s in namespace %s, or EndpointSlices with the label %s=%s, or set spec.selector",
		svc.Name, svc.Namespace, discoveryv1.LabelServiceName, svc.Name)}
}

func (v View) noneListedReady(all []listed) Finding {
	remedy := "List those that answer as ready"
	if v.Service.Annotations[api.AnnotationProbe] != "" {
		remedy = "See what their probe says in the Events of the Service"
	}
	sentence := fmt.Sprintf("none of the %d addresses listed in %s is ready", len(all), several(objects(all)))
	if len(all) == 1 {
		sentence = fmt.Sprintf("the only address listed in %s is not ready", several(objects(all)))
	}
	return Finding{Code: "NoReadyEndpoints", After: written, Remedy: remedy, Sentence: sentence}
}

// objects are those that list endpoints, each once.
func objects(all []listed) []string {
	var names []string
	for _, l := range all {
		names = append(names, l.where)
	}
	return unique(names)
}

// portsAgree looks for an endpoint behind each port of the Service: the two are joined by the name of the port and its protocol.
func (v View) portsAgree(all []listed) []Finding {
	if api.Selects(v.Service) {
		return nil
	}
	var found []Finding
	for _, p := range v.Service.Spec.Ports {
		want := port{name: p.Name, protocol: api.Protocol(p.Protocol)}
		var have []string
		agrees := false
		for _, l := range all {
			for _, is := range l.ports {
				agrees = agrees || is.name == want.name && is.protocol == want.protocol && is.number != 0
				have = append(have, fmt.Sprintf("%q (%d/%s)", is.name, is.number, is.protocol))
			}
		}
		if agrees {
			continue
		}
		rest := "The endpoints have no ports"
		if have = unique(have); len(have) > 0 {
			rest = "The endpoints have " + several(have)
		}
		found = append(found, Finding{Code: "NoSuchEndpointPort", About: portName(p.Name, p.Port, p.Protocol), After: written, Remedy: "Give both the same name", Sentence: fmt.Sprintf(
			"port %s of the Service leads nowhere, because no endpoint in %s has a %s port named %q: ports are joined by name. %s",
			portName(p.Name, p.Port, p.Protocol), several(objects(all)), want.protocol, p.Name, rest)})
	}
	return found
}

// crowded is about a subset with more addresses than are mirrored (rule E106).
func (v View) crowded() []Finding {
	if v.Endpoints == nil || !api.Mirrored(v.Endpoints, v.Service) {
		return nil
	}
	surplus, largest := 0, 0
	for i := range v.Endpoints.Subsets {
		n := len(v.Endpoints.Subsets[i].Addresses) + len(v.Endpoints.Subsets[i].NotReadyAddresses)
		surplus, largest = surplus+max(0, n-api.MirrorLimit), max(largest, n)
	}
	if surplus == 0 {
		return nil
	}
	return []Finding{{Code: "TooManyAddresses", After: written, Remedy: "Write EndpointSlices, each with up to 1000 endpoints", Sentence: fmt.Sprintf(
		"Endpoints %s lists %d addresses in a subset, of which the first %d count: %d addresses get no traffic",
		v.Endpoints.Name, largest, api.MirrorLimit, surplus)}}
}

// twice is about an address that is listed as ready and as not ready for the same ports.
func (v View) twice() []Finding {
	if v.Endpoints == nil || !api.Mirrored(v.Endpoints, v.Service) {
		return nil
	}
	ready, both := map[string]bool{}, []string{}
	all := listEndpoints(v.Endpoints)
	for _, want := range []bool{true, false} {
		for _, l := range all {
			key := fmt.Sprint(l.text, l.whose, l.ports)
			switch {
			case l.ready && want:
				ready[key] = true
			case !l.ready && !want && ready[key]:
				both = append(both, l.text)
			}
		}
	}
	if both = unique(both); len(both) == 0 {
		return nil
	}
	return []Finding{{Code: "ReadyAndNotReady", After: written, Remedy: "List it once", Sentence: fmt.Sprintf(
		"Endpoints %s lists %s in addresses and, for the same ports, in notReadyAddresses: it counts as not ready and gets no traffic",
		v.Endpoints.Name, several(both))}}
}

// leftOver is about slices and Endpoints of a selector that the Service does not have any more (rule E1).
func (v View) leftOver() []Finding {
	var names []string
	n := 0
	for _, slice := range v.Slices {
		if slice.Labels[discoveryv1.LabelManagedBy] == api.SlicesManager && len(slice.Endpoints) > 0 {
			names = append(names, "EndpointSlice "+slice.Name)
			n += len(slice.Endpoints)
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	return []Finding{{Code: "LeftOverSlices", After: written, Sentence: fmt.Sprintf(
		"%s is left from a selector that the Service has no more: traffic still goes to %s that nobody keeps up to date",
		several(names), count(n, "address")), Remedy: "Delete it, and edit or delete Endpoints " + v.Service.Name}}
}

// unclaimed is about Endpoints and slices whose name no Service has.
func (v View) unclaimed() []Finding {
	what, rest := "", ""
	if ep := v.Endpoints; ep != nil && ep.DeletionTimestamp == nil && len(ep.Subsets) > 0 &&
		ep.Labels[discoveryv1.LabelSkipMirror] != "true" && ep.Labels[api.LabelEndpointsManagedBy] != api.EndpointsManager {
		if !api.Lock(ep) {
			what = fmt.Sprintf("no Service in namespace %s is named %s", ep.Namespace, ep.Name)
			rest = ", and Endpoints without a Service are deleted when the control plane starts anew"
		}
	}
	if what == "" {
		for _, slice := range v.Slices {
			if name := slice.Labels[discoveryv1.LabelServiceName]; api.ByHand(slice) && name != "" {
				what = fmt.Sprintf("no Service in namespace %s is named %s, as the label %s says", slice.Namespace, name, discoveryv1.LabelServiceName)
			}
		}
	}
	if what == "" {
		return nil
	}
	return []Finding{{Code: "NoService", After: starting, Sentence: what + ": nothing leads to these addresses" + rest,
		Remedy: "Create a Service of this name, without a selector"}}
}

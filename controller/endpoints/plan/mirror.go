package plan

//lint:file-ignore SA1019 v1 Endpoints are deprecated for new clients; old ones still read what is written here.

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/api"
)

// annotationLastApplied is kubectl's copy of a whole manifest.
const annotationLastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// Omissions counts what a mirror leaves out of an Endpoints object.
type Omissions struct {
	Surplus int // addresses beyond api.MirrorLimit in their subset
	Invalid int // addresses that are no IP addresses, or that the API refuses in slices
}

// Mirror decides which slices to write so that they say what a hand-written Endpoints object
// says: one group of slices per port list and address family, subsets with equal ports together
// (rule E103). When the object is not to be mirrored, or is gone, its slices are deleted (rules
// E100, E107 and E108). Packing is the one of Slices, without placeholder. It mutates nothing.
func Mirror(ep *corev1.Endpoints, svc *corev1.Service, existing []*discoveryv1.EndpointSlice) (Changes, Omissions) {
	if !api.Mirrored(ep, svc) {
		return Changes{Delete: existing}, Omissions{}
	}
	groups, left := mirrorGroups(ep)
	return arrange(mirrorTemplate(ep), groups, existing), left
}

// mirrorTemplate returns what the mirror's slices have in common: the labels and annotations of the
// Endpoints object, except what belongs to that object alone (rule E102), and its ownership (rule
// E101).
func mirrorTemplate(ep *corev1.Endpoints) template {
	labels := make(map[string]string, len(ep.Labels)+2)
	maps.Copy(labels, ep.Labels)
	labels[discoveryv1.LabelServiceName] = ep.Name
	labels[discoveryv1.LabelManagedBy] = api.MirrorManager
	annotations := make(map[string]string, len(ep.Annotations))
	maps.Copy(annotations, ep.Annotations)
	delete(annotations, corev1.EndpointsLastChangeTriggerTime)
	delete(annotations, annotationLastApplied)
	return template{
		namespace:   ep.Namespace,
		name:        ep.Name,
		owner:       ownerReference("Endpoints", ep.Name, ep.UID),
		labels:      labels,
		annotations: annotations,
	}
}

// mirrorGroups translates subsets. An address that several subsets with equal ports list is one
// endpoint, not ready if any of them says so.
func mirrorGroups(ep *corev1.Endpoints) (map[group]*desired, Omissions) {
	groups := map[group]*desired{}
	seen := map[group]map[identity]int{}
	var left Omissions
	for i := range ep.Subsets {
		s := &ep.Subsets[i]
		ports, text := canonicalPorts(slicePorts(s.Ports))
		count := 0
		put := func(address *corev1.EndpointAddress, ready bool) {
			if count == api.MirrorLimit {
				left.Surplus++
				return
			}
			endpoint, family, ok := mirrorEndpoint(address, ready)
			if !ok {
				left.Invalid++
				return
			}
			count++
			g := group{family: family, ports: text}
			if groups[g] == nil {
				groups[g], seen[g] = &desired{ports: ports}, map[identity]int{}
			}
			want, id := groups[g], identify(&endpoint)
			if at, again := seen[g][id]; again {
				if !ready {
					want.endpoints[at].endpoint.Conditions = endpoint.Conditions
				}
				return
			}
			seen[g][id] = len(want.endpoints)
			want.add(desiredEndpoint{endpoint: endpoint})
		}
		for j := range s.Addresses {
			put(&s.Addresses[j], true)
		}
		for j := range s.NotReadyAddresses {
			put(&s.NotReadyAddresses[j], false)
		}
	}
	return groups, left
}

// mirrorEndpoint translates one address; ok is false when it is no IP address (rule E106). Only
// readiness is known, the other conditions stay open (rules E104 and E105).
func mirrorEndpoint(a *corev1.EndpointAddress, ready bool) (ep discoveryv1.Endpoint, family discoveryv1.AddressType, ok bool) {
	addr, ok := api.ParseAddr(a.IP)
	if !ok || api.NoHost(addr) {
		return ep, "", false
	}
	ep = discoveryv1.Endpoint{
		Addresses:  []string{addr.String()},
		Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(ready)},
		NodeName:   a.NodeName,
	}
	if a.TargetRef != nil {
		ep.TargetRef = a.TargetRef.DeepCopy()
		ep.TargetRef.ResourceVersion = ""
	}
	if a.Hostname != "" {
		ep.Hostname = ptr.To(a.Hostname)
	}
	return ep, api.AddressType(api.Family(addr)), true
}

// slicePorts translates ports.
func slicePorts(ports []corev1.EndpointPort) []discoveryv1.EndpointPort {
	list := make([]discoveryv1.EndpointPort, 0, len(ports))
	for i := range ports {
		protocol := api.Protocol(ports[i].Protocol)
		list = append(list, discoveryv1.EndpointPort{
			Name:        ptr.To(ports[i].Name),
			Port:        ptr.To(ports[i].Port),
			Protocol:    &protocol,
			AppProtocol: ports[i].AppProtocol,
		})
	}
	return list
}

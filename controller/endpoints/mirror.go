package endpoints

//lint:file-ignore SA1019 v1 Endpoints are deprecated for new clients; old ones still read what is written here.

import (
	"maps"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/ptr"
)

const (
	// mirrorManager is the managed-by label of slices that mirror hand-written Endpoints (rule E101).
	mirrorManager = "endpointslicemirroring-controller.k8s.io"

	// MirrorLimit is how many addresses of one subset are mirrored (rule E106).
	MirrorLimit = 1000

	// AnnotationLeader marks an Endpoints object that old leader election uses as a lock; it has
	// nothing to do with a Service (rules E34 and E100).
	AnnotationLeader = "control-plane.alpha.kubernetes.io/leader"

	// annotationLastApplied is kubectl's copy of a whole manifest.
	annotationLastApplied = "kubectl.kubernetes.io/last-applied-configuration"
)

// omissions counts what a mirror leaves out of an Endpoints object.
type omissions struct {
	surplus int // addresses beyond MirrorLimit in their subset
	invalid int // addresses that are no IP addresses, or that the API refuses in slices
}

// Mirrored reports whether the Endpoints object is somebody's own and has to be mirrored into
// slices: there is a Service of its name that has no selector, and the object is neither marked to
// be skipped nor a lock (rules E100 and E110). Either argument may be nil.
func Mirrored(ep *corev1.Endpoints, svc *corev1.Service) bool {
	if ep == nil || svc == nil || len(svc.Spec.Selector) > 0 || ep.DeletionTimestamp != nil {
		return false
	}
	_, lock := ep.Annotations[AnnotationLeader]
	return !lock && ep.Labels[discoveryv1.LabelSkipMirror] != "true"
}

// planMirror decides which slices to write so that they say what a hand-written Endpoints object
// says: one group of slices per port list and address family, subsets with equal ports together
// (rule E103). When the object is not to be mirrored, or is gone, its slices are deleted (rules
// E100, E107 and E108). Packing is the one of planSlices, without placeholder. It mutates nothing.
func planMirror(ep *corev1.Endpoints, svc *corev1.Service, existing []*discoveryv1.EndpointSlice) (changes, omissions) {
	if !Mirrored(ep, svc) {
		return changes{delete: existing}, omissions{}
	}
	groups, left := mirrorGroups(ep)
	return arrange(mirrorMould(ep), groups, existing), left
}

// mirrorMould returns what the mirror's slices have in common: the labels and annotations of the
// Endpoints object, except what belongs to that object alone (rule E102), and its ownership (rule
// E101).
func mirrorMould(ep *corev1.Endpoints) mould {
	labels := make(map[string]string, len(ep.Labels)+2)
	maps.Copy(labels, ep.Labels)
	labels[discoveryv1.LabelServiceName] = ep.Name
	labels[discoveryv1.LabelManagedBy] = mirrorManager
	annotations := make(map[string]string, len(ep.Annotations))
	maps.Copy(annotations, ep.Annotations)
	delete(annotations, corev1.EndpointsLastChangeTriggerTime)
	delete(annotations, annotationLastApplied)
	return mould{
		namespace:   ep.Namespace,
		name:        ep.Name,
		owner:       ownerReference("Endpoints", ep.Name, ep.UID),
		labels:      labels,
		annotations: annotations,
	}
}

// mirrorGroups translates subsets. An address that several subsets with equal ports list is one
// endpoint, not ready if any of them says so.
func mirrorGroups(ep *corev1.Endpoints) (map[group]*roster, omissions) {
	groups := map[group]*roster{}
	seen := map[group]map[identity]int{}
	var left omissions
	for i := range ep.Subsets {
		s := &ep.Subsets[i]
		ports, text := canonicalPorts(slicePorts(s.Ports))
		count := 0
		put := func(address *corev1.EndpointAddress, ready bool) {
			if count == MirrorLimit {
				left.surplus++
				return
			}
			endpoint, family, ok := mirrorEndpoint(address, ready)
			if !ok {
				left.invalid++
				return
			}
			count++
			g := group{family: family, ports: text}
			if groups[g] == nil {
				groups[g], seen[g] = &roster{ports: ports}, map[identity]int{}
			}
			want, id := groups[g], identify(&endpoint)
			if at, again := seen[g][id]; again {
				if !ready {
					want.members[at].endpoint.Conditions = endpoint.Conditions
				}
				return
			}
			seen[g][id] = len(want.members)
			want.add(member{endpoint: endpoint})
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
	addr, ok := parseAddr(a.IP)
	if !ok || special(addr) {
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
	return ep, addressType(familyOf(addr)), true
}

// slicePorts translates ports.
func slicePorts(ports []corev1.EndpointPort) []discoveryv1.EndpointPort {
	list := make([]discoveryv1.EndpointPort, 0, len(ports))
	for i := range ports {
		protocol := ports[i].Protocol
		if protocol == "" {
			protocol = corev1.ProtocolTCP
		}
		list = append(list, discoveryv1.EndpointPort{
			Name:        ptr.To(ports[i].Name),
			Port:        ptr.To(ports[i].Port),
			Protocol:    &protocol,
			AppProtocol: ports[i].AppProtocol,
		})
	}
	return list
}

package plan

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"fairlead.dev/fairlead/api"
)

// sliceLimit is the largest number of endpoints in one slice (rule E55).
const sliceLimit = 100

// Changes is what a plan asks of the API. Objects to update and to delete carry the name, UID and
// resourceVersion of the object they were planned against.
type Changes struct {
	Create, Update, Delete []*discoveryv1.EndpointSlice
}

// Slices decides which EndpointSlices of a Service to write. It receives the pods that the
// Service selects, their nodes by name (all nodes, for mode Auto), and the existing slices that carry
// the Service's name and this controller's managed-by label. It mutates none of them.
//
// The steps, with the rules of Kubernetes' endpointslice controller that they implement:
//
//  1. Derive one wanted endpoint per pod and address family, with its conditions, node and zone
//     (E3-E13, E56-E58, E70) and its hints (E90-E94). A pod whose node is unknown has to wait,
//     unless unready addresses are published.
//  2. Group the endpoints by address family and exact port list: a slice holds one group (E54).
//  3. Retire the existing slices that belong to an earlier Service of the same name (E53), to a
//     family or port list that is no longer wanted (E54, E69).
//  4. Keep: in each remaining slice drop the endpoints that vanished and replace, where they
//     stand, those that changed. An endpoint is the same one when addresses, host name and pod
//     name are the same (E60, E71).
//  5. Top up: new endpoints go into the slices that are written anyway, fullest first (E62).
//  6. Settle the rest: what fits goes into the one untouched slice that ends up closest to full;
//     whatever does not fit opens new slices (E63). Slices are never rebalanced. A slice that is
//     empty by now is retired (E61).
//  7. A family without any slice gets an empty one, the placeholder (E59).
//  8. Recycle: a slice to create takes over the object of a slice to delete, when both have the
//     same family and owner; one write instead of two (E64).
//  9. Build what is written with labels, owner and trigger time (E50-E53). Everything else stays
//     byte for byte as it is (E65). A Service that is being deleted gets no new slices (E66).
func Slices(svc *corev1.Service, pods []*corev1.Pod, nodes map[string]*corev1.Node,
	existing []*discoveryv1.EndpointSlice) (Changes, Remarks) {

	groups, waiting := deriveGroups(svc, pods, nodes)
	outcome := hint(svc, groups, nodes)
	plan := arrange(serviceTemplate(svc), groups, existing)
	if svc.DeletionTimestamp != nil {
		plan.Create = nil
	}
	return plan, Remarks{Waiting: waiting, Topology: outcome, Tally: countUp(svc, groups, existing, plan)}
}

// Remarks is what Slices has to say beyond the slices.
type Remarks struct {
	Waiting  []string // names of pods whose node is unknown: the caller tries again (rule E57)
	Topology Topology
	Tally    Tally
}

// serviceTemplate returns what all slices of a Service have in common.
func serviceTemplate(svc *corev1.Service) template {
	labels := make(map[string]string, len(svc.Labels)+3)
	maps.Copy(labels, svc.Labels)
	delete(labels, corev1.IsHeadlessService)
	if api.Headless(svc) {
		labels[corev1.IsHeadlessService] = ""
	}
	labels[discoveryv1.LabelServiceName] = svc.Name
	labels[discoveryv1.LabelManagedBy] = api.SlicesManager
	t := template{
		namespace: svc.Namespace,
		name:      svc.Name,
		owner:     ownerReference("Service", svc.Name, svc.UID),
		labels:    labels,
		created:   svc.CreationTimestamp.Time,
	}
	for _, family := range api.Families(svc) {
		t.placeholders = append(t.placeholders, api.AddressType(family))
	}
	return t
}

// deriveGroups is steps 1 and 2 of Slices.
func deriveGroups(svc *corev1.Service, pods []*corev1.Pod, nodes map[string]*corev1.Node) (map[group]*desired, []string) {
	groups := map[group]*desired{}
	var waiting []string
	ports := portLists{svc: svc}
	for _, pod := range pods {
		if api.Finished(pod) {
			continue
		}
		for _, family := range api.Families(svc) {
			addrs := api.PodAddresses(pod, family)
			if len(addrs) == 0 {
				continue
			}
			node, known := nodes[pod.Spec.NodeName]
			if !known && pod.Spec.NodeName != "" && !svc.Spec.PublishNotReadyAddresses {
				waiting = append(waiting, pod.Name)
				break
			}
			list, text := ports.of(pod)
			g := group{family: api.AddressType(family), ports: text}
			want := groups[g]
			if want == nil {
				want = &desired{ports: list}
				if len(groups) == 0 {
					want.endpoints = make([]desiredEndpoint, 0, len(pods)) // usually the only group
				}
				groups[g] = want
			}
			want.add(endpointOf(svc, pod, node, addrs))
		}
	}
	return groups, waiting
}

// endpointOf derives the endpoint of one pod. What it points to is in the pod, or one piece of memory:
// a Service of a thousand pods has a thousand of them in every plan.
func endpointOf(svc *corev1.Service, pod *corev1.Pod, node *corev1.Node, addrs []string) desiredEndpoint {
	serving, since := api.PodReadiness(pod)
	terminating := pod.DeletionTimestamp != nil
	parts := &struct {
		ready, serving, terminating bool
		zone                        string
		pod                         corev1.ObjectReference
	}{
		ready:       svc.Spec.PublishNotReadyAddresses || serving && !terminating,
		serving:     serving,
		terminating: terminating,
		pod:         podRef(pod),
	}
	ep := discoveryv1.Endpoint{
		Addresses: addrs,
		Conditions: discoveryv1.EndpointConditions{
			Ready:       &parts.ready,
			Serving:     &parts.serving,
			Terminating: &parts.terminating,
		},
		TargetRef: &parts.pod,
	}
	if pod.Spec.NodeName != "" {
		ep.NodeName = &pod.Spec.NodeName
	}
	if node != nil {
		if parts.zone = Zone(node); parts.zone != "" {
			ep.Zone = &parts.zone
		}
	}
	if hostname(pod, svc) != "" {
		ep.Hostname = &pod.Spec.Hostname
	}
	return desiredEndpoint{endpoint: ep, since: since}
}

// portLists resolves the ports of one Service for many pods. Only named target ports can differ
// between pods, so without any the work is done once.
type portLists struct {
	svc  *corev1.Service
	list []discoveryv1.EndpointPort
	text string
	done bool
}

// of returns the ports that a pod offers, sorted, and their canonical text.
func (p *portLists) of(pod *corev1.Pod) ([]discoveryv1.EndpointPort, string) {
	if p.done {
		return p.list, p.text
	}
	p.done = true
	list := make([]discoveryv1.EndpointPort, 0, len(p.svc.Spec.Ports))
	for i := range p.svc.Spec.Ports {
		port := &p.svc.Spec.Ports[i]
		if api.NamedTarget(port) {
			p.done = false
		}
		if number, ok := api.TargetPort(pod, port); ok {
			list = append(list, discoveryv1.EndpointPort{
				Name:        ptr.To(port.Name),
				Port:        ptr.To(number),
				Protocol:    ptr.To(api.Protocol(port.Protocol)),
				AppProtocol: port.AppProtocol,
			})
		}
	}
	p.list, p.text = canonicalPorts(list)
	return p.list, p.text
}

// canonicalPorts sorts a port list and prints it, so that lists which mean the same have the same
// text (rule E69).
func canonicalPorts(ports []discoveryv1.EndpointPort) ([]discoveryv1.EndpointPort, string) {
	ports = slices.Clone(ports)
	slices.SortStableFunc(ports, func(a, b discoveryv1.EndpointPort) int {
		return cmp.Or(
			cmp.Compare(ptr.Deref(a.Name, ""), ptr.Deref(b.Name, "")),
			cmp.Compare(ptr.Deref(a.Port, 0), ptr.Deref(b.Port, 0)),
			cmp.Compare(ptr.Deref(a.Protocol, ""), ptr.Deref(b.Protocol, "")),
		)
	})
	var text strings.Builder
	for _, p := range ports {
		text.WriteString(ptr.Deref(p.Name, ""))
		text.WriteByte('|')
		text.WriteString(strconv.Itoa(int(ptr.Deref(p.Port, 0))))
		text.WriteByte('|')
		text.WriteString(string(ptr.Deref(p.Protocol, corev1.ProtocolTCP)))
		text.WriteByte('|')
		text.WriteString(ptr.Deref(p.AppProtocol, ""))
		text.WriteByte('\n')
	}
	return ports, text.String()
}

// ownerReference makes a slice go away with the object it was derived from (rules E53 and E101).
func ownerReference(kind, name string, uid types.UID) metav1.OwnerReference {
	return metav1.OwnerReference{
		APIVersion: "v1", Kind: kind, Name: name, UID: uid,
		Controller: ptr.To(true), BlockOwnerDeletion: ptr.To(true),
	}
}

// generateName is the prefix of new slices: the name and a dash, unless that is no valid prefix
// of an object name (rule E52).
func generateName(name string) string {
	if prefix := name + "-"; len(validation.NameIsDNSSubdomain(prefix, true)) == 0 {
		return prefix
	}
	return name
}

package external

//lint:file-ignore SA1019 v1 Endpoints are what people write by hand.

import (
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// port is one port of an endpoint.
type port struct {
	name   string
	number int32
	tcp    bool
}

// seat is one place where a person has listed an address.
type seat struct {
	addr  netip.Addr
	ports []port
	name  string // the address and its ports, as in AnnotationUnhealthy and in events
	pool  string // the ports alone: endpoints of one pool can stand in for each other
	ready bool   // it gets traffic
	taken bool   // AnnotationUnhealthy lists it
}

// ours reports whether the seat is judged. What is not ready and was not made so by us is a person's decision.
func (s *seat) ours() bool { return s.ready || s.taken }

// view is what is true about a Service now. Endpoints may be nil; slices are those written by hand.
type view struct {
	service   *corev1.Service
	endpoints *corev1.Endpoints
	slices    []*discoveryv1.EndpointSlice
}

// seats lists every place of a view.
func (v view) seats() []seat {
	var all []seat
	if v.endpoints != nil {
		taken := takenNames(v.endpoints)
		for i := range v.endpoints.Subsets {
			subset := &v.endpoints.Subsets[i]
			ports := endpointsPorts(subset.Ports)
			for _, a := range subset.Addresses {
				all = appendSeat(all, a.IP, ports, true, taken)
			}
			for _, a := range subset.NotReadyAddresses {
				all = appendSeat(all, a.IP, ports, false, taken)
			}
		}
	}
	for _, slice := range v.slices {
		taken, ports := takenNames(slice), slicePorts(slice.Ports)
		for i := range slice.Endpoints {
			if ep := &slice.Endpoints[i]; len(ep.Addresses) > 0 {
				all = appendSeat(all, ep.Addresses[0], ports, ptr.Deref(ep.Conditions.Ready, true), taken)
			}
		}
	}
	return all
}

// appendSeat leaves out what is no IP address.
func appendSeat(all []seat, address string, ports []port, ready bool, taken map[string]bool) []seat {
	name, addr, pool := nameOf(address, ports)
	if name == "" {
		return all
	}
	return append(all, seat{addr: addr, ports: ports, name: name, pool: pool, ready: ready, taken: taken[name]})
}

// nameOf names an endpoint; the name is empty when address is no IP address.
func nameOf(address string, ports []port) (name string, addr netip.Addr, pool string) {
	addr, err := netip.ParseAddr(address)
	if err != nil {
		return "", addr, ""
	}
	numbers := make([]int32, 0, len(ports))
	for _, p := range ports {
		numbers = append(numbers, p.number)
	}
	slices.Sort(numbers)
	texts := make([]string, 0, len(ports))
	for _, n := range slices.Compact(numbers) {
		texts = append(texts, strconv.Itoa(int(n)))
	}
	pool = strings.Join(texts, "+")
	switch addr = addr.Unmap(); {
	case pool == "":
		return addr.String(), addr, pool
	case addr.Is6():
		return "[" + addr.String() + "]:" + pool, addr, pool
	}
	return addr.String() + ":" + pool, addr, pool
}

func endpointsPorts(list []corev1.EndpointPort) []port {
	ports := make([]port, 0, len(list))
	for _, p := range list {
		ports = append(ports, port{p.Name, p.Port, p.Protocol == corev1.ProtocolTCP || p.Protocol == ""})
	}
	return ports
}

func slicePorts(list []discoveryv1.EndpointPort) []port {
	ports := make([]port, 0, len(list))
	for _, p := range list {
		if p.Port != nil { // nil means all ports
			ports = append(ports, port{ptr.Deref(p.Name, ""), *p.Port, ptr.Deref(p.Protocol, corev1.ProtocolTCP) == corev1.ProtocolTCP})
		}
	}
	return ports
}

// takenNames reads AnnotationUnhealthy.
func takenNames(obj metav1.Object) map[string]bool {
	names := map[string]bool{}
	for name := range strings.SplitSeq(obj.GetAnnotations()[AnnotationUnhealthy], ",") {
		if name = strings.TrimSpace(name); name != "" {
			names[name] = true
		}
	}
	return names
}

// setTaken writes AnnotationUnhealthy, or removes it when there is nothing to list.
func setTaken(obj metav1.Object, names map[string]bool) {
	annotations := maps.Clone(obj.GetAnnotations())
	if len(names) == 0 {
		delete(annotations, AnnotationUnhealthy)
	} else {
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[AnnotationUnhealthy] = strings.Join(slices.Sorted(maps.Keys(names)), ",")
	}
	obj.SetAnnotations(annotations)
}

// ByHand reports whether a slice is a person's: no controller made it.
func ByHand(slice *discoveryv1.EndpointSlice) bool {
	switch slice.Labels[discoveryv1.LabelManagedBy] {
	case "endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io":
		return false
	}
	return metav1.GetControllerOf(slice) == nil && slice.DeletionTimestamp == nil
}

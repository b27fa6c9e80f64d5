package healthcheck

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

	"fairlead.dev/fairlead/api"
)

// port is one port of an endpoint.
type port struct {
	name   string
	number int32
	tcp    bool
}

// Endpoint is one place where a person has listed an address.
type Endpoint struct {
	Addr    netip.Addr
	Name    string // the address and its ports, as in api.AnnotationUnhealthy and in Events
	Ready   bool   // it gets traffic
	Ejected bool   // api.AnnotationUnhealthy lists it

	ports []port
	pool  string // the ports alone: endpoints of one pool can stand in for each other
}

// managed reports whether the endpoint is probed. What is not ready and was not ejected by us is a person's decision.
func (e *Endpoint) managed() bool { return e.Ready || e.Ejected }

// View is what is true about a Service now. Service and Endpoints may be nil; Slices are those written by hand. None of it is
// changed.
type View struct {
	Service   *corev1.Service
	Endpoints *corev1.Endpoints
	Slices    []*discoveryv1.EndpointSlice
}

// List is every endpoint of a view, in the order of the objects.
func (v View) List() []Endpoint {
	var all []Endpoint
	if v.Endpoints != nil {
		ejected := Ejected(v.Endpoints)
		for i := range v.Endpoints.Subsets {
			subset := &v.Endpoints.Subsets[i]
			ports := endpointsPorts(subset.Ports)
			for _, a := range subset.Addresses {
				all = appendEndpoint(all, a.IP, ports, true, ejected)
			}
			for _, a := range subset.NotReadyAddresses {
				all = appendEndpoint(all, a.IP, ports, false, ejected)
			}
		}
	}
	for _, slice := range v.Slices {
		ejected, ports := Ejected(slice), slicePorts(slice.Ports)
		for i := range slice.Endpoints {
			if ep := &slice.Endpoints[i]; len(ep.Addresses) > 0 {
				all = appendEndpoint(all, ep.Addresses[0], ports, api.EndpointReady(&ep.Conditions), ejected)
			}
		}
	}
	return all
}

// appendEndpoint leaves out what is no IP address.
func appendEndpoint(all []Endpoint, address string, ports []port, ready bool, ejected map[string]bool) []Endpoint {
	name, addr, pool := nameOf(address, ports)
	if name == "" {
		return all
	}
	return append(all, Endpoint{Addr: addr, Name: name, Ready: ready, Ejected: ejected[name], ports: ports, pool: pool})
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
		ports = append(ports, port{p.Name, p.Port, api.Protocol(p.Protocol) == corev1.ProtocolTCP})
	}
	return ports
}

func slicePorts(list []discoveryv1.EndpointPort) []port {
	ports := make([]port, 0, len(list))
	for _, p := range list {
		if p.Port != nil { // nil means all ports
			ports = append(ports, port{ptr.Deref(p.Name, ""), *p.Port, api.Protocol(ptr.Deref(p.Protocol, "")) == corev1.ProtocolTCP})
		}
	}
	return ports
}

// Ejected are the endpoints that api.AnnotationUnhealthy lists on an object, by name.
func Ejected(obj metav1.Object) map[string]bool {
	names := map[string]bool{}
	for name := range strings.SplitSeq(obj.GetAnnotations()[api.AnnotationUnhealthy], ",") {
		if name = strings.TrimSpace(name); name != "" {
			names[name] = true
		}
	}
	return names
}

// setEjected writes api.AnnotationUnhealthy, or removes it when there is nothing to list.
func setEjected(obj metav1.Object, names map[string]bool) {
	annotations := maps.Clone(obj.GetAnnotations())
	if len(names) == 0 {
		delete(annotations, api.AnnotationUnhealthy)
	} else {
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[api.AnnotationUnhealthy] = strings.Join(slices.Sorted(maps.Keys(names)), ",")
	}
	obj.SetAnnotations(annotations)
}

package gateway

import (
	"cmp"
	"encoding/hex"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/l7/route"
)

// AnnotationInfrastructure, on the Service of a Gateway, names the labels and annotations that it has from spec.infrastructure, so that
// one that is taken back is noticed.
const AnnotationInfrastructure = "fairlead.dev/infrastructure"

// ServiceName is the Service of a Gateway. The names of Gateways may be longer than those of Services, and have dots.
func ServiceName(o *gw.Gateway) types.NamespacedName {
	const longest = 63
	name := "gateway-" + o.Name
	if strings.Contains(name, ".") || len(name) > longest {
		sum := fnv.New32a()
		_, _ = sum.Write([]byte(o.Name)) // never fails
		end := "-" + hex.EncodeToString(sum.Sum(nil))
		name = strings.ReplaceAll(name, ".", "-")
		name = strings.TrimRight(name[:min(len(name), longest-len(end))], "-") + end
	}
	return types.NamespacedName{Namespace: o.Namespace, Name: name}
}

// UDP is a port whose datagrams go to backends as they are, by the kernel.
type UDP struct {
	Port     int32
	Backends []route.Backend
}

// Gateway is what a Gateway comes to.
type Gateway struct {
	Object *gw.Gateway
	*gateway
	UDP        []*UDP
	have       *corev1.Service
	addresses  []gw.GatewayStatusAddress
	programmed verdict
}

// Service is what the Service of a Gateway has to say; nil: there is nothing to be reached.
func (g *Gateway) Service() *corev1.Service {
	ports := g.ports()
	if len(ports) == 0 {
		return nil
	}
	yes := true
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: g.service.Namespace, Name: g.service.Name,
			Labels: map[string]string{}, Annotations: map[string]string{},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: gw.GroupVersion.String(), Kind: "Gateway", Name: g.Object.Name, UID: g.Object.UID, Controller: &yes, BlockOwnerDeletion: &yes,
			}},
		},
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Ports: ports},
	}
	if i := g.Object.Spec.Infrastructure; i != nil {
		var told []string
		for k, v := range i.Labels {
			s.Labels[string(k)] = string(v)
			told = append(told, string(k))
		}
		for k, v := range i.Annotations {
			s.Annotations[string(k)] = string(v)
			told = append(told, string(k))
		}
		if slices.Sort(told); len(told) > 0 {
			s.Annotations[AnnotationInfrastructure] = strings.Join(told, ",")
		}
	}
	s.Labels[gw.GatewayNameLabelKey] = labelValue(g.Object.Name)
	s.Annotations[api.AnnotationL7] = api.L7Gateway
	if reads := g.Reads(); len(reads) > 0 {
		s.Annotations[api.AnnotationReads] = api.FormatReads(reads)
	}
	return s
}

// Reads are the Secrets and ConfigMaps that nodes need to serve a Gateway, in order. Those that may not be named are not among them.
func (g *Gateway) Reads() []api.Read {
	slices.SortFunc(g.reads, func(a, b api.Read) int {
		return cmp.Or(cmp.Compare(a.Resource, b.Resource), api.CompareNames(a.Name, b.Name))
	})
	return slices.Compact(g.reads)
}

// labelValue is a Gateway's name as a label, which may be shorter.
func labelValue(name string) string {
	const longest = 63
	return strings.TrimRight(name[:min(len(name), longest)], "-.")
}

// ports are one for each port and protocol of the listeners that are served.
func (g *Gateway) ports() []corev1.ServicePort {
	var ports []corev1.ServicePort
	for _, s := range g.sources() {
		for _, l := range s.listeners {
			p := corev1.ServicePort{Protocol: corev1.ProtocolTCP, Port: l.port}
			if l.protocol == gw.UDPProtocolType {
				p.Protocol = corev1.ProtocolUDP
			}
			p.Name = strings.ToLower(string(p.Protocol)) + "-" + strconv.Itoa(int(p.Port))
			if l.served() && g.refused == nil && !slices.ContainsFunc(ports, func(o corev1.ServicePort) bool { return o.Name == p.Name }) {
				ports = append(ports, p)
			}
		}
	}
	slices.SortFunc(ports, func(a, b corev1.ServicePort) int {
		return cmp.Or(cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(a.Port, b.Port))
	})
	return ports
}

// Asked are the addresses that a Gateway asks for.
func (g *Gateway) Asked() []string {
	var asked []string
	for _, a := range g.Object.Spec.Addresses {
		if a.Value != "" {
			asked = append(asked, a.Value)
		}
	}
	return asked
}

// Owns reports whether a Service was made for a Gateway.
func Owns(o *gw.Gateway, s *corev1.Service) bool {
	by := metav1.GetControllerOf(s)
	return by != nil && by.UID == o.UID
}

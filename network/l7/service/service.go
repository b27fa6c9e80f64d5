// Package service says what the L7 engine does for Services that ask for it
// (annotation fairlead.dev/l7: http): each of their TCP ports is an entry that
// leads to the Service's own endpoints, request by request.
package service

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/l7/route"
)

// Entries are those of one Service; none of one that does not go through the engine, or stands for a Gateway. Each port has two:
// for clients that may go to any endpoint, and for those that a traffic policy keeps to the endpoints of this node.
//
// A port is HTTP unless its appProtocol says otherwise (KEP-3726): h2c and grpc are HTTP/2 towards the endpoints as well, and
// what the engine does not know, or cannot read because it is encrypted, is passed on as bytes.
func Entries(svc *corev1.Service) []*route.Entry {
	if svc.Annotations[api.AnnotationL7] != api.L7HTTP {
		return nil
	}
	var all []*route.Entry
	for i := range svc.Spec.Ports {
		port := &svc.Spec.Ports[i]
		if api.Protocol(port.Protocol) != corev1.ProtocolTCP {
			continue
		}
		for _, local := range []bool{false, true} {
			all = append(all, entry(svc, port, local))
		}
	}
	return all
}

func entry(svc *corev1.Service, port *corev1.ServicePort, local bool) *route.Entry {
	name := types.NamespacedName{Namespace: svc.Namespace, Name: svc.Name}
	to := route.Backend{Service: name, Port: port.Port, Local: local, Weight: 1}
	source := route.Source{Kind: "Service", NamespacedName: name, Rule: port.Name}
	e := &route.Entry{Point: route.Point{Service: name, Port: uint16(port.Port), Local: local}}
	l := &route.Listener{Name: "service"}
	e.Listeners = []*route.Listener{l}
	switch app(port) {
	case "", "http", "kubernetes.io/ws":
	case "kubernetes.io/h2c", "h2c", "grpc", "http2":
		to.Protocol = route.HTTP2
	default:
		e.Protocol = route.TCP
		l.Streams = []route.Stream{{Source: source, Backends: []route.Backend{to}}}
		return e
	}
	action := route.Action{Backends: []route.Backend{to}}
	if svc.Spec.SessionAffinity == corev1.ServiceAffinityClientIP { // P115
		action.Balance = route.Balance{Kind: route.Hashed, HashBy: "$remote_addr"}
	}
	rule := &route.Rule{Source: source, Match: route.Match{Path: route.Path{Kind: route.Prefix, Value: "/"}}, Action: action}
	l.Hosts = route.NewHosts([]*route.Host{{Rules: []*route.Rule{rule}}})
	return e
}

func app(port *corev1.ServicePort) string {
	if port.AppProtocol == nil {
		return ""
	}
	return *port.AppProtocol
}

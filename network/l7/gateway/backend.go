package gateway

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"fairlead.dev/fairlead/network/l7/route"
)

// translation is what a route comes to, whatever listeners it is attached to.
type translation struct {
	accepted verdict
	partly   *verdict // some rules are not served
	resolved verdict
	rules    []ordered       // of HTTPRoutes and GRPCRoutes, in the order of the object
	streams  []route.Backend // of TLSRoutes, TCPRoutes and UDPRoutes
	source   route.Source
	backings []backing // what was looked up
}

// ordered is a rule with its precedence: more is first, and of equals the one of the older route, then the earlier one.
type ordered struct {
	*route.Rule
	precedence uint64
}

// translationKey is what a translation is made of, besides what it looks up.
type translationKey struct {
	object any // the pointer to the route
	client types.NamespacedName
}

// backendKey is what a route says of a backend.
type backendKey struct {
	group, kind string
	service     types.NamespacedName
	port        int32
}

// backing is what a backendKey was found to mean.
type backing struct {
	key     backendKey
	allowed bool
	service *corev1.Service
	tls     *backendTLS
}

// translate is what a route comes to. It is worked out anew when the route, or anything that it names, has changed.
func (d *derivation) translate(r *routeObject, client *types.NamespacedName) *translation {
	key := translationKey{object: r.Object}
	if client != nil {
		key.client = *client
	}
	if t := d.memory.rules[key]; t != nil {
		return t
	}
	from := referrer{r.kind, r.GetNamespace()}
	t := d.before.rules[key]
	if t == nil || !d.holds(from, t.backings) {
		w := &translator{derivation: d, from: from, client: client, translation: &translation{
			accepted: yes(gw.RouteReasonAccepted, "Route is accepted"), resolved: yes(gw.RouteReasonResolvedRefs, "All references are resolved"),
			source: route.Source{Kind: string(r.kind), NamespacedName: types.NamespacedName{Namespace: r.GetNamespace(), Name: r.GetName()}},
		}}
		w.read(r.Object)
		t = w.translation
	}
	d.memory.rules[key] = t
	return t
}

// holds reports whether everything is still found as it was.
func (d *derivation) holds(from referrer, all []backing) bool {
	for _, b := range all {
		if d.look(from, b.key) != b {
			return false
		}
	}
	return true
}

func (d *derivation) look(from referrer, k backendKey) backing {
	b := backing{key: k}
	if k.group != corev1.GroupName || k.kind != "Service" {
		return b
	}
	if b.allowed = d.grants.allow(from, "Service", k.service.Namespace, k.service.Name); b.allowed {
		if b.service = d.view.Service(k.service); b.service != nil {
			b.tls = d.policies.find(b.service, k.port)
		}
	}
	return b
}

// translator translates one route.
type translator struct {
	*derivation
	*translation
	from   referrer
	client *types.NamespacedName
	spoken route.BackendProtocol // to backends that do not say what they speak
	stream bool                  // bytes are sent, not requests
	udp    bool
}

func (w *translator) read(o any) {
	switch o := o.(type) {
	case *gw.HTTPRoute:
		w.httpRoute(o)
	case *gw.GRPCRoute:
		w.spoken = route.HTTP2
		w.grpcRoute(o)
	case *gw.TLSRoute:
		for _, rule := range o.Spec.Rules {
			w.streamRule(rule.BackendRefs)
		}
	case *gw.TCPRoute:
		for _, rule := range o.Spec.Rules {
			w.streamRule(rule.BackendRefs)
		}
	case *gw.UDPRoute:
		w.udp = true
		for _, rule := range o.Spec.Rules {
			w.streamRule(rule.BackendRefs)
		}
	}
}

// streamRule takes the backends of a rule. The definitions allow one rule a route.
func (w *translator) streamRule(refs []gw.BackendRef) {
	w.stream = true
	for _, ref := range refs {
		w.streams = append(w.streams, w.backend(ref.BackendObjectReference, ref.Weight))
	}
}

// backend is what a reference comes to. One that cannot be followed gets its share of the traffic, as an error.
func (w *translator) backend(ref gw.BackendObjectReference, weight *int32) route.Backend {
	key := backendKey{
		group: text(ref.Group), kind: or(ref.Kind, "Service"),
		service: types.NamespacedName{Namespace: or(ref.Namespace, w.from.namespace), Name: string(ref.Name)},
	}
	b := route.Backend{Service: key.service, Weight: 1, Protocol: w.spoken}
	if weight != nil {
		b.Weight = *weight
	}
	if ref.Port != nil {
		b.Port, key.port = *ref.Port, *ref.Port
	}
	found := w.look(w.from, key)
	w.backings = append(w.backings, found)
	if p := w.use(&b, found); p != nil {
		b.Broken = p.message
		w.resolved = no([...]gw.RouteConditionReason{gw.RouteReasonBackendNotFound, gw.RouteReasonInvalidKind, gw.RouteReasonRefNotPermitted, gw.RouteReasonUnsupportedProtocol}[p.reason], p.message)
	}
	return b
}

// use has a backend go to what was found, or says why it cannot.
func (w *translator) use(b *route.Backend, found backing) *problem {
	k := found.key
	switch {
	case k.group != corev1.GroupName || k.kind != "Service":
		return &problem{unknownKind, fmt.Sprintf("A backend cannot be a %s: name a Service", k.kind)}
	case !found.allowed:
		return w.forbidden(w.from, "Service", k.service)
	case found.service == nil:
		return &problem{missing, fmt.Sprintf("Service %s does not exist", k.service)}
	}
	port := w.port(found.service, k.port)
	if port == nil {
		return &problem{missing, fmt.Sprintf("Service %s has no port %d", k.service, k.port)}
	}
	if w.stream {
		return nil
	}
	switch p := text(port.AppProtocol); p {
	case "kubernetes.io/h2c":
		b.Protocol = route.HTTP2
	case "kubernetes.io/ws", "kubernetes.io/wss":
		b.Protocol = route.HTTP1
	}
	if found.tls == nil {
		return nil
	}
	if found.tls.broken != "" {
		b.Broken = found.tls.broken // the policy says so, not the route
		return nil
	}
	t := *found.tls.tls
	t.Client = w.client
	b.TLS = &t
	return nil
}

// port is a Service's port by its number, of the protocol that is sent.
func (w *translator) port(s *corev1.Service, number int32) *corev1.ServicePort {
	want := corev1.ProtocolTCP
	if w.udp {
		want = corev1.ProtocolUDP
	}
	for i := range s.Spec.Ports {
		if p := &s.Spec.Ports[i]; p.Port == number && (p.Protocol == want || p.Protocol == "" && !w.udp) {
			return p
		}
	}
	return nil
}

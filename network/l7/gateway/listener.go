package gateway

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"fairlead.dev/fairlead/api"
	"fairlead.dev/fairlead/network/l7/route"
)

// gateway is a Gateway of ours while it is derived.
type gateway struct {
	object    *gw.Gateway
	service   types.NamespacedName
	own       *source
	sets      []*source // the ListenerSets that are allowed, in order of precedence
	client    *types.NamespacedName
	resolved  verdict // its own references
	insecure  bool    // some port lets clients in without a valid certificate
	refused   *verdict
	endpoints map[int32]*UDP
	outcome   *Gateway
	reads     []api.Read // the Secrets and ConfigMaps that it is served with, also those that do not exist
}

// source is an object that has listeners: a Gateway, or a ListenerSet.
type source struct {
	kind      gw.Kind
	meta      *metav1.ObjectMeta
	gateway   *gateway
	listeners []*listener
	lag       string // why it is not said yet that it is programmed; empty: it is, or is not to be
}

func (s *source) referrer() referrer { return referrer{s.kind, s.meta.Namespace} }

// serves reports whether any of its listeners is served.
func (s *source) serves() bool { return slices.ContainsFunc(s.listeners, (*listener).served) }

// listener is one of a source's.
type listener struct {
	*source
	name     gw.SectionName
	hostname string // in lower case
	port     int32
	protocol gw.ProtocolType
	tls      *gw.ListenerTLSConfig
	allowed  *gw.AllowedRoutes

	kinds      []gw.Kind // of routes that may be attached
	namespaces func(namespace string) bool
	accepted   verdict
	resolved   verdict
	conflict   string // the reason, empty if there is none
	overlaps   bool   // another one with TLS on the port is for some of the same names
	end        *route.Termination
	broken     bool // TLS should be ended here and cannot be

	dated []dated            // the certificates that it shows
	said  []metav1.Condition // of it, in the status as it is

	attached int32
	routes   []*served
	claims   claims
}

// passthrough reports that TLS is not ended here.
func (l *listener) passthrough() bool {
	return l.protocol == gw.TLSProtocolType && l.tls != nil && l.tls.Mode != nil && *l.tls.Mode == gw.TLSModePassthrough
}

// served reports whether connections to it are.
func (l *listener) served() bool { return !l.accepted.no && !l.broken }

// programmedBefore reports whether the listener, as it is written now, has been served.
func (l *listener) programmedBefore() bool {
	c := meta.FindStatusCondition(l.said, string(gw.ListenerConditionProgrammed))
	return c != nil && c.Status == metav1.ConditionTrue && c.ObservedGeneration == l.meta.Generation
}

// kindsOf are the kinds of routes that listeners of a protocol may have.
func kindsOf(p gw.ProtocolType) []gw.Kind {
	switch p {
	case gw.HTTPProtocolType, gw.HTTPSProtocolType:
		return []gw.Kind{"HTTPRoute", "GRPCRoute"}
	case gw.TLSProtocolType:
		return []gw.Kind{"TLSRoute"}
	case gw.TCPProtocolType:
		return []gw.Kind{"TCPRoute"}
	case gw.UDPProtocolType:
		return []gw.Kind{"UDPRoute"}
	}
	return nil
}

// newSource reads an object's listeners. What is wrong with each by itself is noted.
func (d *derivation) newSource(kind gw.Kind, meta *metav1.ObjectMeta, g *gateway, entries []gw.ListenerEntry, said []gw.ListenerStatus) *source {
	s := &source{kind: kind, meta: meta, gateway: g}
	for _, e := range entries {
		l := &listener{
			source: s, name: e.Name, hostname: strings.ToLower(text(e.Hostname)), port: e.Port, protocol: e.Protocol, tls: e.TLS, allowed: e.AllowedRoutes,
			accepted: yes(gw.ListenerReasonAccepted, "Listener is accepted"), resolved: yes(gw.ListenerReasonResolvedRefs, "All references are resolved"),
		}
		if i := slices.IndexFunc(said, func(s gw.ListenerStatus) bool { return s.Name == e.Name }); i >= 0 {
			l.said = said[i].Conditions
		}
		if len(d.view.HTTPRoutes) > 0 && len(d.view.GRPCRoutes) > 0 {
			l.claims = claims{}
		}
		l.namespaces = d.namespaces(meta.Namespace, e.AllowedRoutes)
		if kindsOf(l.protocol) == nil {
			l.accepted = no(gw.ListenerReasonUnsupportedProtocol, "Protocol "+string(l.protocol)+" is not served: use HTTP, HTTPS, TLS, TCP or UDP")
		}
		l.readKinds()
		if l.protocol == gw.HTTPSProtocolType || l.protocol == gw.TLSProtocolType && !l.passthrough() {
			d.terminate(l)
		}
		s.listeners = append(s.listeners, l)
	}
	return s
}

// readKinds finds out which kinds of routes a listener allows.
func (l *listener) readKinds() {
	all := kindsOf(l.protocol)
	if l.allowed == nil || len(l.allowed.Kinds) == 0 {
		l.kinds = all
		return
	}
	for _, k := range l.allowed.Kinds {
		switch {
		case or(k.Group, gw.GroupName) != gw.GroupName || !slices.Contains(all, k.Kind):
			l.resolved = no(gw.ListenerReasonInvalidRouteKinds, "A listener with protocol "+string(l.protocol)+" cannot have routes of kind "+string(k.Kind))
		case !slices.Contains(l.kinds, k.Kind):
			l.kinds = append(l.kinds, k.Kind)
		}
	}
}

// namespaces tells of which namespaces' routes may be attached.
func (d *derivation) namespaces(own string, allowed *gw.AllowedRoutes) func(string) bool {
	if allowed == nil || allowed.Namespaces == nil {
		return d.selected(own, gw.NamespacesFromSame, nil)
	}
	from := gw.NamespacesFromSame
	if allowed.Namespaces.From != nil {
		from = *allowed.Namespaces.From
	}
	return d.selected(own, from, allowed.Namespaces.Selector)
}

// selected tells which namespaces are meant.
func (d *derivation) selected(own string, from gw.FromNamespaces, selector *metav1.LabelSelector) func(string) bool {
	switch from {
	case gw.NamespacesFromAll:
		return func(string) bool { return true }
	case gw.NamespacesFromSame:
		return func(ns string) bool { return ns == own }
	case gw.NamespacesFromSelector:
		s, err := metav1.LabelSelectorAsSelector(selector)
		if err != nil {
			return func(string) bool { return false }
		}
		return func(ns string) bool { return s.Matches(labelSet(d.view.Namespace(ns))) }
	}
	return func(string) bool { return false }
}

// portKey tells ports apart: UDP's are others than those of all protocols over TCP.
type portKey struct {
	port int32
	udp  bool
}

func (l *listener) at() portKey { return portKey{l.port, l.protocol == gw.UDPProtocolType} }

// conflicts notes which listeners of a Gateway are not distinct. Those of the Gateway come first, then those of ListenerSets from
// the oldest; what conflicts with an earlier source is refused, and of one source all that conflict with each other are.
func (g *gateway) conflicts() {
	taken := map[portKey]map[string]*listener{} // by host name
	for _, s := range append([]*source{g.own}, g.sets...) {
		s.refuse(func(l *listener) string { return l.clash(taken[l.at()]) })
		s.refuse((*listener).clashAmongOwn)
		for _, l := range s.listeners {
			if !l.accepted.no {
				if taken[l.at()] == nil {
					taken[l.at()] = map[string]*listener{}
				}
				taken[l.at()][l.hostname] = l
			}
		}
	}
	for _, byHost := range taken {
		overlaps(byHost)
	}
}

// refuse does not accept the listeners that are in conflict for a reason. All are looked at before any is refused.
func (s *source) refuse(conflict func(*listener) string) {
	reasons := make([]string, len(s.listeners))
	for i, l := range s.listeners {
		if !l.accepted.no {
			reasons[i] = conflict(l)
		}
	}
	for i, l := range s.listeners {
		if reasons[i] != "" {
			l.conflict = reasons[i]
			l.accepted = no(gw.ListenerConditionReason(l.conflict), "Another listener of the Gateway has the same port with "+clashWith[l.conflict])
		}
	}
}

// clash is why a listener is not distinct from those of earlier sources at its port, by host name; empty: it is.
func (l *listener) clash(earlier map[string]*listener) string {
	for _, other := range earlier {
		if other.protocol != l.protocol {
			return string(gw.ListenerReasonProtocolConflict)
		}
		break // they all have the same
	}
	if earlier[l.hostname] != nil {
		return string(gw.ListenerReasonHostnameConflict)
	}
	return ""
}

// clashAmongOwn is why a listener is not distinct from others of its source; empty: it is.
func (l *listener) clashAmongOwn() string {
	for _, other := range l.source.listeners {
		switch {
		case other == l || other.at() != l.at() || other.accepted.no:
		case other.protocol != l.protocol:
			return string(gw.ListenerReasonProtocolConflict)
		case other.hostname == l.hostname:
			return string(gw.ListenerReasonHostnameConflict)
		}
	}
	return ""
}

// overlaps notes which HTTPS listeners of a port are for some of the same names.
func overlaps(byHost map[string]*listener) {
	for host, l := range byHost {
		if l.protocol != gw.HTTPSProtocolType {
			continue
		}
		for wider := range widerThan(host) {
			if other := byHost[wider]; other != nil {
				l.overlaps, other.overlaps = true, true
			}
		}
	}
}

var clashWith = map[string]string{
	string(gw.ListenerReasonProtocolConflict): "a protocol that cannot share it",
	string(gw.ListenerReasonHostnameConflict): "the same protocol and hostname",
}

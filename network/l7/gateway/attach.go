package gateway

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"
)

// routeObject is a route of any kind.
type routeObject struct {
	kind gw.Kind
	metav1.Object
	parents   []gw.ParentReference
	hostnames []gw.Hostname
	status    *gw.RouteStatus
}

// attachment is a route at one of its parents.
type attachment struct {
	ref      gw.ParentReference
	gateway  *gateway
	accepted verdict
	// translation is what the route comes to for this parent.
	*translation
}

// served is a route at a listener, for the host names that they have in common.
type served struct {
	route *routeObject
	*translation
	hosts []string
}

// routes are all routes, in order of precedence.
func (d *derivation) routes() []*routeObject {
	v := d.view
	all := make([]*routeObject, 0, len(v.HTTPRoutes)+len(v.GRPCRoutes)+len(v.TLSRoutes)+len(v.TCPRoutes)+len(v.UDPRoutes))
	for _, r := range v.HTTPRoutes {
		all = append(all, &routeObject{"HTTPRoute", r, r.Spec.ParentRefs, r.Spec.Hostnames, &r.Status.RouteStatus})
	}
	for _, r := range v.GRPCRoutes {
		all = append(all, &routeObject{"GRPCRoute", r, r.Spec.ParentRefs, r.Spec.Hostnames, &r.Status.RouteStatus})
	}
	for _, r := range v.TLSRoutes {
		all = append(all, &routeObject{"TLSRoute", r, r.Spec.ParentRefs, r.Spec.Hostnames, &r.Status.RouteStatus})
	}
	for _, r := range v.TCPRoutes {
		all = append(all, &routeObject{"TCPRoute", r, r.Spec.ParentRefs, nil, &r.Status.RouteStatus})
	}
	for _, r := range v.UDPRoutes {
		all = append(all, &routeObject{"UDPRoute", r, r.Spec.ParentRefs, nil, &r.Status.RouteStatus})
	}
	return oldestFirst(all)
}

// attachAll attaches every route to its parents.
func (d *derivation) attachAll() {
	for _, r := range d.routes() {
		if r.GetDeletionTimestamp() != nil {
			continue
		}
		var at []*attachment
		for _, ref := range r.parents {
			if a := d.attach(r, ref); a != nil {
				at = append(at, a)
			}
		}
		told := slices.ContainsFunc(r.status.Parents, func(p gw.RouteParentStatus) bool { return p.ControllerName == Controller })
		if len(at) > 0 || told {
			d.result.Routes = append(d.result.Routes, RouteStatus{Kind: r.kind, Object: r.Object, have: r.status.Parents, at: at})
		}
	}
}

// attach attaches a route to a parent; nil: the parent is none of ours.
func (d *derivation) attach(r *routeObject, ref gw.ParentReference) *attachment {
	if or(ref.Group, gw.GroupName) != gw.GroupName {
		return nil
	}
	a := &attachment{ref: ref}
	var listeners []*listener
	name := types.NamespacedName{Namespace: or(ref.Namespace, r.GetNamespace()), Name: string(ref.Name)}
	switch kind := or(ref.Kind, "Gateway"); kind {
	case "Gateway":
		g := d.gateways[name]
		if g == nil {
			return nil
		}
		a.gateway, listeners = g, g.own.listeners
	case "ListenerSet":
		s := d.sets[name]
		if s == nil {
			return nil
		}
		a.gateway = s.gateway
		if s.source != nil {
			listeners = s.source.listeners
		}
	default:
		return nil
	}
	a.translation = d.translate(r, a.gateway.client)
	a.accepted = a.translation.accepted
	if chosen, refused := d.choose(r, ref, listeners); refused != nil {
		a.accepted = *refused
	} else if !a.accepted.no {
		for _, c := range chosen {
			c.attachTo(r, a.translation)
		}
		d.noteUse(a)
	}
	return a
}

// choice is a listener that a route is attached to.
type choice struct {
	*listener
	hosts []string
}

// choose finds the listeners that a route is attached to, or says why there are none.
func (d *derivation) choose(r *routeObject, ref gw.ParentReference, listeners []*listener) ([]choice, *verdict) {
	named, allowed := 0, 0
	var chosen []choice
	for _, l := range listeners {
		if ref.SectionName != nil && *ref.SectionName != l.name || ref.Port != nil && *ref.Port != l.port {
			continue
		}
		named++
		if !slices.Contains(l.kinds, r.kind) || !l.namespaces(r.GetNamespace()) {
			continue
		}
		allowed++
		hosts := intersections(l.hostname, r.hostnames)
		if other := l.claims.other(r, hosts); other != nil {
			v := no(gw.ListenerReasonHostnameConflict, fmt.Sprintf("%s %s/%s is older and has some of the same hostnames at listener %s, which may have routes of one kind for a name: use another hostname or another listener",
				other.kind, other.GetNamespace(), other.GetName(), l.name))
			return nil, &v
		}
		if len(hosts) > 0 {
			chosen = append(chosen, choice{l, hosts})
		}
	}
	var refused verdict
	switch {
	case len(chosen) > 0:
		return chosen, nil
	case named == 0:
		refused = no(gw.RouteReasonNoMatchingParent, "No listener of the parent has this sectionName and port")
	case allowed == 0:
		refused = no(gw.RouteReasonNotAllowedByListeners, "No listener of the parent allows routes of this kind from this namespace")
	default:
		refused = no(gw.RouteReasonNoMatchingListenerHostname, "No listener of the parent has a hostname in common with the route")
	}
	return nil, &refused
}

// attachTo attaches a route that is not attached yet. Listeners of the same parent may be named more than once.
func (c choice) attachTo(r *routeObject, t *translation) {
	if n := len(c.routes); n > 0 && c.routes[n-1].route == r {
		return
	}
	c.attached++
	c.routes = append(c.routes, &served{r, t, c.hosts})
	if c.claims != nil {
		c.claims.add(r, c.hosts)
	}
}

// claims are the host names that a listener's HTTPRoutes and GRPCRoutes have, by kind of route: a name is for routes of one of the
// two kinds only. They are nil where there are routes of one kind only.
type claims map[gw.Kind]map[string]*routeObject

func (c claims) add(r *routeObject, hosts []string) {
	if c[r.kind] == nil {
		c[r.kind] = map[string]*routeObject{}
	}
	for _, h := range hosts {
		c[r.kind][h] = r
	}
}

// other is a route of the other kind that has a name in common with some; nil: there is none.
func (c claims) other(r *routeObject, hosts []string) *routeObject {
	for kind, taken := range c {
		if kind == r.kind {
			continue
		}
		for _, h := range hosts {
			if o := holder(taken, h); o != nil {
				return o
			}
		}
	}
	return nil
}

// holder is a route that has a host name, one that covers it, or one that it covers.
func holder(taken map[string]*routeObject, host string) *routeObject {
	if o := taken[host]; o != nil {
		return o
	}
	for wider := range widerThan(host) {
		if o := taken[wider]; o != nil {
			return o
		}
	}
	if host == "" || strings.HasPrefix(host, "*") {
		for name, o := range taken {
			if covers(host, name) {
				return o
			}
		}
	}
	return nil
}

// noteUse notes which Gateways send something to which Services.
func (d *derivation) noteUse(a *attachment) {
	if len(d.view.Policies) == 0 {
		return
	}
	for _, b := range a.backings {
		if d.users[b.key.service] == nil {
			d.users[b.key.service] = map[*gateway]bool{}
		}
		d.users[b.key.service][a.gateway] = true
	}
}

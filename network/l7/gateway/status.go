package gateway

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"fairlead.dev/fairlead/api"
)

// tell notes the outcome for everything that has a status.
func (d *derivation) tell() {
	for _, p := range d.policies.all {
		for _, g := range d.ancestors(p) {
			of := d.gateways[api.Name(g)]
			of.reads = append(of.reads, p.reads()...)
		}
	}
	for _, g := range d.gateways {
		out := &Gateway{Object: g.object, gateway: g, have: d.view.Service(g.service)}
		for _, u := range g.endpoints {
			out.UDP = append(out.UDP, u)
		}
		slices.SortFunc(out.UDP, func(a, b *UDP) int { return cmp.Compare(a.Port, b.Port) })
		out.program()
		d.result.Gateways = append(d.result.Gateways, out)
		g.outcome = out
	}
	slices.SortFunc(d.result.Gateways, func(a, b *Gateway) int { return older(a.Object, b.Object) })
	for _, o := range oldestFirst(d.view.ListenerSets) {
		if s := d.sets[types.NamespacedName{Namespace: o.Namespace, Name: o.Name}]; s != nil {
			d.result.ListenerSets = append(d.result.ListenerSets, ListenerSetStatus{Object: o, set: s})
		}
	}
	for _, p := range d.policies.all {
		d.result.Policies = append(d.result.Policies, PolicyStatus{Object: p.policy, policy: p, said: p.verdict(), ancestors: d.ancestors(p)})
	}
}

// program finds out at which addresses a Gateway is served.
func (g *Gateway) program() {
	if g.have != nil && Owns(g.Object, g.have) {
		for _, in := range g.have.Status.LoadBalancer.Ingress {
			kind, value := gw.IPAddressType, in.IP
			if value == "" {
				kind, value = gw.HostnameAddressType, in.Hostname
			}
			g.addresses = append(g.addresses, gw.GatewayStatusAddress{Type: &kind, Value: value})
		}
	}
	var lacking []string
	for _, asked := range g.Asked() {
		if !slices.ContainsFunc(g.addresses, func(a gw.GatewayStatusAddress) bool { return a.Value == asked }) {
			lacking = append(lacking, asked)
		}
	}
	switch {
	case g.refused != nil || len(g.ports()) == 0:
		g.programmed = no(gw.GatewayReasonInvalid, "There is no listener that can be served")
	case g.have != nil && !Owns(g.Object, g.have):
		g.programmed = no(gw.GatewayReasonNoResources, fmt.Sprintf("Service %s is not the Gateway's: delete or rename it", g.service))
	case g.have == nil:
		g.programmed = no(gw.GatewayReasonPending, fmt.Sprintf("Service %s is being made", g.service))
	case len(lacking) > 0:
		g.programmed = no(gw.GatewayReasonAddressNotUsable, fmt.Sprintf("%s cannot be had: ask for free addresses of a pool, or for none (kubectl describe service -n %s %s)", strings.Join(lacking, ", "), g.service.Namespace, g.service.Name))
	case len(g.addresses) == 0:
		g.programmed = no(gw.GatewayReasonAddressNotAssigned, fmt.Sprintf("Service %s has no address yet: there has to be a pool with free ones (fairlead up --lb-pool)", g.service))
	default:
		g.programmed = yes(gw.GatewayReasonProgrammed, "Gateway is served by every node")
	}
}

// accepted is what is said of a Gateway as a whole.
func (g *gateway) accepted() verdict {
	var invalid []string
	for _, l := range g.own.listeners {
		if l.accepted.no {
			invalid = append(invalid, string(l.name)+": "+l.accepted.message)
		}
	}
	switch {
	case g.refused != nil:
		return *g.refused
	case len(invalid) == len(g.own.listeners):
		return no(gw.GatewayReasonListenersNotValid, "No listener is accepted: "+strings.Join(invalid, "; "))
	case len(invalid) > 0:
		return yes(gw.GatewayReasonListenersNotValid, "Some listeners are not accepted: "+strings.Join(invalid, "; "))
	}
	return yes(gw.GatewayReasonAccepted, "Gateway is accepted")
}

// Status is what the status of a Gateway becomes at a time.
func (g *Gateway) Status(now metav1.Time) gw.GatewayStatus {
	have, generation := g.Object.Status, g.Object.Generation
	want := []metav1.Condition{
		condition(gw.GatewayConditionAccepted, generation, g.accepted()),
		g.own.program(have.Conditions, g.programmed),
		condition(gw.GatewayConditionResolvedRefs, generation, g.resolved),
	}
	if g.insecure {
		want = append(want, condition(gw.GatewayConditionInsecureFrontendValidationMode, generation,
			yes(gw.GatewayReasonConfigurationChanged, "Clients get in without a valid certificate: mode is AllowInsecureFallback")))
	}
	out := gw.GatewayStatus{
		Addresses:  g.addresses,
		Conditions: Merge(have.Conditions, want, now, string(gw.GatewayConditionInsecureFrontendValidationMode)),
	}
	for _, l := range g.own.listeners {
		out.Listeners = append(out.Listeners, gw.ListenerStatus{
			Name: l.name, SupportedKinds: l.supported(), AttachedRoutes: l.attached, Conditions: l.conditions(now, g.programmed),
		})
	}
	attached := int32(0)
	for _, s := range g.sets {
		if s.serves() && g.refused == nil {
			attached++
		}
	}
	out.AttachedListenerSets = &attached
	return out
}

// conditions are what a listener's become, of a Gateway that is programmed or not.
func (l *listener) conditions(now metav1.Time, gateway verdict) []metav1.Condition {
	generation := l.meta.Generation
	conflicted := no(gw.ListenerReasonNoConflicts, "No other listener of the Gateway is like it")
	served := yes(gw.ListenerReasonProgrammed, "Listener is served by every node")
	switch {
	case l.conflict != "":
		conflicted = yes(gw.ListenerConditionReason(l.conflict), l.accepted.message)
		served = no(gw.ListenerConditionReason(l.conflict), l.accepted.message)
	case l.accepted.no:
		served = no(gw.ListenerReasonInvalid, l.accepted.message)
	case l.broken:
		served = no(gw.ListenerReasonInvalid, l.resolved.message)
	case gateway.no:
		served = no(gw.ListenerReasonPending, gateway.message)
	}
	want := []metav1.Condition{
		condition(gw.ListenerConditionAccepted, generation, l.accepted),
		l.program(l.said, served),
		condition(gw.ListenerConditionResolvedRefs, generation, l.resolved),
		condition(gw.ListenerConditionConflicted, generation, conflicted),
	}
	if l.overlaps {
		want = append(want, condition(gw.ListenerConditionOverlappingTLSConfig, generation,
			yes(gw.ListenerReasonOverlappingHostnames, "Another HTTPS listener of the port is for some of the same names: requests for them get 421 where they come over its connections")))
	}
	if v := l.outdated(now.Time); v != nil {
		want = append(want, condition(ConditionCertificateValid, generation, *v))
	}
	return Merge(l.said, want, now, string(gw.ListenerConditionOverlappingTLSConfig), ConditionCertificateValid)
}

func (l *listener) supported() []gw.RouteGroupKind {
	group := gw.Group(gw.GroupName)
	kinds := []gw.RouteGroupKind{}
	for _, k := range l.kinds {
		kinds = append(kinds, gw.RouteGroupKind{Group: &group, Kind: k})
	}
	return kinds
}

// ListenerSetStatus is the outcome of a ListenerSet.
type ListenerSetStatus struct {
	Object *gw.ListenerSet
	set    *setState
}

// program is its condition Programmed.
func (s ListenerSetStatus) program(have []metav1.Condition, v verdict) metav1.Condition {
	if s.set.source == nil {
		return condition(programmed, s.Object.Generation, v)
	}
	return s.set.source.program(have, v)
}

// Status is what its status becomes at a time.
func (s ListenerSetStatus) Status(now metav1.Time) gw.ListenerSetStatus {
	have, generation := s.Object.Status, s.Object.Generation
	accepted := yes(gw.ListenerSetReasonAccepted, "Listeners are accepted")
	served := yes(gw.ListenerSetReasonProgrammed, "Listeners are served by every node")
	gateway := s.set.gateway.outcome.programmed
	switch {
	case s.set.source == nil:
		accepted = no(gw.ListenerSetReasonNotAllowed, "The Gateway does not allow ListenerSets of this namespace: see its spec.allowedListeners")
		served = accepted
	case s.set.gateway.refused != nil:
		accepted = no(gw.ListenerSetReasonParentNotAccepted, "The Gateway is not accepted: "+s.set.gateway.refused.message)
		served = accepted
	case !s.set.source.serves():
		accepted = no(gw.ListenerSetReasonListenersNotValid, "No listener can be served: see status.listeners")
		served = accepted
	case gateway.no:
		served = no(gw.ListenerSetReasonPending, gateway.message)
	}
	out := gw.ListenerSetStatus{Conditions: Merge(have.Conditions, []metav1.Condition{
		condition(gw.ListenerSetConditionAccepted, generation, accepted), s.program(have.Conditions, served),
	}, now)}
	if s.set.source == nil {
		return out
	}
	for _, l := range s.set.source.listeners {
		out.Listeners = append(out.Listeners, gw.ListenerEntryStatus{
			Name: l.name, SupportedKinds: l.supported(), AttachedRoutes: l.attached, Conditions: l.conditions(now, gateway),
		})
	}
	return out
}

// RouteStatus is the outcome of a route.
type RouteStatus struct {
	Kind   gw.Kind
	Object metav1.Object
	have   []gw.RouteParentStatus
	at     []*attachment
}

// Parents are those that its status has.
func (r RouteStatus) Parents() []gw.RouteParentStatus { return r.have }

// Same reports whether a later outcome of the same version of a route is no other.
func (r RouteStatus) Same(later RouteStatus) bool {
	return r.Object == later.Object && slices.EqualFunc(r.at, later.at, func(a, b *attachment) bool {
		return a.accepted == b.accepted && a.resolved == b.resolved && (a.partly == b.partly || a.partly != nil && b.partly != nil && *a.partly == *b.partly)
	})
}

// Status is what the parents in its status become at a time. Those of other controllers stay.
func (r RouteStatus) Status(now metav1.Time) []gw.RouteParentStatus {
	out := []gw.RouteParentStatus{}
	for _, p := range r.have {
		if p.ControllerName != Controller {
			out = append(out, p)
		}
	}
	for _, a := range r.at {
		want := []metav1.Condition{
			condition(gw.RouteConditionAccepted, r.Object.GetGeneration(), a.accepted),
			condition(gw.RouteConditionResolvedRefs, r.Object.GetGeneration(), a.resolved),
		}
		if a.partly != nil {
			want = append(want, condition(gw.RouteConditionPartiallyInvalid, r.Object.GetGeneration(), *a.partly))
		}
		var have []metav1.Condition
		for _, p := range r.have {
			if p.ControllerName == Controller && equality.Semantic.DeepEqual(p.ParentRef, a.ref) {
				have = p.Conditions
			}
		}
		out = append(out, gw.RouteParentStatus{ParentRef: a.ref, ControllerName: Controller, Conditions: Merge(have, want, now, string(gw.RouteConditionPartiallyInvalid))})
	}
	return out
}

// PolicyStatus is the outcome of a BackendTLSPolicy.
type PolicyStatus struct {
	Object    *gw.BackendTLSPolicy
	policy    *backendTLS
	said      verdict
	ancestors []*gw.Gateway
}

// ancestors are the Gateways that send something to what a policy is for, from the oldest.
func (d *derivation) ancestors(p *backendTLS) []*gw.Gateway {
	var all []*gw.Gateway
	for _, t := range p.policy.Spec.TargetRefs {
		for g := range d.users[types.NamespacedName{Namespace: p.policy.Namespace, Name: string(t.Name)}] {
			if !slices.Contains(all, g.object) {
				all = append(all, g.object)
			}
		}
	}
	const most = 16 // that the definition allows
	all = oldestFirst(all)
	return all[:min(len(all), most)]
}

// Status is what the ancestors in its status become at a time. Those of other controllers stay.
func (p PolicyStatus) Status(now metav1.Time) []gw.PolicyAncestorStatus {
	out := []gw.PolicyAncestorStatus{}
	for _, a := range p.Object.Status.Ancestors {
		if a.ControllerName != Controller {
			out = append(out, a)
		}
	}
	want := []metav1.Condition{
		condition(gw.PolicyConditionAccepted, p.Object.Generation, p.said),
		condition(gw.BackendTLSPolicyConditionResolvedRefs, p.Object.Generation, p.policy.resolved),
	}
	for _, g := range p.ancestors {
		group, kind, namespace := gw.Group(gw.GroupName), gw.Kind("Gateway"), gw.Namespace(g.Namespace)
		ref := gw.ParentReference{Group: &group, Kind: &kind, Namespace: &namespace, Name: gw.ObjectName(g.Name)}
		var have []metav1.Condition
		for _, a := range p.Object.Status.Ancestors {
			if a.ControllerName == Controller && equality.Semantic.DeepEqual(a.AncestorRef, ref) {
				have = a.Conditions
			}
		}
		out = append(out, gw.PolicyAncestorStatus{AncestorRef: ref, ControllerName: Controller, Conditions: Merge(have, want, now)})
	}
	return out
}

// ClassStatus is the outcome of a GatewayClass.
type ClassStatus struct {
	Object   *gw.GatewayClass
	accepted verdict
}

// Status is what its status becomes at a time.
func (c ClassStatus) Status(now metav1.Time) gw.GatewayClassStatus {
	want := []metav1.Condition{condition(gw.GatewayClassConditionStatusAccepted, c.Object.Generation, c.accepted)}
	return gw.GatewayClassStatus{Conditions: Merge(c.Object.Status.Conditions, want, now), SupportedFeatures: Features()}
}

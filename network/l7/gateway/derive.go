package gateway

import (
	"cmp"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	gw "sigs.k8s.io/gateway-api/apis/v1"

	"fairlead.dev/fairlead/network/l7/route"
)

// Result is what a View comes to.
type Result struct {
	Entries      map[route.Point]*route.Entry
	Gateways     []*Gateway
	ListenerSets []ListenerSetStatus
	Routes       []RouteStatus
	Policies     []PolicyStatus
	Classes      []ClassStatus
}

// Memory is what one derivation leaves for the next, so that what has not changed is not worked out again. The zero value
// remembers nothing. It may be used by one derivation at a time.
type Memory struct {
	pairs map[*corev1.Secret]checked
	good  map[types.NamespacedName]bool // Secrets that are a certificate with its key, or were one and have not gone since
	pools map[*gw.BackendTLSPolicy]*backendTLS
	rules map[translationKey]*translation
}

// derivation is one under way.
type derivation struct {
	view     *View
	before   Memory
	memory   Memory
	grants   grants
	classes  map[gw.ObjectName]bool // ours that are accepted
	gateways map[types.NamespacedName]*gateway
	sets     map[types.NamespacedName]*setState
	policies *policies
	users    map[types.NamespacedName]map[*gateway]bool // of Services: the Gateways with routes to them
	result   *Result
}

// Derive is what a View comes to. It reads and replaces the memory.
func Derive(v *View, m *Memory) *Result {
	d := &derivation{
		view: v, before: *m, grants: newGrants(v.ReferenceGrants), classes: map[gw.ObjectName]bool{},
		gateways: map[types.NamespacedName]*gateway{}, sets: map[types.NamespacedName]*setState{}, users: map[types.NamespacedName]map[*gateway]bool{},
		memory: Memory{pairs: map[*corev1.Secret]checked{}, good: map[types.NamespacedName]bool{}, pools: map[*gw.BackendTLSPolicy]*backendTLS{}, rules: map[translationKey]*translation{}},
		result: &Result{Entries: map[route.Point]*route.Entry{}},
	}
	d.readClasses()
	d.readPolicies()
	d.readGateways()
	d.readListenerSets()
	for _, g := range d.gateways {
		g.conflicts()
	}
	d.attachAll()
	d.serve()
	d.tell()
	*m = d.memory
	return d.result
}

// readClasses finds the GatewayClasses that are ours. Ours have no parameters.
func (d *derivation) readClasses() {
	for _, c := range d.view.Classes {
		if c.Spec.ControllerName != Controller {
			continue
		}
		accepted := yes(gw.GatewayClassReasonAccepted, "Gateways of this class are served by the nodes of the cluster")
		if c.Spec.ParametersRef != nil {
			accepted = no(gw.GatewayClassReasonInvalidParameters, "A GatewayClass of "+string(Controller)+" has no parameters: remove spec.parametersRef")
		}
		d.classes[gw.ObjectName(c.Name)] = !accepted.no
		d.result.Classes = append(d.result.Classes, ClassStatus{c, accepted})
	}
}

// readGateways finds the Gateways that are ours, with their own listeners.
func (d *derivation) readGateways() {
	for _, o := range d.view.Gateways {
		if !d.classes[o.Spec.GatewayClassName] || o.DeletionTimestamp != nil {
			continue
		}
		g := &gateway{object: o, service: ServiceName(o), resolved: yes(gw.GatewayReasonResolvedRefs, "All references are resolved"), endpoints: map[int32]*UDP{}}
		g.refused = refusal(o)
		d.clientCertificate(g)
		entries := make([]gw.ListenerEntry, len(o.Spec.Listeners))
		for i, l := range o.Spec.Listeners {
			entries[i] = gw.ListenerEntry(l)
		}
		g.own = d.newSource("Gateway", &o.ObjectMeta, g, entries, o.Status.Listeners)
		d.gateways[types.NamespacedName{Namespace: o.Namespace, Name: o.Name}] = g
	}
}

// refusal is why a Gateway as a whole cannot be accepted; nil: it can.
func refusal(o *gw.Gateway) *verdict {
	if i := o.Spec.Infrastructure; i != nil && i.ParametersRef != nil {
		v := no(gw.GatewayReasonInvalidParameters, "Gateways of "+string(Controller)+" have no parameters: remove spec.infrastructure.parametersRef")
		return &v
	}
	for _, a := range o.Spec.Addresses {
		if or(a.Type, string(gw.IPAddressType)) != string(gw.IPAddressType) {
			v := no(gw.GatewayReasonUnsupportedAddress, "Addresses of type "+string(*a.Type)+" are not supported: use IPAddress")
			return &v
		}
	}
	return nil
}

// clientCertificate is what the Gateway shows to backends.
func (d *derivation) clientCertificate(g *gateway) {
	t := g.object.Spec.TLS
	if t == nil || t.Backend == nil || t.Backend.ClientCertificateRef == nil {
		return
	}
	name, problem := d.keyPair(g, referrer{"Gateway", g.object.Namespace}, *t.Backend.ClientCertificateRef)
	switch {
	case problem == nil:
		g.client = &name
	case problem.reason == spoilt && d.before.good[name]:
		g.client, d.memory.good[name] = &name, true
		g.resolved = no(gw.GatewayReasonInvalidClientCertificateRef, problem.message+"; until it can be, the certificate that it had before is shown")
	case problem.reason == permission:
		g.resolved = no(gw.GatewayReasonRefNotPermitted, problem.message)
	default:
		g.resolved = no(gw.GatewayReasonInvalidClientCertificateRef, problem.message)
	}
}

// setState is a ListenerSet whose Gateway is ours.
type setState struct {
	object  *gw.ListenerSet
	gateway *gateway
	source  *source // nil: the Gateway does not allow it
}

// readListenerSets finds those of our Gateways, from the oldest.
func (d *derivation) readListenerSets() {
	for _, o := range oldestFirst(d.view.ListenerSets) {
		ref := o.Spec.ParentRef
		g := d.gateways[types.NamespacedName{Namespace: or(ref.Namespace, o.Namespace), Name: string(ref.Name)}]
		if g == nil || o.DeletionTimestamp != nil || or(ref.Kind, "Gateway") != "Gateway" || or(ref.Group, gw.GroupName) != gw.GroupName {
			continue
		}
		s := &setState{object: o, gateway: g}
		if d.allowsSet(g, o.Namespace) {
			said := make([]gw.ListenerStatus, len(o.Status.Listeners))
			for i, l := range o.Status.Listeners {
				said[i] = gw.ListenerStatus(l)
			}
			s.source = d.newSource("ListenerSet", &o.ObjectMeta, g, o.Spec.Listeners, said)
			g.sets = append(g.sets, s.source)
		}
		d.sets[types.NamespacedName{Namespace: o.Namespace, Name: o.Name}] = s
	}
}

// allowsSet reports whether a Gateway takes listeners from a namespace. Unless it says so, it does not.
func (d *derivation) allowsSet(g *gateway, namespace string) bool {
	a := g.object.Spec.AllowedListeners
	if a == nil || a.Namespaces == nil || a.Namespaces.From == nil {
		return false
	}
	return d.selected(g.object.Namespace, *a.Namespaces.From, a.Namespaces.Selector)(namespace)
}

// oldestFirst is the order in which objects take precedence: from the oldest, then by namespace and name.
func oldestFirst[T metav1.Object](all []T) []T {
	sorted := slices.Clone(all)
	slices.SortFunc(sorted, func(a, b T) int { return older(a, b) })
	return sorted
}

func older(a, b metav1.Object) int {
	return cmp.Or(a.GetCreationTimestamp().Time.Compare(b.GetCreationTimestamp().Time), cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
}

func labelSet(l map[string]string) labels.Set { return l }

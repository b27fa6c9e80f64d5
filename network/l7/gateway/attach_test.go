package gateway

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gw "sigs.k8s.io/gateway-api/apis/v1"
)

const twoListeners = `kind: Gateway
metadata: {name: g}
spec:
  gatewayClassName: ours
  listeners:
  - {name: a, port: 80, protocol: HTTP, hostname: "*.a.org"}
  - {name: b, port: 81, protocol: HTTP, hostname: b.org, allowedRoutes: {namespaces: {from: All}}}
  - {name: t, port: 82, protocol: TCP}
---
kind: Service
metadata: {name: s}
spec: {ports: [{name: http, port: 80}, {name: udp, port: 53, protocol: UDP}]}`

// Gateway API, CommonRouteSpec.parentRefs and RouteConditionType: to which listeners a route is attached, and what is said of it.
func TestGW20_Attachment(t *testing.T) {
	const to = "parentRefs: [{name: g, namespace: infra}]"
	for _, c := range []struct {
		name, namespace, spec, want string
		attached                    string // to a, b and t
	}{
		{"all", "infra", to, "Accepted=True/Accepted", "110"},
		{"section", "infra", "parentRefs: [{name: g, sectionName: b}]", "Accepted=True/Accepted", "010"},
		{"port", "infra", "parentRefs: [{name: g, port: 80}]", "Accepted=True/Accepted", "100"},
		{"section and port", "infra", "parentRefs: [{name: g, sectionName: b, port: 80}]", "Accepted=False/NoMatchingParent", "000"},
		{"no section", "infra", "parentRefs: [{name: g, sectionName: x}]", "Accepted=False/NoMatchingParent", "000"},
		{"of another namespace", "web", to, "Accepted=True/Accepted", "010"},
		{"not allowed", "web", "parentRefs: [{name: g, namespace: infra, sectionName: a}]", "Accepted=False/NotAllowedByListeners", "000"},
		{"not the kind", "infra", "parentRefs: [{name: g, sectionName: t}]", "Accepted=False/NotAllowedByListeners", "000"},
		{"hosts", "infra", to + "\n  hostnames: [x.a.org]", "Accepted=True/Accepted", "100"},
		{"deep hosts", "infra", to + "\n  hostnames: [y.x.a.org]", "Accepted=True/Accepted", "100"},
		{"wildcard", "infra", to + "\n  hostnames: ['*.org']", "Accepted=True/Accepted", "110"},
		{"no host", "infra", to + "\n  hostnames: [a.org, c.org]", "Accepted=False/NoMatchingListenerHostname", "000"},
		{"twice", "infra", "parentRefs: [{name: g, sectionName: a}, {name: g, port: 80}]", "Accepted=True/Accepted", "100"},
		{"nobody's", "infra", "parentRefs: [{name: other}]", "", "000"},
		{"Services", "infra", "parentRefs: [{name: s, kind: Service, group: ''}]", "", "000"},
	} {
		o := parse(t, twoListeners+"\n---\nkind: HTTPRoute\nmetadata: {name: r, namespace: "+c.namespace+"}\nspec:\n  "+c.spec)
		got, attached := "", ""
		for _, r := range o.derive().Routes {
			got = say(r.Status(metav1.Now())[0].Conditions)
		}
		for _, l := range o.assigned().Status(metav1.Now()).Listeners {
			attached += string('0' + rune(l.AttachedRoutes))
		}
		if !strings.HasPrefix(got, c.want) || (c.want == "") != (got == "") || attached != c.attached {
			t.Errorf("%s: %q, attached %s, want %s, %s", c.name, got, attached, c.want, c.attached)
		}
	}
}

// Gateway API, RouteConditionResolvedRefs: what backends can be, and what their share of requests gets otherwise.
func TestGW21_Backends(t *testing.T) {
	for _, c := range []struct{ ref, more, want string }{
		{"{name: s, port: 80}", "", "ResolvedRefs=True/ResolvedRefs"},
		{"{name: none, port: 80}", "", "ResolvedRefs=False/BackendNotFound"},
		{"{name: s, port: 81}", "", "ResolvedRefs=False/BackendNotFound"},
		{"{name: s, port: 53}", "", "ResolvedRefs=False/BackendNotFound"},
		{"{name: s, kind: Pod, port: 80}", "", "ResolvedRefs=False/InvalidKind"},
		{"{name: s, group: x.io, kind: Service, port: 80}", "", "ResolvedRefs=False/InvalidKind"},
		{"{name: s, namespace: web, port: 80}", "", "ResolvedRefs=False/RefNotPermitted"},
		{"{name: s, namespace: web, port: 80}", grant("Gateway", "Service", ""), "ResolvedRefs=False/RefNotPermitted"},
		{"{name: s, namespace: web, port: 80}", grant("HTTPRoute", "Service", "s"), "ResolvedRefs=True/ResolvedRefs"},
	} {
		o := parse(t, twoListeners+"\n---\nkind: Service\nmetadata: {name: s, namespace: web}\nspec: {ports: [{port: 80}]}\n---\n"+
			"kind: HTTPRoute\nmetadata: {name: r}\nspec: {parentRefs: [{name: g}], rules: [{backendRefs: ["+c.ref+"]}]}"+c.more)
		r := o.derive().Routes[0]
		if got := say(r.Status(metav1.Now())[0].Conditions); got != "Accepted=True/Accepted "+c.want {
			t.Errorf("%s: %s, want %s", c.ref, got, c.want)
		}
		b := r.at[0].rules[0].Action.Backends[0]
		if (b.Broken == "") != (c.want == "ResolvedRefs=True/ResolvedRefs") {
			t.Errorf("%s: broken is %q", c.ref, b.Broken)
		}
	}
}

// Gateway API, GRPCRouteSpec.hostnames: of an HTTPRoute and a GRPCRoute with host names in common at a listener exactly one is
// accepted, the older.
func TestGW24_HTTPAndGRPC(t *testing.T) {
	const ok, refused = "Accepted=True/Accepted", "Accepted=False/HostnameConflict"
	for _, c := range []struct {
		name, first, second string // spec, besides the parent
		want                string
		attached            string // to a, b and t
	}{
		{"the same name", "hostnames: [x.a.org]", "hostnames: [x.a.org]", refused, "100"},
		{"one of several", "hostnames: [x.a.org]", "hostnames: [y.a.org, x.a.org]", refused, "100"},
		{"a wider one is older", "hostnames: ['*.a.org']", "hostnames: [x.y.a.org]", refused, "100"},
		{"a wider one is younger", "hostnames: [x.y.a.org]", "hostnames: ['*.a.org']", refused, "100"},
		{"all and one", "", "hostnames: [x.a.org]", refused, "110"},
		{"one and all", "hostnames: [x.a.org]", "", refused, "100"},
		{"other names", "hostnames: [x.a.org]", "hostnames: [y.a.org]", ok, "200"},
		{"other listeners", "hostnames: [x.a.org]", "hostnames: [b.org]", ok, "110"},
	} {
		for _, kinds := range [][2]string{{"HTTPRoute", "GRPCRoute"}, {"GRPCRoute", "HTTPRoute"}} {
			route := func(kind, more string) string {
				return "\n---\nkind: " + kind + "\nmetadata: {name: r}\nspec:\n  parentRefs: [{name: g}]\n  " + more
			}
			o := parse(t, twoListeners+route(kinds[0], c.first)+route(kinds[1], c.second))
			said, attached := map[string]string{}, ""
			for _, r := range o.derive().Routes {
				said[string(r.Kind)] = say(r.Status(metav1.Now())[0].Conditions)
			}
			for _, l := range o.assigned().Status(metav1.Now()).Listeners {
				attached += string('0' + rune(l.AttachedRoutes))
			}
			if first, second := said[kinds[0]], said[kinds[1]]; !strings.HasPrefix(first, ok) || !strings.HasPrefix(second, c.want) || attached != c.attached {
				t.Errorf("%s: %s %q, then %s %q, attached %s; want %s, %s", c.name, kinds[0], first, kinds[1], second, attached, c.want, c.attached)
			}
		}
	}
	o := parse(t, twoListeners+"\n---\nkind: HTTPRoute\nmetadata: {name: r}\nspec: {parentRefs: [{name: g}]}\n---\nkind: HTTPRoute\nmetadata: {name: s}\nspec: {parentRefs: [{name: g}]}"+
		"\n---\nkind: GRPCRoute\nmetadata: {name: q}\nspec: {parentRefs: [{name: g, sectionName: b}]}")
	for _, r := range o.derive().Routes {
		if got := say(r.Status(metav1.Now())[0].Conditions); strings.HasPrefix(got, ok) != (r.Kind == "HTTPRoute") {
			t.Errorf("two of a kind, and another: %s %s: %s", r.Kind, r.Object.GetName(), got)
		}
	}
}

// Gateway API, RouteStatus: entries of other controllers stay as they are, ours are of the parents that there are now, and a time
// changes only with its status.
func TestGW22_StatusOfOthers(t *testing.T) {
	o := parse(t, twoListeners+"\n---\nkind: HTTPRoute\nmetadata: {name: r}\nspec: {parentRefs: [{name: g}]}")
	then := metav1.Unix(1e9, 0)
	r := o.HTTPRoutes[0]
	foreign := gw.RouteParentStatus{ParentRef: gw.ParentReference{Name: "g"}, ControllerName: "x.io/y", Conditions: []metav1.Condition{{Type: "Accepted", Status: "False"}}}
	gone := gw.RouteParentStatus{ParentRef: gw.ParentReference{Name: "gone"}, ControllerName: Controller}
	r.Status.Parents = []gw.RouteParentStatus{gone, foreign, {
		ParentRef: gw.ParentReference{Name: "g"}, ControllerName: Controller,
		Conditions: []metav1.Condition{
			{Type: "x.io/Z", Status: "True"}, {Type: "Accepted", Status: "True", LastTransitionTime: then},
			{Type: "ResolvedRefs", Status: "False", LastTransitionTime: then}, {Type: "PartiallyInvalid", Status: "True"},
		},
	}}
	now := metav1.Unix(2e9, 0)
	got := o.derive().Routes[0].Status(now)
	if len(got) != 2 || say(got[0].Conditions) != "Accepted=False/" || got[0].ControllerName != "x.io/y" {
		t.Fatalf("got %+v", got)
	}
	ours := got[1].Conditions
	if say(ours) != "x.io/Z=True/ Accepted=True/Accepted ResolvedRefs=True/ResolvedRefs" || !ours[1].LastTransitionTime.Equal(&then) || !ours[2].LastTransitionTime.Equal(&now) {
		t.Errorf("ours: %+v", ours)
	}
	o.Gateways = nil
	if got := o.derive().Routes[0].Status(now); len(got) != 1 || got[0].ControllerName != "x.io/y" {
		t.Errorf("without the Gateway: %+v", got)
	}
}

// Gateway API, BackendTLSPolicy: of two for the same port of a Service the oldest holds, one for a port before one for all, and what
// it cannot verify is not connected to.
func TestGW23_BackendTLSPolicies(t *testing.T) {
	policy := func(name, section, more string) string {
		return "\n---\nkind: BackendTLSPolicy\nmetadata: {name: " + name + "}\nspec:\n  targetRefs: [{group: '', kind: Service, name: s" + section + "}]\n  validation: {hostname: " + name + ".org, " + more + "}"
	}
	const ca, none = "caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]", "caCertificateRefs: [{group: '', kind: ConfigMap, name: none}]"
	route := "\n---\nkind: HTTPRoute\nmetadata: {name: r}\nspec: {parentRefs: [{name: g}], rules: [{backendRefs: [{name: s, port: 80}]}]}"
	for _, c := range []struct {
		policies   string
		serverName string // of the TLS that the backend is connected to with
		want       string
	}{
		{"", "", ""},
		{policy("p", "", ca), "p.org", "p: Accepted=True/Accepted ResolvedRefs=True/ResolvedRefs"},
		{policy("p", "", "wellKnownCACertificates: System"), "p.org", "p: Accepted=True/Accepted ResolvedRefs=True/ResolvedRefs"},
		{policy("p", "", ca) + policy("q", "", ca), "p.org", "p: Accepted=True/Accepted ResolvedRefs=True/ResolvedRefs q: Accepted=False/Conflicted ResolvedRefs=True/ResolvedRefs"},
		{policy("p", "", ca) + policy("q", ", sectionName: http", ca), "q.org", "p: Accepted=True/Accepted ResolvedRefs=True/ResolvedRefs q: Accepted=True/Accepted ResolvedRefs=True/ResolvedRefs"},
		{policy("p", ", sectionName: other", ca), "", "p: Accepted=True/Accepted ResolvedRefs=True/ResolvedRefs"},
		{policy("p", "", none), "broken", "p: Accepted=False/NoValidCACertificate ResolvedRefs=False/InvalidCACertificateRef"},
		{policy("p", "", "caCertificateRefs: [{group: x.io, kind: X, name: ca}]"), "broken", "p: Accepted=False/NoValidCACertificate ResolvedRefs=False/InvalidKind"},
	} {
		o := parse(t, twoListeners+route+c.policies)
		result := o.derive()
		var said []string
		for _, p := range result.Policies {
			for _, a := range p.Status(metav1.Now()) {
				said = append(said, p.Object.Name+": "+say(a.Conditions))
			}
		}
		if got := strings.Join(said, " "); got != c.want {
			t.Errorf("%s: %s, want %s", c.policies, got, c.want)
		}
		b, got := result.Routes[0].at[0].rules[0].Action.Backends[0], ""
		switch {
		case b.Broken != "":
			got = "broken"
		case b.TLS != nil:
			got = b.TLS.ServerName
		}
		if got != c.serverName {
			t.Errorf("%s: connected to with %q, want %q", c.policies, got, c.serverName)
		}
	}
}

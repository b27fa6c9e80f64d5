package gateway

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"fairlead.dev/fairlead/network/l7/route"
)

// asked is a request for rules to look at.
type asked struct {
	headers, query map[string]string
}

func (a asked) Header(name string) (string, bool)    { v, is := a.headers[name]; return v, is }
func (a asked) Parameter(name string) (string, bool) { v, is := a.query[name]; return v, is }
func (a asked) Cookie(string) (string, bool)         { return "", false }

// meet is the rule that a request meets at a port of the only Gateway, "" if there is none.
func (o *objects) meet(port uint16, r route.Request) string {
	if r.Values == nil {
		r.Values = asked{}
	}
	for at, e := range o.derive().Entries {
		if at.Port != port {
			continue
		}
		for _, l := range e.Listeners { // the first one that covers the host
			if !covers(l.Hostname, r.Host) {
				continue
			}
			if rule := l.Hosts.Find(&r); rule != nil {
				return rule.Source.Name + "/" + rule.Source.Rule
			}
			return ""
		}
	}
	return ""
}

// Gateway API, HTTPRouteRule.matches: exact paths first, then longer prefixes, then those with a method, more headers, more
// parameters; of equals the one of the older route, then the earlier rule.
func TestGW30_Precedence(t *testing.T) {
	o := parse(t, twoListeners+`
---
kind: HTTPRoute
metadata: {name: old}
spec:
  parentRefs: [{name: g, sectionName: a}]
  rules:
  - {matches: [{path: {type: PathPrefix, value: /p}}]}
  - {matches: [{path: {type: PathPrefix, value: /p}, headers: [{name: x-a, value: "1"}]}]}
  - {name: exact, matches: [{path: {type: Exact, value: /p/q}}]}
  - {matches: [{path: {type: PathPrefix, value: /p}, headers: [{name: x-a, value: "1"}, {name: X-A, value: "2"}]}]}
  - {matches: [{path: {type: RegularExpression, value: "/p/[0-9]+"}}]}
---
kind: HTTPRoute
metadata: {name: young}
spec:
  parentRefs: [{name: g, sectionName: a}]
  rules:
  - {matches: [{path: {type: PathPrefix, value: /p}}]}
  - {matches: [{path: {type: PathPrefix, value: /p/q/r}}]}
  - {matches: [{path: {type: PathPrefix, value: /p}, method: POST}]}
  - {matches: [{path: {type: PathPrefix, value: /p}, queryParams: [{name: k, value: v}]}]}
---
kind: HTTPRoute
metadata: {name: host}
spec:
  parentRefs: [{name: g, sectionName: a}]
  hostnames: [h.a.org]
  rules:
  - {matches: [{path: {type: PathPrefix, value: /host}}]}`)
	with := func(header string) route.Values { return asked{headers: map[string]string{"X-A": header}} }
	for _, c := range []struct {
		request route.Request
		want    string
	}{
		{route.Request{Host: "x.a.org", Path: "/p"}, "old/0"},
		{route.Request{Host: "x.a.org", Path: "/pq"}, ""},
		{route.Request{Host: "x.a.org", Path: "/p/q"}, "old/exact"},
		{route.Request{Host: "x.a.org", Path: "/p/q/"}, "old/0"},
		{route.Request{Host: "x.a.org", Path: "/p/q/r/s", Values: with("1")}, "young/1"},
		{route.Request{Host: "x.a.org", Path: "/p/", Values: with("1")}, "old/1"},
		{route.Request{Host: "x.a.org", Path: "/p", Method: "POST", Values: with("1")}, "young/2"},
		{route.Request{Host: "x.a.org", Path: "/p", Values: asked{query: map[string]string{"k": "v"}}}, "young/3"},
		{route.Request{Host: "x.a.org", Path: "/p/17"}, "old/4"},
		{route.Request{Host: "x.a.org", Path: "/p/17x"}, "old/0"},
		{route.Request{Host: "h.a.org", Path: "/host/x"}, "host/0"},
		{route.Request{Host: "h.a.org", Path: "/p"}, "old/0"},
		{route.Request{Host: "a.org", Path: "/p"}, ""},
	} {
		if got := o.meet(80, c.request); got != c.want {
			t.Errorf("%+v meets %q, want %q", c.request, got, c.want)
		}
	}
}

// Gateway API, GRPCRouteMatch: calls are requests for /SERVICE/METHOD.
func TestGW31_GRPC(t *testing.T) {
	o := parse(t, twoListeners+`
---
kind: GRPCRoute
metadata: {name: r}
spec:
  parentRefs: [{name: g, sectionName: b}]
  rules:
  - {name: all}
  - {name: both, matches: [{method: {service: a.B, method: C}}]}
  - {name: service, matches: [{method: {service: a.B}}]}
  - {name: method, matches: [{method: {method: D.}}]}
  - {name: pattern, matches: [{method: {type: RegularExpression, service: "x[.].*", method: Get|Put}}]}
  - {name: header, matches: [{method: {service: a.B}, headers: [{name: x-a, value: "1"}]}]}`)
	for path, want := range map[string]string{
		"/a.B/C": "r/both", "/a.B/X": "r/service", "/a.BC/X": "r/all", "/q/D.": "r/method", "/q/Dx": "r/all",
		"/x.y/Put": "r/pattern", "/x.y/Putty": "r/all", "/xy/Get": "r/all",
	} {
		if got := o.meet(81, route.Request{Host: "b.org", Method: "POST", Path: path}); got != want {
			t.Errorf("%s meets %q, want %q", path, got, want)
		}
	}
	if got := o.meet(81, route.Request{Host: "b.org", Path: "/a.B/X", Values: asked{headers: map[string]string{"X-A": "1"}}}); got != "r/header" {
		t.Errorf("with a header: %q", got)
	}
}

// Gateway API, RouteConditionPartiallyInvalid: rules with what is not supported are left out and said so; a route of nothing else
// is not accepted. A filter that is an extension is answered with 500.
func TestGW32_UnsupportedValues(t *testing.T) {
	const good, bad = "{backendRefs: [{name: s, port: 80}]}", "{matches: [{path: {type: RegularExpression, value: '('}}]}"
	for _, c := range []struct{ rules, want string }{
		{good, "Accepted=True/Accepted ResolvedRefs=True/ResolvedRefs"},
		{bad, "Accepted=False/UnsupportedValue ResolvedRefs=True/ResolvedRefs"},
		{good + ", " + bad, "Accepted=True/Accepted ResolvedRefs=True/ResolvedRefs PartiallyInvalid=True/UnsupportedValue"},
		{"{filters: [{type: ExtensionRef, extensionRef: {group: x.io, kind: Y, name: z}}]}", "Accepted=True/Accepted ResolvedRefs=False/InvalidKind"},
		{"{filters: [{type: ExternalAuth}]}", "Accepted=False/UnsupportedValue ResolvedRefs=True/ResolvedRefs"},
		{"{filters: [{type: RequestRedirect, requestRedirect: {statusCode: 399}}]}", "Accepted=False/UnsupportedValue ResolvedRefs=True/ResolvedRefs"},
	} {
		o := parse(t, twoListeners+"\n---\nkind: HTTPRoute\nmetadata: {name: r}\nspec: {parentRefs: [{name: g}], rules: ["+c.rules+"]}")
		r := o.derive().Routes[0]
		if got := say(r.Status(metav1.Now())[0].Conditions); got != c.want {
			t.Errorf("%s: %s, want %s", c.rules, got, c.want)
		}
		if strings.Contains(c.rules, "ExtensionRef") && r.at[0].rules[0].Action.Respond.Status != 500 {
			t.Errorf("an extension: %+v", r.at[0].rules[0].Action)
		}
	}
}

// Gateway API, HTTPRouteRetry and SessionPersistence, which definitions of the experimental channel have: they are done, or the rule is
// refused in words.
func TestGW35_RetryAndSessions(t *testing.T) {
	const backends = "backendRefs: [{name: s, port: 80}], "
	tried := func(r route.Retry) route.Action { r.OnError, r.OnSlow = true, true; return route.Action{Retry: r} }
	kept := func(a route.Affinity) route.Action { return route.Action{Affinity: &a} }
	for _, c := range []struct {
		rule  string
		want  route.Action // of it Retry and Affinity
		wrong string       // a part of what is said
	}{
		{"retry: {attempts: 3, codes: [500, 503], backoff: 100ms}", tried(route.Retry{Tries: 3, Codes: []int{500, 503}, Backoff: 100 * time.Millisecond}), ""},
		{"retry: {}", tried(route.Retry{Tries: 1}), ""},
		{"sessionPersistence: {}", kept(route.Affinity{Cookie: "fairlead-session"}), ""},
		{"sessionPersistence: {sessionName: c, type: Cookie, absoluteTimeout: 1h}", kept(route.Affinity{Cookie: "c", Absolute: time.Hour}), ""},
		{"sessionPersistence: {sessionName: c, absoluteTimeout: 1h, cookieConfig: {lifetimeType: Permanent}}", kept(route.Affinity{Cookie: "c", Absolute: time.Hour, MaxAge: time.Hour}), ""},
		{"sessionPersistence: {sessionName: c, absoluteTimeout: 1h, cookieConfig: {lifetimeType: Session}}", kept(route.Affinity{Cookie: "c", Absolute: time.Hour}), ""},
		{"sessionPersistence: {sessionName: X-Session, type: Header}", route.Action{}, "rules[0]: session persistence by a header is not supported: use Cookie"},
	} {
		for _, kind := range []string{"HTTPRoute", "GRPCRoute"} {
			if kind == "GRPCRoute" && strings.HasPrefix(c.rule, "retry") {
				continue // they have none
			}
			o := parse(t, twoListeners+"\n---\nkind: "+kind+"\nmetadata: {name: r}\nspec: {parentRefs: [{name: g}], rules: [{"+backends+c.rule+"}]}")
			r := o.derive().Routes[0]
			accepted := r.Status(metav1.Now())[0].Conditions[0]
			if c.wrong != "" {
				if accepted.Status != metav1.ConditionFalse || accepted.Reason != "UnsupportedValue" || !strings.Contains(accepted.Message, c.wrong) || len(r.at[0].rules) > 0 {
					t.Errorf("%s %s: %+v", kind, c.rule, accepted)
				}
				continue
			}
			a := r.at[0].rules[0].Action
			if got := (route.Action{Retry: a.Retry, Affinity: a.Affinity}); !reflect.DeepEqual(got, c.want) || accepted.Status != metav1.ConditionTrue {
				t.Errorf("%s %s: %+v %+v, %+v", kind, c.rule, got.Retry, got.Affinity, accepted)
			}
		}
	}
}

// Gateway API, TLSRoute, TCPRoute, UDPRoute: bytes go by SNI, or to the backends of the oldest route.
func TestGW33_Streams(t *testing.T) {
	o := parse(t, `kind: Gateway
metadata: {name: g}
spec:
  gatewayClassName: ours
  listeners:
  - {name: pass, port: 443, protocol: TLS, hostname: "*.org", tls: {mode: Passthrough}}
  - {name: end, port: 443, protocol: TLS, hostname: end.org, tls: {mode: Terminate, certificateRefs: [{name: pair}]}}
  - {name: tcp, port: 25, protocol: TCP}
  - {name: udp, port: 53, protocol: UDP}`+service("s")+service("u")+
		"\n---\nkind: TLSRoute\nmetadata: {name: r}\nspec: {parentRefs: [{name: g}], hostnames: ['*.org', x.org, end.org], rules: [{backendRefs: [{name: s, port: 80}]}]}"+
		"\n---\nkind: TCPRoute\nmetadata: {name: r}\nspec: {parentRefs: [{name: g}], rules: [{backendRefs: [{name: s, port: 80, weight: 3}, {name: u, port: 80}]}]}"+
		"\n---\nkind: TCPRoute\nmetadata: {name: young}\nspec: {parentRefs: [{name: g}], rules: [{backendRefs: [{name: u, port: 80}]}]}"+
		"\n---\nkind: UDPRoute\nmetadata: {name: r}\nspec: {parentRefs: [{name: g}], rules: [{backendRefs: [{name: s, port: 80}]}]}")
	result := o.derive()
	var got []string
	for at, e := range result.Entries {
		for _, l := range e.Listeners {
			for _, s := range l.Streams {
				got = append(got, fmt.Sprintf("%d %s %s ended=%v %s x%d", at.Port, e.Protocol, s.Hostname, l.TLS != nil, s.Source.Name, len(s.Backends)))
			}
		}
	}
	slices.Sort(got)
	want := []string{"25 TCP  ended=false r x2", "443 TLS *.org ended=false r x1", "443 TLS end.org ended=false r x1", "443 TLS end.org ended=true r x1", "443 TLS x.org ended=false r x1"}
	if !slices.Equal(got, want) {
		t.Errorf("streams:\n%s", strings.Join(got, "\n"))
	}
	g := result.Gateways[0]
	if len(g.UDP) != 1 || g.UDP[0].Port != 53 || len(g.UDP[0].Backends) != 1 || g.UDP[0].Backends[0].Broken == "" {
		t.Errorf("UDP: %+v; the Service has no UDP port 80", g.UDP)
	}
	for _, r := range result.Routes {
		if c := say(r.Status(metav1.Now())[0].Conditions); !strings.HasPrefix(c, "Accepted=True/Accepted") {
			t.Errorf("%s %s: %s", r.Kind, r.Object.GetName(), c)
		}
	}
	if n := g.Status(metav1.Now()).Listeners[2].AttachedRoutes; n != 2 {
		t.Errorf("the TCP listener has %d routes, want both", n)
	}
}

// A route is translated anew only when it, or something that it names, has changed.
func TestGW34_Memory(t *testing.T) {
	o := parse(t, twoListeners+"\n---\nkind: HTTPRoute\nmetadata: {name: r}\nspec: {parentRefs: [{name: g}], rules: [{backendRefs: [{name: s, port: 80}]}]}")
	rule := func() *route.Rule { return o.derive().Routes[0].at[0].rules[0].Rule }
	first := rule()
	if rule() != first {
		t.Error("it was translated anew, and nothing had changed")
	}
	o.services[key("infra", "s")] = o.services[key("infra", "s")].DeepCopy()
	second := rule()
	if second == first {
		t.Error("it was not translated anew when its Service had changed")
	}
	delete(o.services, key("infra", "s"))
	if got := rule(); got.Action.Backends[0].Broken == "" {
		t.Error("it goes to a Service that is gone")
	}
	if n := len(o.memory.rules); n != 1 {
		t.Errorf("%d translations are kept, want 1", n)
	}
}

// BenchmarkDerive is one change among 5000 routes of one Gateway.
func BenchmarkDerive(b *testing.B) {
	t := &testing.T{}
	o := parse(t, twoListeners)
	for i := range 5000 {
		o.add(t, 10+i, fmt.Sprintf("kind: HTTPRoute\nmetadata: {name: r%d}\nspec: {parentRefs: [{name: g}], hostnames: [h%d.a.org], rules: [{matches: [{path: {type: PathPrefix, value: /}}], backendRefs: [{name: s, port: 80}]}]}", i, i))
	}
	o.derive()
	for b.Loop() {
		r := o.HTTPRoutes[17].DeepCopy()
		o.HTTPRoutes[17] = r
		o.derive()
	}
}

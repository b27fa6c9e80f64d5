package gateway

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Gateway API, Gateway.spec.listeners and ListenerConditionType: what is said of a listener, in the words of the definitions.
func TestGW10_ListenerConditions(t *testing.T) {
	const http = "{name: l, port: 80, protocol: HTTP}"
	for _, c := range []struct {
		name, listeners, more string
		want                  string // of listener l: a part of its conditions
		kinds                 int    // it supports
		gateway               string // a part of the Gateway's conditions
	}{
		{"plain", http, "", "Accepted=True/Accepted Programmed=True/Programmed ResolvedRefs=True/ResolvedRefs Conflicted=False/NoConflicts", 2, "Accepted=True/Accepted Programmed=True/Programmed"},
		{"protocol", "{name: l, port: 80, protocol: SCTP}", "", "Accepted=False/UnsupportedProtocol Programmed=False/Invalid", 0, "Accepted=False/ListenersNotValid Programmed=False/Invalid"},
		{"one of two", "{name: l, port: 80, protocol: SCTP}, {name: m, port: 81, protocol: HTTP}", "", "Accepted=False/UnsupportedProtocol", 0, "Accepted=True/ListenersNotValid Programmed=True"},
		{"kind", "{name: l, port: 80, protocol: HTTP, allowedRoutes: {kinds: [{kind: TCPRoute}]}}", "", "ResolvedRefs=False/InvalidRouteKinds", 0, "Accepted=True/Accepted"},
		{"one kind", "{name: l, port: 80, protocol: HTTP, allowedRoutes: {kinds: [{kind: X}, {kind: HTTPRoute}]}}", "", "ResolvedRefs=False/InvalidRouteKinds", 1, ""},
		{"group", "{name: l, port: 80, protocol: HTTP, allowedRoutes: {kinds: [{group: x.io, kind: HTTPRoute}]}}", "", "ResolvedRefs=False/InvalidRouteKinds", 0, ""},
		{"no Secret", "{name: l, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: none}]}}", "", "Accepted=True/Accepted Programmed=False/Invalid ResolvedRefs=False/InvalidCertificateRef", 2, "Programmed=False/Invalid"},
		{"no reference", "{name: l, port: 443, protocol: HTTPS}", "", "ResolvedRefs=False/InvalidCertificateRef", 2, ""},
		{"not a Secret", "{name: l, port: 443, protocol: HTTPS, tls: {certificateRefs: [{kind: ConfigMap, name: pair}]}}", "", "ResolvedRefs=False/InvalidCertificateRef", 2, ""},
		{"broken Secret", "{name: l, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: broken}]}}", "", "ResolvedRefs=False/InvalidCertificateRef", 2, ""},
		{"Secret", "{name: l, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: pair}]}}", "", "Programmed=True/Programmed ResolvedRefs=True", 2, ""},
		{"a good and a bad Secret", "{name: l, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: pair}, {name: none}]}}", "", "Programmed=True/Programmed ResolvedRefs=False/InvalidCertificateRef", 2, ""},
		{"Secret elsewhere", "{name: l, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: pair, namespace: web}]}}", "", "ResolvedRefs=False/RefNotPermitted", 2, ""},
		{"grant", "{name: l, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: pair, namespace: web}]}}", grant("Gateway", "Secret", "pair"), "ResolvedRefs=True", 2, ""},
		{"grant for all", "{name: l, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: pair, namespace: web}]}}", grant("Gateway", "Secret", ""), "ResolvedRefs=True", 2, ""},
		{"grant for another", "{name: l, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: pair, namespace: web}]}}", grant("Gateway", "Secret", "x"), "ResolvedRefs=False/RefNotPermitted", 2, ""},
		{"grant for routes", "{name: l, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: pair, namespace: web}]}}", grant("HTTPRoute", "Secret", ""), "ResolvedRefs=False/RefNotPermitted", 2, ""},
		{"passthrough", "{name: l, port: 443, protocol: TLS, tls: {mode: Passthrough}}", "", "Programmed=True/Programmed ResolvedRefs=True", 1, ""},
		{"protocols", "{name: l, port: 80, protocol: HTTP}, {name: m, port: 80, protocol: TCP}", "", "Accepted=False/ProtocolConflict Programmed=False/ProtocolConflict ResolvedRefs=True/ResolvedRefs Conflicted=True/ProtocolConflict", 2, "Accepted=False/ListenersNotValid"},
		{"hosts", "{name: l, port: 80, protocol: HTTP}, {name: m, port: 80, protocol: HTTP}, {name: n, port: 80, protocol: HTTP, hostname: a.org}", "", "Conflicted=True/HostnameConflict", 2, "Accepted=True/ListenersNotValid"},
		{"TCP and UDP", "{name: l, port: 53, protocol: TCP}, {name: m, port: 53, protocol: UDP}", "", "Accepted=True/Accepted", 1, "Accepted=True/Accepted"},
		{"hosts of HTTP", "{name: l, port: 80, protocol: HTTP, hostname: a.org}, {name: m, port: 80, protocol: HTTP, hostname: '*.org'}", "", "Conflicted=False/NoConflicts", 2, ""},
		{"mixed TLS", "{name: l, port: 443, protocol: TLS, hostname: a.org, tls: {mode: Passthrough}}, {name: m, port: 443, protocol: TLS, hostname: b.org, tls: {mode: Terminate, certificateRefs: [{name: pair}]}}", "", "Accepted=True/Accepted Programmed=True", 1, ""},
		{"overlap", "{name: l, port: 443, protocol: HTTPS, hostname: a.b.org, tls: {certificateRefs: [{name: pair}]}}, {name: m, port: 443, protocol: HTTPS, hostname: '*.org', tls: {certificateRefs: [{name: pair}]}}", "", "OverlappingTLSConfig=True/OverlappingHostnames", 2, ""},
	} {
		o := parse(t, "kind: Gateway\nmetadata: {name: g}\nspec:\n  gatewayClassName: ours\n  listeners: ["+c.listeners+"]"+c.more)
		o.secrets[key("infra", "broken")] = &corev1.Secret{Data: map[string][]byte{"tls.crt": []byte("x"), "tls.key": []byte("x")}}
		g := o.assigned()
		status := g.Status(metav1.Now())
		l := status.Listeners[0]
		if got := say(l.Conditions); !strings.Contains(got, c.want) || len(l.SupportedKinds) != c.kinds || l.SupportedKinds == nil {
			t.Errorf("%s: listener: %s, %d kinds, want %s, %d", c.name, got, len(l.SupportedKinds), c.want, c.kinds)
		}
		if got := say(status.Conditions); !strings.Contains(got, c.gateway) {
			t.Errorf("%s: Gateway: %s, want %s", c.name, got, c.gateway)
		}
		for _, cond := range append(status.Conditions, l.Conditions...) {
			if cond.ObservedGeneration != 3 || cond.Message == "" || cond.LastTransitionTime.IsZero() {
				t.Errorf("%s: condition %+v", c.name, cond)
			}
		}
	}
}

// A certificate that is not valid at the time is served, and told of, when it ends as well as before it begins.
func TestGW14_CertificateDates(t *testing.T) {
	o := parse(t, "kind: Gateway\nmetadata: {name: g}\nspec:\n  gatewayClassName: ours\n  listeners: [{name: l, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: pair}]}}, {name: m, port: 80, protocol: HTTP}]")
	cert, err := tls.X509KeyPair(o.secrets[key("infra", "pair")].Data["tls.crt"], o.secrets[key("infra", "pair")].Data["tls.key"])
	if err != nil {
		t.Fatal(err)
	}
	end := cert.Leaf.NotAfter
	g := o.assigned()
	for _, c := range []struct {
		at   time.Time
		want string
	}{
		{end.Add(-time.Minute), "Conflicted=False/NoConflicts"},
		{end.Add(time.Second), "Conflicted=False/NoConflicts fairlead.dev/CertificateValid=False/CertificateExpired"},
		{cert.Leaf.NotBefore.Add(-time.Second), "Conflicted=False/NoConflicts fairlead.dev/CertificateValid=False/CertificateNotYetValid"},
	} {
		status := g.Status(metav1.NewTime(c.at))
		got := say(status.Listeners[0].Conditions)
		if !strings.Contains(got, "Programmed=True/Programmed ResolvedRefs=True/ResolvedRefs") || !strings.HasSuffix(got, c.want) {
			t.Errorf("at %s: %s, want %s", c.at, got, c.want)
		}
		if got := len(Wrong(status.Listeners[0].Conditions, status.Listeners[1].Conditions)); (got == 1) != strings.Contains(c.want, "fairlead.dev") {
			t.Errorf("at %s: %d are told", c.at, got)
		}
		o.Gateways[0].Status = status // and once it is valid again the condition goes
	}
	if got := say(o.assigned().Status(metav1.NewTime(end)).Listeners[0].Conditions); strings.Contains(got, "fairlead.dev") {
		t.Errorf("valid again: %s", got)
	}
	if now := end.Add(-time.Minute); g.Again(now) != time.Minute+time.Second || g.Again(end.Add(time.Second)) != 0 {
		t.Errorf("it is looked at again after %s, and after its end after %s", g.Again(now), g.Again(end.Add(time.Second)))
	}
}

// A Secret that is spoilt while a listener is served with it does not end that: what the Secret was is shown. Neither a new listener
// nor one that is written anew gets by with it, and without the Secret there is nothing to show.
func TestGW15_SpoiltSecret(t *testing.T) {
	o := parse(t, "kind: Gateway\nmetadata: {name: g}\nspec:\n  gatewayClassName: ours\n  listeners: [{name: l, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: pair}]}}]")
	good, spoilt := o.secrets[key("infra", "pair")], &corev1.Secret{Data: map[string][]byte{"tls.crt": []byte("x"), "tls.key": []byte("x")}}
	const served, kept, broken = "Programmed=True/Programmed ResolvedRefs=True", "Programmed=True/Programmed ResolvedRefs=False/InvalidCertificateRef", "Programmed=False/Invalid ResolvedRefs=False/InvalidCertificateRef"
	see := func(what string, secret *corev1.Secret, want string) {
		t.Helper()
		if o.secrets[key("infra", "pair")] = secret; secret == nil {
			delete(o.secrets, key("infra", "pair"))
		}
		status := o.assigned().Status(metav1.Now())
		if got := say(status.Listeners[0].Conditions); !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
		if n := len(o.derive().Entries); (n == 1) != (want != broken) {
			t.Errorf("%s: %d entries", what, n)
		}
		o.Gateways[0].Status = status
	}
	see("spoilt from the beginning", spoilt, broken)
	see("good", good, served)
	see("spoilt", spoilt, kept)
	see("spoilt in another way", spoilt.DeepCopy(), kept)
	o.memory = Memory{}
	see("after a restart", spoilt, kept)
	see("mended", good, served)
	see("deleted", nil, broken)
	see("spoilt anew", spoilt, broken)
	see("good again", good, served)
	o.memory, o.Gateways[0].Generation = Memory{}, 4
	see("written anew after a restart", spoilt, broken)
}

func grant(from, to, name string) string {
	if name != "" {
		name = ", name: " + name
	}
	return "\n---\nkind: ReferenceGrant\nmetadata: {name: r, namespace: web}\nspec: {from: [{group: gateway.networking.k8s.io, kind: " + from +
		", namespace: infra}], to: [{group: '', kind: " + to + name + "}]}"
}

// Gateway API, ListenerSet.spec.listeners: the Gateway's own listeners come first, then those of the oldest ListenerSet; what
// conflicts with one before it is refused, and the others of its set are served.
func TestGW11_ListenerSets(t *testing.T) {
	set := func(name, namespace, listeners string) string {
		return "\n---\nkind: ListenerSet\nmetadata: {name: " + name + ", namespace: " + namespace + "}\nspec:\n  parentRef: {name: g, namespace: infra}\n  listeners: [" + listeners + "]"
	}
	o := parse(t, `kind: Gateway
metadata: {name: g}
spec:
  gatewayClassName: ours
  allowedListeners: {namespaces: {from: Selector, selector: {matchLabels: {ok: "yes"}}}}
  listeners: [{name: own, port: 80, protocol: HTTP, hostname: own.org}]
---
kind: Namespace
metadata: {name: a, labels: {ok: "yes"}}`+
		set("first", "a", "{name: x, port: 80, protocol: HTTP, hostname: x.org}, {name: own, port: 80, protocol: HTTP, hostname: own.org}")+
		set("second", "a", "{name: y, port: 80, protocol: HTTP, hostname: x.org}")+
		set("third", "a", "{name: z, port: 80, protocol: TCP}, {name: w, port: 81, protocol: TCP}, {name: u, port: 80, protocol: HTTP, hostname: u.org}")+
		set("foreign", "b", "{name: v, port: 82, protocol: HTTP}"))
	g := o.assigned()
	if got := *g.Status(metav1.Now()).AttachedListenerSets; got != 2 {
		t.Errorf("%d ListenerSets are attached, want 2", got)
	}
	want := map[string]string{
		"first":   "Accepted=True/Accepted Programmed=True/Programmed | Accepted=True/Accepted | Accepted=False/HostnameConflict",
		"second":  "Accepted=False/ListenersNotValid Programmed=False/ListenersNotValid | Accepted=False/HostnameConflict",
		"third":   "Accepted=True/Accepted Programmed=True/Programmed | Accepted=False/ProtocolConflict | Accepted=True/Accepted | Accepted=True/Accepted",
		"foreign": "Accepted=False/NotAllowed Programmed=False/NotAllowed",
	}
	for _, s := range o.derive().ListenerSets {
		status := s.Status(metav1.Now())
		got := say(status.Conditions)
		for _, l := range status.Listeners {
			got += " | " + strings.Fields(say(l.Conditions))[0]
		}
		if got != want[s.Object.Name] {
			t.Errorf("%s: %s, want %s", s.Object.Name, got, want[s.Object.Name])
		}
	}
	var ports []int32
	for _, p := range g.Service().Spec.Ports {
		ports = append(ports, p.Port)
	}
	if len(ports) != 2 || ports[0] != 80 || ports[1] != 81 {
		t.Errorf("the Service has the ports %v, want 80 and 81", ports)
	}
}

// Gateway API, GatewaySpec: why a Gateway is not accepted, or has no address.
func TestGW12_GatewayConditions(t *testing.T) {
	for _, c := range []struct {
		spec    string
		ingress []string // addresses that its Service has
		want    string
	}{
		{"", []string{"10.0.0.1"}, "Accepted=True/Accepted Programmed=True/Programmed ResolvedRefs=True/ResolvedRefs"},
		{"", nil, "Accepted=True/Accepted Programmed=False/AddressNotAssigned"},
		{"addresses: [{value: 10.0.0.1}]", []string{"10.0.0.1"}, "Programmed=True/Programmed"},
		{"addresses: [{value: 10.0.0.2}]", []string{"10.0.0.1"}, "Accepted=True/Accepted Programmed=False/AddressNotUsable"},
		{"addresses: [{type: IPAddress}]", []string{"10.0.0.1"}, "Programmed=True/Programmed"},
		{"addresses: [{type: x.io/y, value: z}]", nil, "Accepted=False/UnsupportedAddress Programmed=False/Invalid"},
		{"infrastructure: {parametersRef: {group: x.io, kind: Y, name: z}}", nil, "Accepted=False/InvalidParameters Programmed=False/Invalid"},
		{"tls: {backend: {clientCertificateRef: {name: none}}}", []string{"10.0.0.1"}, "Accepted=True/Accepted Programmed=True/Programmed ResolvedRefs=False/InvalidClientCertificateRef"},
		{"tls: {backend: {clientCertificateRef: {name: pair, namespace: web}}}", []string{"10.0.0.1"}, "ResolvedRefs=False/RefNotPermitted"},
		{"tls: {backend: {clientCertificateRef: {name: pair}}}", []string{"10.0.0.1"}, "ResolvedRefs=True/ResolvedRefs"},
	} {
		o := parse(t, "kind: Gateway\nmetadata: {name: g}\nspec:\n  gatewayClassName: ours\n  "+c.spec+"\n  listeners: [{name: l, port: 80, protocol: HTTP}]")
		g := o.given(c.ingress...)
		if got := say(g.Status(metav1.Now()).Conditions); !strings.Contains(got, c.want) {
			t.Errorf("%s %v: %s, want %s", c.spec, c.ingress, got, c.want)
		}
	}
}

// Gateway API, FrontendTLSValidation: certificates that clients have to show.
func TestGW13_ClientCertificates(t *testing.T) {
	for _, c := range []struct{ frontend, want string }{
		{"default: {validation: {caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]}}", "Accepted=True/Accepted Programmed=True/Programmed ResolvedRefs=True"},
		{"default: {validation: {caCertificateRefs: [{group: '', kind: ConfigMap, name: none}]}}", "Accepted=False/NoValidCACertificate Programmed=False/Invalid ResolvedRefs=False/InvalidCACertificateRef"},
		{"default: {validation: {caCertificateRefs: [{group: '', kind: Service, name: ca}]}}", "Accepted=False/NoValidCACertificate Programmed=False/Invalid ResolvedRefs=False/InvalidCACertificateKind"},
		{"default: {validation: {caCertificateRefs: [{group: '', kind: ConfigMap, name: ca, namespace: web}]}}", "Accepted=False/NoValidCACertificate Programmed=False/Invalid ResolvedRefs=False/RefNotPermitted"},
		{"default: {validation: {caCertificateRefs: [{group: '', kind: ConfigMap, name: none}]}}\n      perPort: [{port: 443, tls: {}}]", "Accepted=True/Accepted"},
	} {
		o := parse(t, "kind: Gateway\nmetadata: {name: g}\nspec:\n  gatewayClassName: ours\n  tls:\n    frontend:\n      "+c.frontend+
			"\n  listeners: [{name: l, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: pair}]}}, {name: m, port: 80, protocol: HTTP}]")
		status := o.assigned().Status(metav1.Now())
		if got := say(status.Listeners[0].Conditions); !strings.Contains(got, c.want) {
			t.Errorf("%s: %s, want %s", c.frontend, got, c.want)
		}
		if got := say(status.Listeners[1].Conditions); !strings.Contains(got, "Programmed=True") {
			t.Errorf("%s: the HTTP listener: %s", c.frontend, got)
		}
	}
}

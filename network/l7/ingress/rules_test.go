package ingress

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// answers holds what becomes of requests, each written ADDRESS ANSWER.
func answers(t *testing.T, b *Builder, lines ...string) {
	t.Helper()
	for _, line := range lines {
		address, want, _ := strings.Cut(line, " ")
		expect(t, address, b.ask(t, address), want)
	}
}

func TestI30_I31_ExactPaths(t *testing.T) {
	b := serve(t, newCluster(), one("a", nil, "a.x /foo Exact web", "a.x /bar/ Exact api"))
	answers(t, b, "http://a.x/foo web:80", "http://a.x/foo/ 404", "http://a.x/FOO 404", "http://a.x/bar 404", "http://a.x/bar/ api:80", "http://a.x/ 404")
}

func TestI32_I33_I34_I35_PrefixesByElement(t *testing.T) {
	b := serve(t, newCluster(), one("a", nil, "a.x /aaa web", "a.x /aaa/bbb/ api", "b.x / old"))
	answers(t, b, "http://a.x/aaa web:80", "http://a.x/aaa/ web:80", "http://a.x/aaa/ccc web:80", "http://a.x/aaaccc 404", "http://a.x/AAA 404",
		"http://a.x/aaa/bbb api:80", "http://a.x/aaa/bbb/ api:80", "http://a.x/aaa/bbb/ccc api:80", "http://a.x/aaa/bbbb web:80",
		"http://b.x/ old:80", "http://b.x/any/thing old:80")
}

func TestI36_I37_ExactThenLongest(t *testing.T) {
	b := serve(t, newCluster(), one("a", nil, "a.x / old", "a.x /foo web", "a.x /foo Exact api", "a.x /foo/bar old:8080"))
	answers(t, b, "http://a.x/foo api:80", "http://a.x/foo/ web:80", "http://a.x/foo/bar/x old:8080", "http://a.x/x old:80")
}

// Of type ImplementationSpecific is what nginx makes of a location: what begins with it.
func TestI37_ImplementationSpecific(t *testing.T) {
	b := serve(t, newCluster(), one("a", nil, "a.x /foo ImplementationSpecific web", "a.x /foo/ ImplementationSpecific api", "b.x / ImplementationSpecific old"))
	answers(t, b, "http://a.x/foo web:80", "http://a.x/foobar web:80", "http://a.x/foo/bar api:80", "http://a.x/fo 404", "http://b.x/x old:80")
}

func TestI38_I39_I40_I41_Hosts(t *testing.T) {
	b := serve(t, newCluster(), one("a", nil, "foo.com /x web", "*.foo.com / api", "* / old"))
	answers(t, b, "http://foo.com/x web:80", "http://foo.com/y 404", "http://bar.foo.com/y api:80", "http://baz.bar.foo.com/ old:80", "http://else.org/ old:80")
}

func TestI42_OnlyADefaultBackend(t *testing.T) {
	b := serve(t, newCluster(), one("a", nil, "default web:80"), one("b", nil, "a.x /x api"))
	answers(t, b, "http://any.org/any web:80", "http://a.x/x api:80", "http://a.x/y 404")
}

func TestI43_DefaultBackendOfAHost(t *testing.T) {
	b := serve(t, newCluster(), one("a", nil, "default old:80", "a.x /x api"), one("b", nil, "a.x /y web"))
	answers(t, b, "http://a.x/x api:80", "http://a.x/y web:80", "http://a.x/z old:80", "http://b.x/ 404")
}

func TestI44_I45_Certificates(t *testing.T) {
	c := newCluster()
	b := serve(t, c, one("a", nil, "a.x / web")+"  tls: [{hosts: [a.x, '*.a.x'], secretName: one}]\n",
		one("b", nil, "a.x /b web")+"  tls: [{hosts: [a.x], secretName: two}, {secretName: three}, {hosts: [z.x]}]\n")
	_, secure := b.Entries()
	var list []string
	for _, cert := range secure.Listeners[0].TLS.Certificates {
		list = append(list, cert.Host+"="+cert.Secret.String())
	}
	expect(t, "certificates", strings.Join(list, " "), "=shop/three *.a.x=shop/one a.x=shop/one")
	expect(t, "the younger", b.said("b"), "CertificateTaken spec.tls[0]")
	answers(t, b, "http://a.x/ web:80", "https://a.x/ web:80") // HTTP is served on
	delete(c.ingresses, types.NamespacedName{Namespace: "shop", Name: "a"})
	b.Update(Changes{Ingresses: []types.NamespacedName{{Namespace: "shop", Name: "a"}}})
	_, secure = b.Entries()
	if certs := secure.Listeners[0].TLS.Certificates; len(certs) != 2 || certs[1].Secret.Name != "two" {
		t.Errorf("without the elder: %v", certs)
	}
	expect(t, "the younger alone", b.said("b"), "")
}

func TestI46_ClassNotOurs(t *testing.T) {
	c := newCluster()
	b := serve(t, c, one("legacy", map[string]string{"kubernetes.io/ingress.class": "fairlead"}, "a.x / web"),
		one("foreign", map[string]string{"kubernetes.io/ingress.class": "other"}, "b.x / web"),
		one("missing", map[string]string{"kubernetes.io/ingress.class": "nobody"}, "c.x / web"),
		"metadata: {name: none, annotations: {none: 'true'}}\n"+one("", nil, "d.x / web")[strings.Index(one("", nil, "d.x / web"), "spec:"):])
	answers(t, b, "http://a.x/ web:80", "http://b.x/ 404", "http://c.x/ 404", "http://d.x/ 404")
	expect(t, "foreign", b.said("foreign"), "")
	expect(t, "none", b.said("none"), "")
	expect(t, "missing", b.said("missing"), "IngressClassMissing spec.ingressClassName")
	c.classes["nobody"] = c.classes["fairlead"]
	done := b.Update(Changes{Classes: []string{"nobody"}})
	answers(t, b, "http://c.x/ web:80")
	if !done.Entries || len(done.Ingresses) != 1 || !b.Served(done.Ingresses[0]) {
		t.Errorf("the class came, and that concerned %+v", done)
	}
	expect(t, "no longer missing", b.said("missing"), "")
}

func TestI49_PortsByNameAndNumber(t *testing.T) {
	c := newCluster()
	b := serve(t, c, one("a", nil, "a.x /n web:admin", "a.x /m web:8080", "a.x /bad web:nope", "a.x /worse web:81", "a.x /gone lost"))
	answers(t, b, "http://a.x/n web:8080", "http://a.x/m web:8080", "http://a.x/bad broken", "http://a.x/worse broken", "http://a.x/gone broken")
	expect(t, "findings", b.said("a"), "ServicePortMissing spec.rules[2].http.paths[0].backend, ServicePortMissing spec.rules[3].http.paths[0].backend, ServiceMissing spec.rules[4].http.paths[0].backend")
	name := types.NamespacedName{Namespace: "shop", Name: "web"}
	c.service("shop", "web", corev1.ServicePort{Name: "nope", Port: 81}, corev1.ServicePort{Name: "admin", Port: 9090})
	c.service("shop", "lost", corev1.ServicePort{Port: 80})
	b.Update(Changes{Services: []types.NamespacedName{name, {Namespace: "shop", Name: "lost"}}})
	answers(t, b, "http://a.x/n web:9090", "http://a.x/bad web:81", "http://a.x/worse web:81", "http://a.x/gone lost:80", "http://a.x/m broken")
}

// Nothing is sent to a name outside of the cluster, nor to ports that are not TCP, nor to resources.
func TestI50_BackendsThatCannotBe(t *testing.T) {
	c := newCluster()
	c.service("shop", "web").Spec.Type = corev1.ServiceTypeExternalName
	c.service("shop", "api", corev1.ServicePort{Port: 80, Protocol: corev1.ProtocolUDP})
	b := serve(t, c, one("a", nil, "a.x /e web", "a.x /u api"),
		"metadata: {name: r}\nspec: {defaultBackend: {resource: {kind: Bucket, name: b, apiGroup: example.org}}}\n")
	answers(t, b, "http://a.x/e broken", "http://a.x/u broken", "http://b.x/ broken")
	expect(t, "findings", b.said("a"), "ServicePortMissing spec.rules[1].http.paths[0].backend, ServiceExternalName spec.rules[0].http.paths[0].backend")
	expect(t, "resource", b.said("r"), "ResourceBackend spec.defaultBackend")
}

func TestI52_SeveralOfAHost(t *testing.T) {
	c := newCluster()
	b := serve(t, c, one("young", nil, "a.x /same web", "a.x /own old"), one("old", nil, "a.x /same/ api", "a.x /other api", "a.x /other web"))
	answers(t, b, "http://a.x/same web:80", "http://a.x/own old:80", "http://a.x/other api:80")
	expect(t, "old", b.said("old"), "PathTaken spec.rules[0].http.paths[0], PathTaken spec.rules[2].http.paths[0]")
	// The elder goes before, whatever came first; at the same second the name decides.
	first := c.ingresses[types.NamespacedName{Namespace: "shop", Name: "young"}].DeepCopy()
	first.CreationTimestamp = c.ingresses[types.NamespacedName{Namespace: "shop", Name: "old"}].CreationTimestamp
	c.ingresses[types.NamespacedName{Namespace: "shop", Name: "young"}] = first
	done := b.Update(Changes{Ingresses: []types.NamespacedName{{Namespace: "shop", Name: "young"}}})
	answers(t, b, "http://a.x/same api:80")
	expect(t, "young", b.said("young"), "PathTaken spec.rules[0].http.paths[0]")
	expect(t, "old, now", b.said("old"), "PathTaken spec.rules[2].http.paths[0]")
	if len(done.Ingresses) != 2 {
		t.Errorf("concerned: %v", done.Ingresses)
	}
}

func TestI53_NothingIsRewritten(t *testing.T) {
	b := serve(t, newCluster(), one("a", nil, "a.x /x web"))
	if r := b.rule(t, "http://a.x/x/y", asked{}); r.Action.Rewrite != nil || !r.Action.Request.IsEmpty() || r.Action.Timeouts.Request != 0 {
		t.Errorf("without annotations: %+v", r.Action)
	}
}

func TestI54_ChangesAreSeen(t *testing.T) {
	c := newCluster()
	b := serve(t, c, one("a", nil, "a.x / web"))
	before := b.table("http")
	name := c.put(t, one("a", nil, "b.x / api"))
	if done := b.Update(Changes{Ingresses: name}); !done.Entries {
		t.Error("no change")
	}
	answers(t, b, "http://a.x/ 404", "http://b.x/ api:80")
	delete(c.ingresses, name[0])
	b.Update(Changes{Ingresses: name})
	answers(t, b, "http://b.x/ 404")
	n := 0
	for range before.Each {
		n++
	}
	if n != 1 || len(b.parts)+len(b.hosts)+len(b.users)+len(b.classes)+len(b.certs.claims) != 0 {
		t.Errorf("the table before has %d hosts, want 1; left: %d Ingresses, %d hosts, %d users, %d classes", n, len(b.parts), len(b.hosts), len(b.users), len(b.classes))
	}
	if done := b.Update(Changes{Ingresses: name}); done.Entries {
		t.Error("what never was is gone: that changes nothing")
	}
}

// A percent sign in a path is one of its encoding; what guards a path guards every way to write it.
func TestI32_PathsInNormalForm(t *testing.T) {
	b := serve(t, newCluster(), one("a", nil, "a.x / web", "a.x /a%20b api", "a.x /admin old"), one("bad", nil, "a.x /%zz ImplementationSpecific web"))
	answers(t, b, "http://a.x/a%20b/c api:80", "http://a.x/%61dmin/x old:80", "http://a.x//x/..//admin old:80")
	expect(t, "bad", b.said("bad"), "PathInvalid spec.rules[0].http.paths[0].path")
}

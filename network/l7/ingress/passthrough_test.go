package ingress

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/network/lb"
)

// TestPassthrough: connections for a host go to the backend of / with their TLS, as bytes; port 80 and other hosts go on as before, and the
// eldest Ingress of a host decides.
func TestPassthrough(t *testing.T) {
	through := map[string]string{"ssl-passthrough": "true"}
	c := newCluster()
	c.service("shop", "own", c.services[types.NamespacedName{Namespace: "shop", Name: "web"}].Spec.Ports...)
	n := newNode(t, c, one("for-a", through, "a.x /path web", "a.x / own:admin", "a.x /more api", "b.x / own:admin"), one("more", nil, "a.x /later api"), one("for-c", nil, "c.x / web"), one("late", through, "c.x / own:admin"))
	own := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-From", "itself")
		fmt.Fprint(w, r.Header.Get("X-Forwarded-For"))
	}))
	t.Cleanup(own.Close)
	n.engine.Endpoints(types.NamespacedName{Namespace: "shop", Name: "own"}, 8080, []lb.Backend{{Addr: netip.MustParseAddrPort(own.Listener.Addr().String())}})
	for _, address := range []string{"https://a.x/", "https://b.x/", "https://a.x/more", "https://A.x/path"} {
		got := n.ask("GET "+address, nil)
		if got.from() != "itself" || got.body != "" || !got.TLS.PeerCertificates[0].Equal(own.Certificate()) {
			t.Errorf("%s: from %s, forwarded %q, with a certificate for %v", address, got.from(), got.body, got.TLS.PeerCertificates[0].DNSNames)
		}
	}
	n.get("http://a.x/path web:80", "http://a.x/more api:80", "https://c.x/ web:80", "https://d.x/ 404")
	// By the connection of another name there is no way in.
	if got := n.ask("GET https://c.x/", nil, "Host", "a.x"); got.StatusCode != 404 {
		t.Errorf("a.x over a connection for c.x: %d", got.StatusCode)
	}
	expect(t, "the younger of c.x", n.builder.said("late"), "PathTaken spec.rules[0].http.paths[0], HostTaken ssl-passthrough")
	expect(t, "the elder of a.x", n.builder.said("for-a"), "")

	n.engine.Endpoints(types.NamespacedName{Namespace: "shop", Name: "own"}, 8080, nil)
	if response, err := n.client("https").Get("https://a.x/"); err == nil {
		_ = response.Body.Close()
		t.Error("without an endpoint the connection is answered by somebody")
	}
	gone := types.NamespacedName{Namespace: "shop", Name: "for-c"}
	delete(c.ingresses, gone)
	c.ingresses[types.NamespacedName{Namespace: "shop", Name: "for-a"}].Annotations[Prefix+"ssl-passthrough"] = "false"
	n.builder.Update(Changes{Ingresses: []types.NamespacedName{gone, {Namespace: "shop", Name: "for-a"}}})
	expect(t, "the one that is left of c.x", n.builder.said("late"), "")
	_, secure := n.builder.Entries()
	got := ""
	for _, l := range secure.Listeners {
		got += l.Name + " "
	}
	expect(t, "listeners", got, "ingress/c.x ingress ")
}

// TestManyPassThrough: more hosts than are tried one by one, and beside them hosts whose TLS ends here, wildcards too.
func TestManyPassThrough(t *testing.T) {
	c := newCluster()
	c.service("shop", "own", c.services[types.NamespacedName{Namespace: "shop", Name: "web"}].Spec.Ports...)
	rules := make([]string, 20)
	for i := range rules {
		rules[i] = fmt.Sprintf("p%d.x / own:admin", i)
	}
	n := newNode(t, c, one("many", map[string]string{"ssl-passthrough": "true"}, rules...), one("plain", nil, "a.x / web", "*.y / api"))
	own := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X-From", "itself") }))
	t.Cleanup(own.Close)
	n.engine.Endpoints(types.NamespacedName{Namespace: "shop", Name: "own"}, 8080, []lb.Backend{{Addr: netip.MustParseAddrPort(own.Listener.Addr().String())}})
	for i := range rules {
		if got := n.ask(fmt.Sprintf("GET https://p%d.x/", i), nil); got.from() != "itself" {
			t.Errorf("p%d.x: from %s", i, got.from())
		}
	}
	n.get("https://a.x/ web:80", "https://b.y/ api:80", "https://p20.x/ 404")
	if got := n.ask("GET https://a.x/", nil, "Host", "p7.x"); got.StatusCode != 404 {
		t.Errorf("p7.x over a connection for a.x: %d", got.StatusCode)
	}
}

// TestPassthroughCloses: what cannot pass, or has a guard that would not be kept, is not served.
func TestPassthroughCloses(t *testing.T) {
	for name, test := range map[string]struct {
		annotations map[string]string
		rule, said  string
	}{
		"no path /":  {nil, "a.x /app web", "PathInvalid ssl-passthrough"},
		"a wildcard": {nil, "*.x / web", "PathInvalid ssl-passthrough"},
		"no host":    {nil, "* / web", "PathInvalid ssl-passthrough"},
		"no rule":    {nil, "default web", "PathInvalid ssl-passthrough"},
		"a list":     {map[string]string{"whitelist-source-range": "10.0.0.0/8"}, "a.x / web", "AnnotationInvalid ssl-passthrough"},
		"users":      {map[string]string{"auth-type": "basic", "auth-secret": "users"}, "a.x / web", "AnnotationInvalid ssl-passthrough"},
		"a firewall": {map[string]string{"enable-modsecurity": "true"}, "a.x / web", "AnnotationNotSupported enable-modsecurity"},
	} {
		annotations := map[string]string{"ssl-passthrough": "true"}
		for key, value := range test.annotations {
			annotations[key] = value
		}
		b := serve(t, newCluster(), one("a", annotations, test.rule))
		expect(t, name, b.said("a"), test.said)
		answers(t, b, "http://a.x/app 503", "https://a.x/app 503")
		if _, secure := b.Entries(); len(secure.Listeners) != 1 {
			t.Errorf("%s: connections pass", name)
		}
	}
}

package ingress

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/types"
)

// TestDefaultBackend: it gets what a Service without endpoints would, as it is; answers with the codes of custom-http-errors are
// replaced by what it says to GET /, and others not.
func TestDefaultBackend(t *testing.T) {
	c := newCluster()
	pages := map[string]string{"default-backend": "old", "custom-http-errors": "403,502,503"}
	n := newNode(t, c, one("pages", pages, "a.x /web web", "a.x /empty api", "a.x /lost lost"), one("none", map[string]string{"default-backend": "old"}, "b.x / web"), one("plain", nil, "c.x / web"))
	n.engine.Endpoints(types.NamespacedName{Namespace: "shop", Name: "api"}, 80, nil)
	for _, path := range []string{"/empty/x?y=z", "/lost/x?y=z"} {
		got := n.ask("POST http://a.x"+path, []byte("12345"))
		if got.from() != "old:80" || !strings.HasPrefix(got.body, "POST "+path+" HTTP/1.1 host=a.x body=5") || strings.Contains(got.body, "X-Code") {
			t.Errorf("%s: from %s: %s", path, got.from(), got.body)
		}
	}
	got := n.ask("POST http://a.x/web/x?y=z", []byte("12345"), "X-Deny", "yes", "Accept", "text/html", "If-None-Match", "a", "X-Code", "200", "X_Code", "201", "Connection", "X-Code")
	for _, want := range []string{"GET / HTTP/1.1 host=a.x body=0", "X-Code: 403", "X-Format: text/html", "X-Original-Uri: /web/x?y=z", "X-Namespace: shop", "X-Ingress-Name: pages", "X-Service-Name: web", "X-Service-Port: 80"} {
		if got.from() != "old:80" || got.StatusCode != 403 || !strings.Contains(got.body, want) || strings.Contains(got.body, "If-None-Match") || strings.Contains(got.body, "201") {
			t.Errorf("no %q in the page, %d from %s: %s", want, got.StatusCode, got.from(), got.body)
		}
	}
	for _, address := range []string{"http://b.x/", "http://c.x/"} {
		if got := n.ask("GET "+address, nil, "X-Deny", "yes"); got.from() != "web:80" || got.StatusCode != 403 {
			t.Errorf("%s: %d from %s", address, got.StatusCode, got.from())
		}
	}
	n.endpoints(types.NamespacedName{Namespace: "shop", Name: "web"}, 2)
	seen := map[string]int{}
	for range 20 {
		seen[n.ask("GET http://a.x/web", nil).Header.Get("X-From")]++
	}
	if seen["web:80/0"] != 10 || seen["web:80/1"] != 10 {
		t.Errorf("requests are not balanced any more: %v", seen)
	}
	n.engine.Endpoints(types.NamespacedName{Namespace: "shop", Name: "old"}, 80, nil) // and where it has none itself, it is as without
	n.get("http://a.x/empty 503")
	if got := n.ask("GET http://a.x/web", nil, "X-Deny", "yes"); got.from() != "web:80" {
		t.Errorf("without a page: %d from %s", got.StatusCode, got.from())
	}
	expect(t, "without default-backend", serve(t, newCluster(), one("a", map[string]string{"custom-http-errors": "404"}, "a.x / web")).said("a"), "AnnotationInvalid custom-http-errors")
	expect(t, "one that there is not", serve(t, newCluster(), one("a", map[string]string{"default-backend": "gone"}, "a.x / web")).said("a"), "ServiceMissing default-backend")
}

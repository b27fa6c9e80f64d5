package ingress

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/network/l7"
	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/lb"
)

// node is a real engine that serves what a Builder makes, with a real server for each endpoint of the Services.
type node struct {
	t       *testing.T
	cluster *cluster
	builder *Builder
	engine  *l7.Engine
	plain   string // addresses of its sockets
	secure  string
	certs   map[string]*tls.Certificate
}

func newNode(t *testing.T, c *cluster, texts ...string) *node {
	t.Helper()
	n := &node{t: t, cluster: c, builder: serve(t, c, texts...), certs: map[string]*tls.Certificate{}}
	n.engine = l7.New(l7.Config{
		MayAsk: func(netip.Addr) bool { return true }, // the tests' servers are on the loopback
		Secret: func(name types.NamespacedName) map[string][]byte {
			if s := c.secrets[name]; s != nil {
				return s.Data
			}
			return nil
		},
		Certificate: func(name types.NamespacedName) *tls.Certificate { return n.certs[name.Name] },
	}, slog.New(slog.DiscardHandler))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := n.engine.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
	})
	for name := range c.services {
		n.endpoints(name, 1)
	}
	n.serve()
	n.plain, n.secure = n.listen(DefaultPorts.HTTP), n.listen(DefaultPorts.HTTPS)
	return n
}

// serve has the engine serve what the Builder says now.
func (n *node) serve() {
	plain, secure := n.builder.Entries()
	n.engine.Serve(&route.Table{Entries: map[route.Point]*route.Entry{plain.Point: plain, secure.Point: secure}})
}

func (n *node) listen(port uint16) string {
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		n.t.Fatal(err)
	}
	addr := l.Addr().String()
	stop, err := n.engine.Listen(l, l7.At(route.Point{Port: port}))
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(stop)
	return addr
}

// endpoints gives a Service that many servers on each of its ports. Each answers with its Service, its number, and the request.
func (n *node) endpoints(name types.NamespacedName, count int) {
	for _, p := range n.cluster.services[name].Spec.Ports {
		var list []lb.Backend
		for i := range count {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				w.Header().Set("X-From", fmt.Sprintf("%s:%d/%d", name.Name, p.Port, i))
				if r.Header.Get("X-Deny") != "" {
					w.WriteHeader(http.StatusForbidden)
				}
				fmt.Fprintf(w, "%s %s %s host=%s body=%d\n", r.Method, r.RequestURI, r.Proto, r.Host, len(body))
				_ = r.Header.Write(w)
			}))
			n.t.Cleanup(s.Close)
			list = append(list, lb.Backend{Addr: netip.MustParseAddrPort(s.Listener.Addr().String())})
		}
		n.engine.Endpoints(name, p.Port, list)
	}
}

// certificate makes a Secret of shop with a certificate for some hosts.
func (n *node) certificate(name string, hosts ...string) {
	cert, key := issue(n.t, hosts...)
	n.cluster.secret("shop", name, map[string][]byte{"tls.crt": cert, "tls.key": key})
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		n.t.Fatal(err)
	}
	n.certs[name] = &pair
}

// answer is one with its body.
type answer struct {
	*http.Response
	body string
}

func (a answer) from() string {
	service, _, _ := strings.Cut(a.Header.Get("X-From"), "/")
	return service
}

// ask makes a request for an address, METHOD ADDRESS, over a connection of its own. pairs are headers.
func (n *node) ask(what string, body []byte, pairs ...string) answer {
	n.t.Helper()
	method, address, _ := strings.Cut(what, " ")
	r, err := http.NewRequestWithContext(n.t.Context(), method, address, bytes.NewReader(body))
	if err != nil {
		n.t.Fatal(err)
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i] == "Host" {
			r.Host = pairs[i+1]
		}
		r.Header.Set(pairs[i], pairs[i+1])
	}
	response, err := n.client(r.URL.Scheme).Transport.RoundTrip(r)
	if err != nil {
		n.t.Fatalf("%s: %v", what, err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		n.t.Fatalf("%s: %v", what, err)
	}
	return answer{response, string(text)}
}

// client comes to the port of a scheme, over a connection for each request.
func (n *node) client(scheme string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // the tests look at the certificate themselves
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			to := n.plain
			if scheme == "https" {
				to = n.secure
			}
			return (&net.Dialer{}).DialContext(ctx, network, to)
		},
	}}
}

// get expects what becomes of GETs, each written ADDRESS then the Service's NAME:PORT, or a status, with the place of a redirect.
func (n *node) get(lines ...string) {
	n.t.Helper()
	for _, line := range lines {
		address, want, _ := strings.Cut(line, " ")
		a := n.ask("GET "+address, nil)
		got := a.from()
		if got == "" {
			got = strings.TrimSpace(fmt.Sprint(a.StatusCode, " ", a.Header.Get("Location")))
		}
		expect(n.t, address, got, want)
	}
}

// TestConformance are the scenarios of ingress-controller-conformance that ask for requests, against a real engine: default backend,
// hosts, load balancing and paths.
func TestConformance(t *testing.T) {
	t.Run("default_backend", func(t *testing.T) {
		n := newNode(t, newCluster(), one("a", nil, "default web:80"))
		for _, what := range []string{"GET http://x.y/", "POST http://x.y/", "PUT http://x.y/sub/path", "DELETE http://127.0.0.1/some/path", "PATCH http://x.y/resource", "GET http://any.org/test?q=1"} {
			a := n.ask(what, []byte("12345"), "User-Agent", "conformance")
			method, address, _ := strings.Cut(what, " ")
			uri := "/" + strings.SplitN(strings.TrimPrefix(address, "http://"), "/", 2)[1]
			if want := fmt.Sprintf("%s %s HTTP/1.1 host=", method, uri); a.StatusCode != 200 || !strings.HasPrefix(a.body, want) || !strings.Contains(a.body, "User-Agent: conformance") {
				t.Errorf("%s: %d %s", what, a.StatusCode, a.body)
			}
			for _, h := range []string{"Content-Length", "Content-Type", "Date", "Server"} {
				if a.Header.Get(h) == "" {
					t.Errorf("%s: no %s in %v", what, h, a.Header)
				}
			}
		}
	})
	t.Run("host_rules", func(t *testing.T) {
		c := newCluster()
		n := newNode(t, c, one("a", nil, "*.foo.com / web:http", "foo.bar.com / api:http")+"  tls: [{hosts: [foo.bar.com], secretName: conformance}]\n")
		n.certificate("conformance", "foo.bar.com")
		n.get("https://foo.bar.com/ api:80", "http://foo.bar.com/ api:80", "http://subdomain.bar.com/ 404", "http://bar.foo.com/ web:80",
			"http://baz.bar.foo.com/ 404", "http://foo.com/ 404", "http://FOO.bar.com:8080/ api:80")
		a := n.ask("GET https://foo.bar.com/", nil)
		if got := a.TLS.PeerCertificates[0].DNSNames; len(got) != 1 || got[0] != "foo.bar.com" || !strings.Contains(a.body, "host=foo.bar.com") {
			t.Errorf("certificate for %v: %s", got, a.body)
		}
		n.certificate("conformance", "foo.bar.com", "renewed.org") // I54
		if got := n.ask("GET https://foo.bar.com/", nil).TLS.PeerCertificates[0].DNSNames; len(got) != 2 {
			t.Errorf("a certificate that was renewed is not served: %v", got)
		}
		if a := n.ask("GET https://unknown.org/", nil); a.StatusCode != 404 { // I45
			t.Errorf("an unknown SNI: %d", a.StatusCode)
		}
	})
	t.Run("load_balancing", func(t *testing.T) {
		n := newNode(t, newCluster(), one("a", nil, "a.x / web"))
		n.endpoints(types.NamespacedName{Namespace: "shop", Name: "web"}, 10)
		seen := map[string]bool{}
		for range 100 {
			seen[n.ask("GET http://a.x/", nil).Header.Get("X-From")] = true
		}
		if len(seen) != 10 {
			t.Errorf("100 requests reached %d of 10 endpoints", len(seen))
		}
	})
	t.Run("path_rules", func(t *testing.T) {
		n := newNode(t, newCluster(), one("exact", nil, "exact.x /foo Exact web", "slash.x /foo/ Exact web"), one("prefix", nil, "prefix.x /foo web", "prefix-slash.x /aaa/bbb/ web", "all.x / web"),
			one("two", nil, "two.x /aaa/bbb web", "two.x /aaa api"), one("mixed", nil, "mixed.x /foo web", "mixed.x /foo Exact api"))
		n.get("http://exact.x/foo web:80", "http://exact.x/bar 404", "http://exact.x/FOO 404", "http://exact.x/foo/ 404", "http://slash.x/foo 404", "http://slash.x/foo/ web:80",
			"http://prefix.x/foo web:80", "http://prefix.x/foo/ web:80", "http://prefix.x/FOO 404", "http://prefix.x/foobar 404", "http://prefix.x/foo/x web:80",
			"http://prefix-slash.x/aaa/bbb web:80", "http://prefix-slash.x/aaa/bbb/ccc web:80", "http://all.x/any web:80",
			"http://two.x/aaa/bbb web:80", "http://two.x/aaa/bbb/ccc web:80", "http://two.x/aaa/ccc api:80", "http://two.x/aaaccc 404",
			"http://mixed.x/foo api:80", "http://mixed.x/foo/bar web:80")
	})
}

// TestServedAnnotations asks a real engine for what the annotations promise.
func TestServedAnnotations(t *testing.T) {
	c := newCluster()
	users := c.secret("shop", "users", map[string][]byte{"auth": []byte("ann:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=\n")}) // ann:password
	users.Type = corev1.SecretTypeOpaque
	guard := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-User", "ann")
		if r.Header.Get("Cookie") == "" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	t.Cleanup(guard.Close)
	c.service("shop", "guard", corev1.ServicePort{Port: 80})
	a := func(pairs ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i+1 < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	tlsFor := func(host string) string { return "  tls: [{hosts: [" + host + "]}]\n" }
	n := newNode(t, c,
		one("rewrite", a("rewrite-target", "/$2", "x-forwarded-prefix", "/api", "upstream-vhost", "in.x"), "rewrite.x /api(/|$)(.*) ImplementationSpecific web"),
		one("root", a("app-root", "/app"), "root.x / web"),
		one("ssl", a("ssl-redirect", "true"), "ssl.x / web")+tlsFor("ssl.x"),
		one("moved", a("permanent-redirect", "https://new.x$request_uri", "permanent-redirect-code", "308"), "moved.x / web"),
		one("www", a("from-to-www-redirect", "true", "server-alias", "alias.x"), "www.w.x / web"),
		one("basic", a("auth-type", "basic", "auth-secret", "users", "auth-realm", "Staff"), "basic.x / web"),
		one("external", a("auth-url", "http://guard.shop.svc.cluster.local/check", "auth-signin", "https://login.x/start", "auth-response-headers", "X-User"), "external.x / web"),
		one("deny", a("denylist-source-range", "127.0.0.0/8"), "deny.x / web"),
		one("allow", a("whitelist-source-range", "192.0.2.0/24"), "allow.x / web"),
		one("limit", a("limit-rps", "1", "limit-burst-multiplier", "2"), "limit.x /a web", "limit.x / web"),
		one("size", a("proxy-body-size", "1k"), "size.x / web"),
		one("cors", a("enable-cors", "true", "cors-allow-origin", "https://*.ok.x"), "cors.x / web"),
		one("sticky", a("affinity", "cookie", "session-cookie-name", "stay"), "sticky.x / web"),
		one("hash", a("upstream-hash-by", "$arg_user"), "hash.x / web"),
		one("main", nil, "canary.x / web"),
		one("canary", a("canary", "true", "canary-by-header", "X-New", "canary-by-cookie", "new"), "canary.x / old"),
		one("closed", a("auth-tls-match-cn", "CN=x"), "closed.x / web"),
		one("headers", a("fairlead.dev/request-headers", "X-Tenant: shop", "fairlead.dev/response-headers", "X-Frame-Options: DENY"), "headers.x / web"),
		one("custom", a("custom-headers", "shop/headers", "fairlead.dev/response-headers", "X-Frame-Options: SAMEORIGIN"), "custom.x / web", "custom.x /empty api"),
	)
	n.endpoints(types.NamespacedName{Namespace: "shop", Name: "web"}, 5)
	n.engine.Endpoints(types.NamespacedName{Namespace: "shop", Name: "api"}, 80, nil)
	n.engine.Endpoints(types.NamespacedName{Namespace: "shop", Name: "guard"}, 80, []lb.Backend{{Addr: netip.MustParseAddrPort(guard.Listener.Addr().String())}})
	n.get("http://root.x/ 302 http://root.x/app", "http://root.x/app web:80", "http://ssl.x/a?b=c 308 https://ssl.x/a?b=c", "https://ssl.x/ web:80",
		"http://moved.x/a?b=c 308 https://new.x/a?b=c", "http://w.x/a?b=c 308 http://www.w.x/a?b=c", "http://alias.x/ web:80", "http://deny.x/ 403", "http://allow.x/ 403",
		"http://closed.x/ 503", "http://basic.x/ 401")
	says := func(got answer, status int, parts ...string) {
		t.Helper()
		if got.StatusCode != status {
			t.Errorf("%d, want %d: %s", got.StatusCode, status, got.body)
		}
		for _, part := range parts {
			if !strings.Contains(got.body, part) {
				t.Errorf("no %q in %s", part, got.body)
			}
		}
	}
	says(n.ask("GET http://rewrite.x/API/a%20b?c=d", nil), 200, "GET /a%20b?c=d HTTP/1.1 host=in.x", "X-Forwarded-Prefix: /api")
	says(n.ask("GET http://basic.x/", nil, "Authorization", "Basic YW5uOnBhc3N3b3Jk"), 200)
	says(n.ask("GET http://basic.x/", nil, "Authorization", "Basic YW5uOnBhc3N3b3Jl"), 401)
	says(n.ask("GET http://external.x/", nil, "Cookie", "session=1", "X-User", "forged"), 200, "X-User: ann")
	if got := n.ask("GET http://external.x/a?b", nil); got.StatusCode != 302 || got.Header.Get("Location") != "https://login.x/start?rd=http://external.x%2Fa%3Fb" {
		t.Errorf("to sign in: %d %s", got.StatusCode, got.Header.Get("Location"))
	}
	says(n.ask("POST http://size.x/", make([]byte, 1024)), 200, "body=1024")
	says(n.ask("POST http://size.x/", make([]byte, 1025)), 413)
	refused := 0
	for range 20 {
		if n.ask("GET http://limit.x/", nil).StatusCode == 503 {
			refused++
		}
	}
	if refused == 0 || refused > 18 {
		t.Errorf("of 20 requests at once %d were refused", refused)
	}
	together := 0 // what was asked of one path counts for the other: of 4 at most one was let in for the time that has passed
	for range 4 {
		if n.ask("GET http://limit.x/a", nil).StatusCode == 503 {
			together++
		}
	}
	if together == 0 {
		t.Error("the paths of an Ingress are counted each for itself")
	}
	if h := n.ask("OPTIONS http://cors.x/", nil, "Origin", "https://a.ok.x", "Access-Control-Request-Method", "PUT").Header; h.Get("Access-Control-Allow-Origin") != "https://a.ok.x" || !strings.Contains(h.Get("Access-Control-Allow-Methods"), "PUT") {
		t.Errorf("preflight: %v", h)
	}
	if h := n.ask("GET http://cors.x/", nil, "Origin", "https://evil.x").Header; h.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a foreign origin: %v", h)
	}
	first := n.ask("GET http://sticky.x/", nil)
	for range 10 {
		if got := n.ask("GET http://sticky.x/", nil, "Cookie", strings.SplitN(first.Header.Get("Set-Cookie"), ";", 2)[0]).Header.Get("X-From"); got != first.Header.Get("X-From") || !strings.HasPrefix(first.Header.Get("Set-Cookie"), "stay=") {
			t.Fatalf("from %s to %s with %s", first.Header.Get("X-From"), got, first.Header.Get("Set-Cookie"))
		}
	}
	byUser := map[string]string{}
	for i := range 40 {
		user := fmt.Sprint("u", i%8)
		got := n.ask("GET http://hash.x/?user="+user, nil).Header.Get("X-From")
		if byUser[user] != "" && byUser[user] != got {
			t.Errorf("%s goes to %s and %s", user, byUser[user], got)
		}
		byUser[user] = got
	}
	expect(t, "canary by header", n.ask("GET http://canary.x/", nil, "X-New", "always").from(), "old:80")
	expect(t, "canary by cookie", n.ask("GET http://canary.x/", nil, "Cookie", "new=always").from(), "old:80")
	expect(t, "no canary", n.ask("GET http://canary.x/", nil).from(), "web:80")
	got := n.ask("GET http://headers.x/", nil, "X-Tenant", "forged")
	says(got, 200, "X-Tenant: shop")
	expect(t, "header", got.Header.Get("X-Frame-Options"), "DENY")
	for _, value := range []string{"", "same-origin", "no-referrer"} { // it follows the ConfigMap
		if value != "" {
			c.configMap("shop", "headers", map[string]string{"referrer-policy": value, "X-Frame-Options": "DENY", "X-From": ""})
			n.builder.Update(Changes{ConfigMaps: []types.NamespacedName{{Namespace: "shop", Name: "headers"}}})
			n.serve()
		}
		h := n.ask("GET http://custom.x/", nil).Header
		expect(t, "custom header", h.Get("Referrer-Policy"), value)
		expect(t, "of the engine's own answer", n.ask("GET http://custom.x/empty", nil).Header.Get("Referrer-Policy"), value)
		expect(t, "beside one of response-headers", h.Get("X-Frame-Options"), "SAMEORIGIN")
		if (h.Get("X-From") == "") != (value != "") {
			t.Errorf("X-From is %q", h.Get("X-From"))
		}
	}
}

// I50: without a ready endpoint there is a 503, and with a backend that cannot be one as well, and other paths go on.
func TestI50_Served(t *testing.T) {
	n := newNode(t, newCluster(), one("a", nil, "a.x /gone lost", "a.x /empty api", "a.x / web"))
	n.engine.Endpoints(types.NamespacedName{Namespace: "shop", Name: "api"}, 80, nil)
	n.get("http://a.x/gone 503", "http://a.x/empty 503", "http://a.x/ web:80")
}

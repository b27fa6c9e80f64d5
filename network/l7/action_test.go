package l7

import (
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/network/l7/route"
	"fairlead.dev/fairlead/network/lb"
)

// asked is one request and what is looked at of the answer.
type asked struct {
	method, path, body string
	header             map[string]string
}

// ask sends a request over a connection of its own.
func ask(t *testing.T, url string, a asked) (res *http.Response, body string) {
	t.Helper()
	if a.method == "" {
		a.method = "GET"
	}
	req, err := http.NewRequest(a.method, url+a.path, strings.NewReader(a.body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range a.header {
		if name == "Host" {
			req.Host = value
		}
		req.Header.Set(name, value)
	}
	c := newClient(t, nil)
	res, err = c.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", a.method, a.path, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", a.method, a.path, err)
	}
	return res, string(text)
}

func prefixed(prefix string, a route.Action) *route.Rule {
	rule := toService(a)
	rule.Match.Path.Value, rule.Source.Rule = prefix, prefix
	return rule
}

// TestRedirects: where the place of a redirect comes from.
func TestRedirects(t *testing.T) {
	r := newRig(t)
	text := func(s string) *string { return &s }
	pattern := prefixed("/re", route.Action{Redirect: &route.Redirect{Status: 302, Path: &route.PathRewrite{Captures: text("/x/$2$1/$9")}}})
	pattern.Match.Path = route.Path{Kind: route.Regex, Value: "^/re/(.)(.)", Pattern: regexp.MustCompile("^/re/(.)(.)")}
	r.Serve(table(
		prefixed("/https", route.Action{Redirect: &route.Redirect{Status: 301, Scheme: "https"}}),
		prefixed("/host", route.Action{Redirect: &route.Redirect{Status: 302, Host: "example.org"}}),
		prefixed("/port", route.Action{Redirect: &route.Redirect{Status: 307, Port: 8080}}),
		prefixed("/full", route.Action{Redirect: &route.Redirect{Status: 308, Path: &route.PathRewrite{Full: text("/new path")}}}),
		prefixed("/pre/", route.Action{Redirect: &route.Redirect{Status: 303, Path: &route.PathRewrite{Prefix: text("/")}}}),
		prefixed("/url", route.Action{Redirect: &route.Redirect{Status: 302, URL: "https://$host/y${uri}?$args"}}),
		pattern,
		prefixed("/say", route.Action{Respond: &route.Respond{Status: 418, Body: "no"}}),
	))
	url := "http://" + r.listen(web)
	for path, want := range map[string]string{
		"/https/a%2Fb?c": "301 https://h.example/https/a%2Fb?c", "/host/a": "302 http://example.org/host/a", "/port": "307 http://h.example:8080/port",
		"/full?q=1": "308 http://h.example/new%20path?q=1", "/pre/a/b": "303 http://h.example/a/b", "/pre": "303 http://h.example/",
		"/url/a?b=c": "302 https://h.example/y/url/a?b=c", "/re/ab": "302 http://h.example/x/ba/", "/say": "418 ",
	} {
		res, _ := ask(t, url, asked{path: path, header: map[string]string{"Host": "H.example:1234"}})
		if got := fmt.Sprintf("%d %s", res.StatusCode, res.Header.Get("Location")); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

// TestCORS: preflight requests are answered, and pages of origins that may read answers are told so.
func TestCORS(t *testing.T) {
	r := newRig(t)
	r.Endpoints(svc, 80, []lb.Backend{backend(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Access-Control-Allow-Origin", "backend") })})
	r.Serve(table(toService(route.Action{CORS: &route.CORS{
		Origins: []string{"https://a.example", "https://*.b.example"}, Methods: []string{"GET", "PUT"}, Headers: []string{"*"}, Expose: []string{"X-E"}, Credentials: true, MaxAge: time.Hour,
	}})))
	url := "http://" + r.listen(web)
	say := func(h http.Header) string {
		var all []string
		for _, name := range slices.Sorted(maps.Keys(h)) {
			if rest, is := strings.CutPrefix(name, "Access-Control-"); is {
				all = append(all, rest+"="+strings.Join(h[name], "+"))
			}
		}
		return strings.Join(all, " ")
	}
	pre := map[string]string{"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-h"}
	for _, c := range []struct {
		origin, method, want string
		status               int
	}{
		{"https://a.example", "GET", "Allow-Credentials=true Allow-Origin=https://a.example Expose-Headers=X-E", 200},
		{"https://x.b.example", "OPTIONS", "Allow-Credentials=true Allow-Headers=x-h Allow-Methods=GET, PUT Allow-Origin=https://x.b.example Expose-Headers=X-E Max-Age=3600", 204},
		{"https://c.example", "OPTIONS", "", 204},
		{"https://b.example", "GET", "", 200},
		{"", "GET", "Allow-Origin=backend", 200},
	} {
		h := map[string]string{"Origin": c.origin}
		if c.origin == "" {
			h = nil
		}
		if c.method == "OPTIONS" {
			maps.Copy(h, pre)
		}
		res, _ := ask(t, url, asked{method: c.method, header: h})
		if got := say(res.Header); got != c.want || res.StatusCode != c.status {
			t.Errorf("%s from %s: %d %s, want %d %s", c.method, c.origin, res.StatusCode, got, c.status, c.want)
		}
	}
}

// TestPasswords: the right ones are let in, hashes that are too weak are none.
func TestPasswords(t *testing.T) {
	r := newRig(t)
	sum := sha1.Sum([]byte("secret"))
	r.keys[types.NamespacedName{Namespace: "ns", Name: "file"}] = map[string][]byte{"auth": []byte(
		"ann:{SHA}" + base64.StdEncoding.EncodeToString(sum[:]) + "\nbob:$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00\ncat:$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC\ndan:xyJ9BJCcwqxrA\n")}
	r.keys[types.NamespacedName{Namespace: "ns", Name: "map"}] = map[string][]byte{"eve": []byte("{SHA}" + base64.StdEncoding.EncodeToString(sum[:]))}
	r.Endpoints(svc, 80, []lb.Backend{backend(t, echo)})
	rule := func(prefix, secret string, by bool) *route.Rule {
		return prefixed(prefix, route.Action{Basic: &route.BasicAuth{Realm: `a "b"`, Secret: types.NamespacedName{Namespace: "ns", Name: secret}, ByUser: by}})
	}
	r.Serve(table(rule("/file", "file", false), rule("/map", "map", true), rule("/none", "none", false)))
	url := "http://" + r.listen(web)
	for _, c := range []struct {
		path, login string
		status      int
	}{
		{"/file", "", 401}, {"/file", "ann:secret", 200}, {"/file", "ann:Secret", 401}, {"/file", "bob:password", 200}, {"/file", "bob:x", 401}, {"/file", "cat:myPassword", 200},
		{"/file", "cat:mypassword", 401}, {"/file", "dan:a", 401}, {"/file", "nobody:secret", 401}, {"/map", "eve:secret", 200}, {"/map", "ann:secret", 401}, {"/none", "ann:secret", 401},
	} {
		for range 2 {
			h := map[string]string{}
			if c.login != "" {
				h["Authorization"] = "Basic " + base64.StdEncoding.EncodeToString([]byte(c.login))
			}
			res, _ := ask(t, url, asked{path: c.path, header: h})
			if res.StatusCode != c.status || c.status == 401 && res.Header.Get("WWW-Authenticate") != `Basic realm="a \"b\""` {
				t.Errorf("%s with %s: %d %v, want %d", c.path, c.login, res.StatusCode, res.Header, c.status)
			}
		}
	}
}

// TestExternalAuth: another server's yes lets a request pass with what it adds, its no is the answer.
func TestExternalAuth(t *testing.T) {
	guard := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-User", "ann")
		w.Header().Set("X-Seen", r.Method+" "+r.Header.Get("X-Original-Url")+" "+r.URL.RequestURI())
		switch r.Header.Get("X-Token") {
		case "good":
		case "bad":
			w.WriteHeader(http.StatusForbidden)
			fmt.Fprint(w, "not you")
		case "odd":
			w.WriteHeader(http.StatusTeapot)
		default:
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer guard.Close()
	r := newRig(t)
	r.Endpoints(svc, 80, []lb.Backend{backend(t, echo)})
	auth := route.ExternalAuth{URL: guard.URL + "/check?for=$host", Copy: []string{"X-User", "X-Seen"}}
	sign, by, gone := auth, auth, auth
	sign.SignIn = "https://login.example/?rd=$scheme://$host$escaped_request_uri"
	by.Backend, by.URL = &route.Backend{Service: types.NamespacedName{Namespace: "ns", Name: "guard"}, Port: 80}, "http://ignored/check"
	gone.URL = "http://127.0.0.1:1/"
	r.Endpoints(by.Backend.Service, 80, []lb.Backend{{Addr: netip.MustParseAddrPort(guard.Listener.Addr().String())}})
	r.Serve(table(prefixed("/a", route.Action{External: &auth}), prefixed("/s", route.Action{External: &sign}), prefixed("/b", route.Action{External: &by}), prefixed("/g", route.Action{External: &gone})))
	url := "http://" + r.listen(web)
	for _, c := range []struct{ path, token, want string }{
		{"/a", "good", "200"}, {"/a", "bad", "403 not you"}, {"/a", "", "401"}, {"/a", "odd", "500"}, {"/s?x", "", "302 https://login.example/?rd=http://h%2Fs%3Fx"}, {"/b", "good", "200"}, {"/b", "bad", "403 not you"}, {"/g", "good", "500"},
	} {
		res, body := ask(t, url, asked{method: "POST", path: c.path, body: "x", header: map[string]string{"X-Token": c.token, "Host": "h", "X-User": "root"}})
		got := fmt.Sprint(res.StatusCode)
		switch res.StatusCode {
		case 302:
			got += " " + res.Header.Get("Location")
		case 403:
			got += " " + body
		case 200:
			if !strings.Contains(body, "X-User: ann\r\n") || strings.Contains(body, "root") || !strings.Contains(body, "X-Seen: GET http://h"+c.path) || !strings.HasSuffix(body, "\nx") {
				t.Errorf("%s: the backend got\n%s", c.path, body)
			}
		}
		if got != c.want {
			t.Errorf("%s with %q: %s, want %s", c.path, c.token, got, c.want)
		}
	}
}

// TestExternalAuthIsElsewhere: no name leads to what only the node itself may ask.
func TestExternalAuthIsElsewhere(t *testing.T) {
	asked := false
	guard := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer guard.Close()
	_, port, _ := net.SplitHostPort(guard.Listener.Addr().String())
	client := newOutside(nil)
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "169.254.169.254", "[fe80::1%25lo]", "[::1]"} {
		if res, err := client.Get("http://" + host + ":" + port); err == nil {
			res.Body.Close()
			t.Errorf("%s was asked", host)
		} else if !strings.Contains(err.Error(), "only the node itself may ask") {
			t.Errorf("%s: %v", host, err)
		}
	}
	if asked {
		t.Error("the loopback was asked")
	}
}

// TestLimits: addresses, requests a second, requests at once, and lengths of bodies.
func TestLimits(t *testing.T) {
	r := newRig(t)
	release := make(chan bool)
	r.Endpoints(svc, 80, []lb.Backend{backend(t, func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/at-once" {
			<-release
		}
		_, _ = io.Copy(io.Discard, q.Body)
	})})
	us, others := netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")
	r.Serve(table(
		prefixed("/allowed", route.Action{Allow: []netip.Prefix{us}}), prefixed("/others", route.Action{Allow: []netip.Prefix{others}}),
		prefixed("/denied", route.Action{Allow: []netip.Prefix{us}, Deny: []netip.Prefix{us}}),
		prefixed("/rate", route.Action{Limit: route.Limit{PerSecond: 0.001, Burst: 4}}),
		prefixed("/free", route.Action{Limit: route.Limit{PerSecond: 0.001}, Unlimited: []netip.Prefix{us}}),
		prefixed("/at-once", route.Action{Limit: route.Limit{Connections: 1}}),
		prefixed("/body", route.Action{MaxBody: 10}), prefixed("/held", route.Action{MaxBody: 10, BufferRequest: true}),
	))
	url := "http://" + r.listen(web)
	count := func(path string, n int) map[int]int {
		seen := map[int]int{}
		for range n {
			res, _ := ask(t, url, asked{path: path})
			seen[res.StatusCode]++
		}
		return seen
	}
	for path, want := range map[string]map[int]int{
		"/allowed": {200: 1}, "/others": {403: 1}, "/denied": {403: 1}, "/rate": {200: 5, 429: 3}, "/free": {200: 4},
	} {
		n := 0
		for _, c := range want {
			n += c
		}
		if got := count(path, n); !maps.Equal(got, want) {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
	done := make(chan int)
	go func() { res, _ := ask(t, url, asked{path: "/at-once"}); done <- res.StatusCode }()
	for r.limiters.of(route.Source{Kind: "Ingress", Rule: "/at-once"}, &route.Limit{Connections: 1}).underway() == 0 {
		time.Sleep(time.Millisecond)
	}
	if res, _ := ask(t, url, asked{path: "/at-once"}); res.StatusCode != 503 {
		t.Errorf("a second request at once: %d", res.StatusCode)
	}
	close(release)
	if got := <-done; got != 200 {
		t.Errorf("the first: %d", got)
	}
	chunked := func(path, body string) string {
		return raw(t, url[7:], fmt.Sprintf("POST %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", path, len(body), body), "POST")[0][:3]
	}
	for body, want := range map[string]string{"0123456789": "200", "0123456789a": "413"} {
		for _, path := range []string{"/body", "/held"} {
			res, _ := ask(t, url, asked{method: "POST", path: path, body: body})
			if got := fmt.Sprint(res.StatusCode); got != want || chunked(path, body) != want {
				t.Errorf("%d bytes to %s: %s and in chunks %s, want %s", len(body), path, got, chunked(path, body), want)
			}
		}
	}
}

func (l *limiter) underway() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.clients {
		n += c.underway
	}
	return n
}

// TestBalancing: all endpoints get requests, a hash keeps to one, a cookie keeps to one until it has gone.
func TestBalancing(t *testing.T) {
	r := newRig(t)
	var ends []lb.Backend
	for i := range 10 {
		ends = append(ends, backend(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, i) }))
	}
	r.Endpoints(svc, 80, ends)
	r.Serve(table(
		prefixed("/turn", route.Action{}), prefixed("/least", route.Action{Balance: route.Balance{Kind: route.LeastRequest}}),
		prefixed("/hash", route.Action{Balance: route.Balance{Kind: route.Hashed, HashBy: "$arg_k"}}),
		prefixed("/cookie", route.Action{Affinity: &route.Affinity{Cookie: "at", MaxAge: time.Hour, SameSite: "Lax", Absolute: time.Hour}}),
	))
	url := "http://" + r.listen(web)
	seen := func(path string, n int, h map[string]string) map[string]int {
		got := map[string]int{}
		for range n {
			_, body := ask(t, url, asked{path: path, header: h})
			got[body]++
		}
		return got
	}
	for _, path := range []string{"/turn", "/least"} {
		if got := seen(path, 100, nil); len(got) != 10 || path == "/turn" && got["3"] != 10 {
			t.Errorf("%s: %v", path, got)
		}
	}
	where := map[string]bool{}
	for k := range 30 {
		got := seen(fmt.Sprint("/hash?k=", k), 3, nil)
		if len(got) != 1 {
			t.Errorf("one key: %v", got)
		}
		for end := range got {
			where[end] = true
		}
	}
	if len(where) < 5 {
		t.Errorf("30 keys go to %v", where)
	}
	res, first := ask(t, url, asked{path: "/cookie"})
	cookie := res.Cookies()[0]
	if cookie.Name != "at" || cookie.MaxAge != 3600 || cookie.SameSite != http.SameSiteLaxMode || cookie.Path != "/cookie" {
		t.Errorf("%v", cookie)
	}
	h := map[string]string{"Cookie": "at=" + cookie.Value}
	if got := seen("/cookie", 20, h); got[first] != 20 {
		t.Errorf("first %s, then %v", first, got)
	}
	at := slices.IndexFunc(ends, func(b lb.Backend) bool { return fmt.Sprint(slices.Index(ends, b)) == first })
	r.Endpoints(svc, 80, slices.Delete(slices.Clone(ends), at, at+1))
	if res, body := ask(t, url, asked{path: "/cookie", header: h}); body == first || len(res.Cookies()) != 1 {
		t.Errorf("after its endpoint has left: %s %v", body, res.Cookies())
	}
}

// TestWeights: shares are exact within a request or two, however few there are.
func TestWeights(t *testing.T) {
	r := newRig(t)
	var a route.Action
	for i, w := range []int32{70, 30, 0} {
		name := types.NamespacedName{Namespace: "ns", Name: fmt.Sprint("w", i)}
		r.Endpoints(name, 80, []lb.Backend{backend(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, i) })})
		a.Backends = append(a.Backends, route.Backend{Service: name, Port: 80, Weight: w})
	}
	r.Serve(table(toService(a)))
	url := "http://" + r.listen(web)
	got := map[string]int{}
	for range 100 {
		_, body := ask(t, url, asked{path: "/"})
		got[body]++
	}
	if got["0"] < 68 || got["0"] > 72 || got["2"] != 0 {
		t.Errorf("%v", got)
	}
}

// TestMirrors: copies arrive with their bodies, as many as are wanted, and their answers are dropped.
func TestMirrors(t *testing.T) {
	r := newRig(t)
	copies := make(chan string, 100)
	mirrored := types.NamespacedName{Namespace: "ns", Name: "mirror"}
	r.Endpoints(mirrored, 80, []lb.Backend{backend(t, func(w http.ResponseWriter, q *http.Request) {
		body, _ := io.ReadAll(q.Body)
		copies <- q.Method + " " + q.RequestURI + " " + q.Host + " " + string(body)
		w.WriteHeader(500)
	})})
	r.Endpoints(svc, 80, []lb.Backend{backend(t, echo)})
	to := route.Backend{Service: mirrored, Port: 80}
	r.Serve(table(
		prefixed("/all", route.Action{Mirrors: []route.Mirror{{Backend: to}}}), prefixed("/some", route.Action{Mirrors: []route.Mirror{{Backend: to, Numerator: 1, Denominator: 4}}}),
		prefixed("/none", route.Action{Mirrors: []route.Mirror{{Backend: to, Numerator: 0, Denominator: 100}}}),
	))
	url := "http://" + r.listen(web)
	res, body := ask(t, url, asked{method: "POST", path: "/all?x", body: "data", header: map[string]string{"Host": "h"}})
	if got := <-copies; res.StatusCode != 200 || !strings.HasSuffix(body, "\ndata") || got != "POST /all?x h data" {
		t.Errorf("%d %s, copied %s", res.StatusCode, body, got)
	}
	for range 40 {
		ask(t, url, asked{path: "/some"})
		ask(t, url, asked{path: "/none"})
	}
	for range 9 {
		if got := <-copies; !strings.HasPrefix(got, "GET /some") {
			t.Error(got)
		}
	}
}

// TestRetries: what may be sent again is, to another endpoint, and nothing else.
func TestRetries(t *testing.T) {
	var bad atomic.Int32
	r := newRig(t)
	failing := func(w http.ResponseWriter, q *http.Request) {
		_, _ = io.Copy(io.Discard, q.Body)
		switch bad.Add(1); q.URL.Path {
		case "/code", "/unsafe":
			w.WriteHeader(503)
		case "/break", "/lane":
			conn, _, _ := http.NewResponseController(w).Hijack()
			_ = conn.Close()
		default:
			<-q.Context().Done()
		}
	}
	good := backend(t, echo)
	r.Endpoints(svc, 80, []lb.Backend{backend(t, failing), good})
	tries := route.Retry{Tries: 1}
	with := func(change func(*route.Retry)) route.Retry { r := tries; change(&r); return r }
	r.Serve(table(
		prefixed("/code", route.Action{Retry: with(func(r *route.Retry) { r.Codes = []int{503} })}),
		prefixed("/unsafe", route.Action{Retry: with(func(r *route.Retry) { r.Codes, r.Unsafe = []int{503}, true })}),
		prefixed("/break", route.Action{Retry: with(func(r *route.Retry) { r.OnError, r.Codes = true, []int{599} })}),
		prefixed("/lane", route.Action{Retry: with(func(r *route.Retry) { r.OnError = true })}),
		prefixed("/slow", route.Action{Retry: with(func(r *route.Retry) { r.OnSlow, r.Codes = true, []int{599} }), Timeouts: route.Timeouts{Backend: 50 * time.Millisecond}}),
		prefixed("/slane", route.Action{Retry: with(func(r *route.Retry) { r.OnSlow = true }), Timeouts: route.Timeouts{Read: 50 * time.Millisecond}}),
	))
	url := "http://" + r.listen(web)
	for _, c := range []struct{ path, method, want string }{
		{"/code", "GET", "200 200"}, {"/code", "PUT", "200 200"}, {"/code", "POST", "200 503"}, {"/unsafe", "POST", "200 200"}, {"/break", "GET", "200 200"}, {"/break", "POST", "200 502"},
		{"/lane", "GET", "200 200"}, {"/lane", "POST", "200 502"}, {"/slow", "GET", "200 200"}, {"/slow", "POST", "200 504"}, {"/slane", "GET", "200 200"}, {"/slane", "POST", "200 504"},
	} {
		before, got := bad.Load(), []string{}
		for range 2 { // one of them meets the failing endpoint first
			res, body := ask(t, url, asked{path: c.path, method: c.method, body: "data"})
			got = append(got, fmt.Sprint(res.StatusCode))
			if res.StatusCode == 200 && !strings.HasSuffix(body, "\ndata") {
				t.Errorf("%s %s: %s", c.method, c.path, body)
			}
		}
		slices.Sort(got)
		if n := bad.Load() - before; strings.Join(got, " ") != c.want || n < 1 || n > 2 || c.want != "200 200" && n != 1 {
			t.Errorf("%s %s: %v, want %s; the failing endpoint was asked %d times", c.method, c.path, got, c.want, n)
		}
	}
}

// TestTimeouts: what takes too long is ended with a 504, in a lane and without.
func TestTimeouts(t *testing.T) {
	r := newRig(t)
	r.Endpoints(svc, 80, []lb.Backend{backend(t, func(w http.ResponseWriter, q *http.Request) {
		<-q.Context().Done()
	})})
	short := 30 * time.Millisecond
	r.Serve(table(
		prefixed("/request", route.Action{Timeouts: route.Timeouts{Request: short}}), prefixed("/backend", route.Action{Timeouts: route.Timeouts{Backend: short}}),
		prefixed("/read", route.Action{Timeouts: route.Timeouts{Read: short}}), prefixed("/held", route.Action{Timeouts: route.Timeouts{Read: short}, BufferResponse: true}),
		prefixed("/both", route.Action{Timeouts: route.Timeouts{Request: short}, BufferResponse: true}),
	))
	url := "http://" + r.listen(web)
	for _, path := range []string{"/request", "/backend", "/read", "/held", "/both"} {
		res, body := ask(t, url, asked{path: path})
		if res.StatusCode != 504 || !strings.Contains(body, "ns/web") {
			t.Errorf("%s: %d %s", path, res.StatusCode, body)
		}
	}
}

// TestAccessLog: a line for each request, from a lane and without.
func TestAccessLog(t *testing.T) {
	r := newRig(t)
	r.Endpoints(svc, 80, []lb.Backend{backend(t, echo)})
	r.Serve(table(prefixed("/lane", route.Action{}), prefixed("/plain", route.Action{BufferResponse: true}), prefixed("/quiet", route.Action{Quiet: true})))
	url := "http://" + r.listen(web)
	for _, path := range []string{"/lane?a=b", "/plain", "/quiet", "/none"} {
		ask(t, url, asked{path: path, header: map[string]string{"User-Agent": "me"}})
	}
	for strings.Count(r.logged(), "\n") < 3 { // a line is written after the answer
		time.Sleep(time.Millisecond)
	}
	for _, want := range []string{
		`"method":"GET","scheme":"http","host":"127.0.0.1:\d+","uri":"/lane\?a=b","proto":"HTTP/1.1","status":200,"bytes":\d+,"seconds":[\d.e-]+,"user_agent":"me","rule":"Ingress / /lane","service":"ns/web","endpoint":"127.0.0.1:\d+","tries":1,"id":"[0-9a-f]{32}"`,
		`"uri":"/plain",.*"status":200,.*"tries":1`, `"uri":"/none",.*"status":404`,
	} {
		if !regexp.MustCompile(want).MatchString(r.logged()) {
			t.Errorf("nothing matches %s in\n%s", want, r.logged())
		}
	}
	if strings.Contains(r.logged(), "quiet") {
		t.Error("a quiet rule is in the log")
	}
}

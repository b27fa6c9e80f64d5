package ingress

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"fairlead.dev/fairlead/network/l7/route"
)

// of is what an annotation is to make of the action for a.x/app.
type of func(*route.Action) any

func backendOf(a *route.Action) *route.Backend { return &a.Backends[0] }

// effects hold, for each annotation that does something, values with what the action for http://a.x/app has then, and values that
// are wrong. beside are further annotations, NAME=VALUE.
var effects = map[string][]struct {
	value  string
	beside []string
	of     of
	want   any
}{
	"rewrite-target":          {{"/", nil, func(a *route.Action) any { return *a.Rewrite.Path.Full }, "/"}, {"/x/$1", nil, func(a *route.Action) any { return *a.Rewrite.Path.Captures }, "/x/$1"}, {"/app", nil, func(a *route.Action) any { return a.Rewrite }, (*route.Rewrite)(nil)}},
	"use-regex":               {{"true", nil, func(a *route.Action) any { return len(a.Backends) }, 1}},
	"app-root":                {{"/start", nil, func(a *route.Action) any { return len(a.Backends) }, 1}},
	"server-alias":            {{"b.x, *.c.x", nil, func(a *route.Action) any { return len(a.Backends) }, 1}},
	"x-forwarded-prefix":      {{"/app", nil, func(a *route.Action) any { return a.Request.Set }, []route.Header{{Name: "X-Forwarded-Prefix", Value: "/app"}}}},
	"upstream-vhost":          {{"in.example.org", nil, func(a *route.Action) any { return a.Rewrite.Host }, "in.example.org"}},
	"mirror-target":           {{"http://old.other.svc.cluster.local:8080$request_uri", nil, func(a *route.Action) any { return a.Mirrors[0].Backend }, route.Backend{Service: types.NamespacedName{Namespace: "other", Name: "old"}, Port: 8080, Weight: 1}}},
	"ssl-redirect":            {{"true", nil, func(a *route.Action) any { return a.Redirect }, &route.Redirect{Status: 308, Scheme: "https"}}, {"false", nil, func(a *route.Action) any { return a.Redirect }, (*route.Redirect)(nil)}},
	"force-ssl-redirect":      {{"true", nil, func(a *route.Action) any { return a.Redirect }, &route.Redirect{Status: 308, Scheme: "https"}}},
	"preserve-trailing-slash": {{"true", nil, func(a *route.Action) any { return a.Redirect }, (*route.Redirect)(nil)}},
	"permanent-redirect":      {{"https://b.x$request_uri", nil, func(a *route.Action) any { return a.Redirect }, &route.Redirect{Status: 301, URL: "https://b.x$request_uri"}}},
	"permanent-redirect-code": {{"308", []string{"permanent-redirect=https://b.x/"}, func(a *route.Action) any { return a.Redirect }, &route.Redirect{Status: 308, URL: "https://b.x/"}}},
	"temporal-redirect":       {{"https://b.x/", []string{"permanent-redirect=https://c.x/"}, func(a *route.Action) any { return a.Redirect }, &route.Redirect{Status: 302, URL: "https://b.x/"}}},
	"temporal-redirect-code":  {{"307", []string{"temporal-redirect=https://b.x/"}, func(a *route.Action) any { return a.Redirect }, &route.Redirect{Status: 307, URL: "https://b.x/"}}},
	"from-to-www-redirect":    {{"true", nil, func(a *route.Action) any { return len(a.Backends) }, 1}},

	"backend-protocol": {
		{"HTTP", nil, func(a *route.Action) any { return fmt.Sprint(backendOf(a).Protocol, backendOf(a).TLS) }, "0 <nil>"},
		{"https", nil, func(a *route.Action) any { return fmt.Sprint(backendOf(a).Protocol, *backendOf(a).TLS) }, "0 { [] <nil> false <nil>}"},
		{"GRPC", nil, func(a *route.Action) any { return fmt.Sprint(backendOf(a).Protocol, backendOf(a).TLS) }, "1 <nil>"},
		{"GRPCS", nil, func(a *route.Action) any { return backendOf(a).Protocol == route.HTTP2 && backendOf(a).TLS != nil }, true},
	},
	"proxy-body-size":             {{"8m", nil, func(a *route.Action) any { return a.MaxBody }, int64(8 << 20)}, {"0", nil, func(a *route.Action) any { return a.MaxBody }, int64(0)}, {"1G", nil, func(a *route.Action) any { return a.MaxBody }, int64(1 << 30)}, {"512", nil, func(a *route.Action) any { return a.MaxBody }, int64(512)}},
	"proxy-connect-timeout":       {{"5", nil, func(a *route.Action) any { return a.Timeouts.Connect }, 5 * time.Second}},
	"proxy-send-timeout":          {{"120", nil, func(a *route.Action) any { return a.Timeouts.Send }, 2 * time.Minute}},
	"proxy-read-timeout":          {{"3600", nil, func(a *route.Action) any { return a.Timeouts.Read }, time.Hour}},
	"proxy-next-upstream":         {{"error timeout http_502 non_idempotent", nil, func(a *route.Action) any { return a.Retry }, route.Retry{Tries: 2, OnError: true, OnSlow: true, Unsafe: true, Codes: []int{502}}}, {"off", nil, func(a *route.Action) any { return a.Retry }, route.Retry{Never: true}}},
	"proxy-next-upstream-tries":   {{"5", []string{"proxy-next-upstream=error"}, func(a *route.Action) any { return a.Retry.Tries }, 4}, {"1", []string{"proxy-next-upstream=error"}, func(a *route.Action) any { return a.Retry.Never }, true}, {"0", []string{"proxy-next-upstream=error"}, func(a *route.Action) any { return a.Retry.Tries }, manyTries}},
	"proxy-next-upstream-timeout": {{"9", []string{"proxy-next-upstream=error"}, func(a *route.Action) any { return a.Retry.Deadline }, 9 * time.Second}},
	"proxy-buffering":             {{"on", nil, func(a *route.Action) any { return a.BufferResponse }, true}, {"off", nil, func(a *route.Action) any { return a.BufferResponse }, false}},
	"proxy-request-buffering":     {{"on", nil, func(a *route.Action) any { return a.BufferRequest }, true}},
	"upstream-hash-by":            {{"$request_uri${http_x_user}", []string{"load-balance=ewma"}, func(a *route.Action) any { return a.Balance }, route.Balance{Kind: route.Hashed, HashBy: "$request_uri${http_x_user}"}}},
	"load-balance":                {{"ewma", nil, func(a *route.Action) any { return a.Balance.Kind }, route.LeastRequest}, {"round_robin", nil, func(a *route.Action) any { return a.Balance.Kind }, route.RoundRobin}},
	"enable-access-log":           {{"false", nil, func(a *route.Action) any { return a.Quiet }, true}, {"true", nil, func(a *route.Action) any { return a.Quiet }, false}},
	"default-backend": {
		{"api", nil, func(a *route.Action) any { return a.Instead.Backend }, route.Backend{Service: types.NamespacedName{Namespace: "shop", Name: "api"}, Port: 80, Weight: 1, Status: 503}},
		{"gone", nil, func(a *route.Action) any { return a.Instead }, (*route.Instead)(nil)},
	},
	"custom-http-errors":             {{"404, 503", []string{"default-backend=api"}, func(a *route.Action) any { return a.Instead.Codes }, []int{404, 503}}, {"404", nil, func(a *route.Action) any { return a.Instead }, (*route.Instead)(nil)}},
	"disable-proxy-intercept-errors": {{"true", []string{"default-backend=api", "custom-http-errors=404"}, func(a *route.Action) any { return len(a.Instead.Codes) }, 0}},
	"ssl-passthrough": {
		{"true", nil, func(a *route.Action) any { return a.Respond.Status }, 503}, // there is no path /
		{"false", nil, func(a *route.Action) any { return len(a.Backends) }, 1}, {"maybe", nil, func(a *route.Action) any { return a.Respond.Status }, 503},
	},
	"custom-headers": {
		{"shop/headers", nil, func(a *route.Action) any { return a.Response }, route.HeaderEdit{Set: []route.Header{{Name: "X-Frame-Options", Value: "DENY"}}, Remove: []string{"Server"}}},
		{"gone", nil, func(a *route.Action) any { return a.Response.IsEmpty() }, true},
		{"other/headers", nil, func(a *route.Action) any { return a.Response.IsEmpty() }, true},
	},
	"proxy-ssl-name":        {{"in.x", []string{"backend-protocol=HTTPS", "proxy-ssl-server-name=on"}, func(a *route.Action) any { return backendOf(a).TLS.ServerName }, "in.x"}},
	"proxy-ssl-server-name": {{"off", []string{"backend-protocol=HTTPS", "proxy-ssl-name=in.x"}, func(a *route.Action) any { return backendOf(a).TLS.ServerName }, ""}},
	"proxy-ssl-secret":      {{"shop/mtls", []string{"backend-protocol=HTTPS"}, func(a *route.Action) any { return *backendOf(a).TLS.Client }, types.NamespacedName{Namespace: "shop", Name: "mtls"}}, {"gone", []string{"backend-protocol=HTTPS"}, func(a *route.Action) any { return backendOf(a).Broken != "" }, true}},
	"proxy-ssl-verify":      {{"on", []string{"backend-protocol=HTTPS", "proxy-ssl-name=in.x", "proxy-ssl-secret=mtls"}, func(a *route.Action) any { return backendOf(a).TLS.CAs != nil && backendOf(a).TLS.ServerName == "in.x" }, true}},

	"affinity":                         {{"cookie", nil, func(a *route.Action) any { return *a.Affinity }, route.Affinity{Cookie: "INGRESSCOOKIE"}}},
	"affinity-mode":                    {{"persistent", sticky, func(a *route.Action) any { return a.Affinity != nil }, true}},
	"affinity-canary-behavior":         {{"legacy", sticky, func(a *route.Action) any { return a.Affinity != nil }, true}},
	"session-cookie-name":              {{"route", sticky, func(a *route.Action) any { return a.Affinity.Cookie }, "route"}},
	"session-cookie-path":              {{"/p", sticky, func(a *route.Action) any { return a.Affinity.Path }, "/p"}},
	"session-cookie-domain":            {{".a.x", sticky, func(a *route.Action) any { return a.Affinity.Domain }, ".a.x"}},
	"session-cookie-max-age":           {{"60", append([]string{"session-cookie-expires=9"}, sticky...), func(a *route.Action) any { return a.Affinity.MaxAge }, time.Minute}},
	"session-cookie-expires":           {{"60", sticky, func(a *route.Action) any { return a.Affinity.MaxAge }, time.Minute}},
	"session-cookie-change-on-failure": {{"true", sticky, func(a *route.Action) any { return a.Affinity.Rebalance }, true}},
	"session-cookie-samesite":          {{"Lax", sticky, func(a *route.Action) any { return a.Affinity.SameSite }, "Lax"}},
	"session-cookie-secure":            {{"true", sticky, func(a *route.Action) any { return a.Affinity.Secure }, true}},

	"whitelist-source-range": {{"10.0.0.5/8, 2001:db8::1", nil, func(a *route.Action) any { return fmt.Sprint(a.Allow) }, "[10.0.0.0/8 2001:db8::1/128]"}},
	"allowlist-source-range": {{"10.0.0.0/8", nil, func(a *route.Action) any { return fmt.Sprint(a.Allow) }, "[10.0.0.0/8]"}},
	"denylist-source-range":  {{"192.0.2.1", nil, func(a *route.Action) any { return fmt.Sprint(a.Deny) }, "[192.0.2.1/32]"}},
	"limit-rps":              {{"10", nil, func(a *route.Action) any { return a.Limit }, route.Limit{PerSecond: 10, Burst: 50, Status: 503, Together: true}}},
	"limit-rpm":              {{"60", []string{"limit-rps=10"}, func(a *route.Action) any { return a.Limit }, route.Limit{PerSecond: 1, Burst: 300, Status: 503, Together: true}}},
	"limit-connections":      {{"7", nil, func(a *route.Action) any { return a.Limit }, route.Limit{Connections: 7, Together: true}}},
	"limit-burst-multiplier": {{"2", []string{"limit-rps=10"}, func(a *route.Action) any { return a.Limit.Burst }, 20}},
	"limit-whitelist":        {{"10.0.0.0/8", nil, func(a *route.Action) any { return fmt.Sprint(a.Unlimited) }, "[10.0.0.0/8]"}},
	"limit-allowlist":        {{"10.0.0.0/8", nil, func(a *route.Action) any { return fmt.Sprint(a.Unlimited) }, "[10.0.0.0/8]"}},
	"enable-cors": {{"true", nil, func(a *route.Action) any {
		return fmt.Sprint(a.CORS.Origins, a.CORS.Credentials, a.CORS.MaxAge, len(a.CORS.Methods))
	}, "[*] false 480h0m0s 6"}, {"false", nil, func(a *route.Action) any { return a.CORS }, (*route.CORS)(nil)}},
	"cors-allow-origin":      {{"https://*.b.x:8443, http://c.x", cors, func(a *route.Action) any { return a.CORS.Origins }, []string{"https://*.b.x:8443", "http://c.x"}}, {"nonsense", cors, func(a *route.Action) any { return len(a.CORS.Origins) }, 0}},
	"cors-allow-methods":     {{"GET, PUT", cors, func(a *route.Action) any { return a.CORS.Methods }, []string{"GET", "PUT"}}},
	"cors-allow-headers":     {{"X-A", cors, func(a *route.Action) any { return a.CORS.Headers }, []string{"X-A"}}},
	"cors-expose-headers":    {{"*, X-B", cors, func(a *route.Action) any { return a.CORS.Expose }, []string{"*", "X-B"}}},
	"cors-allow-credentials": {{"true", append([]string{"cors-allow-origin=https://b.x"}, cors...), func(a *route.Action) any { return a.CORS.Credentials }, true}, {"false", append([]string{"cors-allow-origin=https://b.x"}, cors...), func(a *route.Action) any { return a.CORS.Credentials }, false}, {"ja", cors, func(a *route.Action) any { return a.CORS.Credentials }, false}},
	"cors-max-age":           {{"600", cors, func(a *route.Action) any { return a.CORS.MaxAge }, 10 * time.Minute}},

	"auth-tls-secret": {
		{"shop/mtls", nil, func(a *route.Action) any {
			return a.Certificate.CAs != nil && !a.Certificate.Optional && !a.Certificate.Unverified
		}, true},
		{"gone", nil, func(a *route.Action) any { return a.Respond.Status }, 503}, {"other/mtls", nil, func(a *route.Action) any { return a.Respond.Status }, 503},
	},
	"auth-tls-verify-client": {
		{"on", mutual, func(a *route.Action) any { return a.Certificate.Optional }, false}, {"optional", mutual, func(a *route.Action) any { return a.Certificate.Optional }, true},
		{"optional_no_ca", mutual, func(a *route.Action) any { return a.Certificate.Unverified }, true}, {"off", mutual, func(a *route.Action) any { return a.Certificate }, (*route.CertificateAuth)(nil)},
		{"on", nil, func(a *route.Action) any { return a.Respond.Status }, 503}, {"perhaps", mutual, func(a *route.Action) any { return a.Respond.Status }, 503},
	},
	"auth-tls-verify-depth":                 {{"3", mutual, func(a *route.Action) any { return a.Certificate.Depth }, 3}, {"x", mutual, func(a *route.Action) any { return a.Certificate.Depth }, 1}},
	"auth-tls-error-page":                   {{"https://a.x/why?$args", mutual, func(a *route.Action) any { return a.Certificate.ErrorPage }, "https://a.x/why?$args"}},
	"auth-tls-pass-certificate-to-upstream": {{"true", mutual, func(a *route.Action) any { return a.Certificate.Pass }, true}},
	"auth-type":                             {{"basic", []string{"auth-secret=users"}, func(a *route.Action) any { return *a.Basic }, route.BasicAuth{Secret: types.NamespacedName{Namespace: "shop", Name: "users"}}}, {"basic", nil, func(a *route.Action) any { return a.Respond.Status }, 503}, {"digest", []string{"auth-secret=users"}, func(a *route.Action) any { return a.Respond.Status }, 503}},
	"auth-secret":                           {{"shop/users", basic, func(a *route.Action) any { return a.Basic.Secret.Name }, "users"}, {"other/users", basic, func(a *route.Action) any { return a.Respond.Status }, 503}},
	"auth-secret-type":                      {{"auth-map", append([]string{"auth-secret=users"}, basic...), func(a *route.Action) any { return a.Basic.ByUser }, true}},
	"auth-realm":                            {{"Staff only", append([]string{"auth-secret=users"}, basic...), func(a *route.Action) any { return a.Basic.Realm }, "Staff only"}},
	"auth-url": {
		{"https://auth.example.org/check?u=$request_uri", nil, func(a *route.Action) any { return fmt.Sprint(a.External.URL, a.External.Backend) }, "https://auth.example.org/check?u=$request_uri<nil>"},
		{"http://api.other.svc.cluster.local:8080/auth", nil, func(a *route.Action) any { return *a.External.Backend }, route.Backend{Service: types.NamespacedName{Namespace: "other", Name: "api"}, Port: 8080, Weight: 1}},
		{"auth.example.org", nil, func(a *route.Action) any { return a.Respond.Status }, 503},
	},
	"auth-method":                {{"POST", external, func(a *route.Action) any { return a.External.Method }, "POST"}},
	"auth-signin":                {{"https://auth.x/start", external, func(a *route.Action) any { return a.External.SignIn }, "https://auth.x/start?rd=$scheme://$http_host$escaped_request_uri"}, {"https://auth.x/start?rd=$escaped_request_uri", external, func(a *route.Action) any { return a.External.SignIn }, "https://auth.x/start?rd=$escaped_request_uri"}},
	"auth-signin-redirect-param": {{"next", append([]string{"auth-signin=https://auth.x/?a=b"}, external...), func(a *route.Action) any { return a.External.SignIn }, "https://auth.x/?a=b&next=$scheme://$http_host$escaped_request_uri"}},
	"auth-response-headers":      {{"X-User, X-Email", external, func(a *route.Action) any { return a.External.Copy }, []string{"X-User", "X-Email"}}},
	"auth-request-redirect":      {{"https://a.x$request_uri", external, func(a *route.Action) any { return a.External.Headers }, []route.Header{{Name: "X-Auth-Request-Redirect", Value: "https://a.x$request_uri"}}}},
}

var (
	sticky   = []string{"affinity=cookie"}
	cors     = []string{"enable-cors=true"}
	basic    = []string{"auth-type=basic"}
	mutual   = []string{"auth-tls-secret=mtls"}
	external = []string{"auth-url=http://auth.x/"}
)

// TestAnnotations holds each annotation by its name to what it does.
func TestAnnotations(t *testing.T) {
	for name, cases := range effects {
		for _, c := range cases {
			annotations := map[string]string{name: c.value}
			for _, other := range c.beside {
				key, value, _ := strings.Cut(other, "=")
				annotations[key] = value
			}
			r := actionWith(t, annotations)
			if got := c.of(&r.Action); !reflect.DeepEqual(got, c.want) {
				t.Errorf("%s: %q makes %v, want %v", name, c.value, got, c.want)
			}
		}
	}
	for name, r := range all {
		if r.set != nil && effects[name] == nil && !slices.ContainsFunc(rowsOfCanaries, func(c row) bool { return c.name == name }) {
			t.Errorf("%s does something, and no case says what", name)
		}
	}
}

// actionWith is the rule for http://a.x/app of an Ingress with TLS and some annotations.
func actionWith(t *testing.T, annotations map[string]string) *route.Rule {
	t.Helper()
	c := newCluster()
	c.secret("shop", "mtls", map[string][]byte{"tls.crt": []byte("x"), "ca.crt": authority(t)})
	for _, ns := range []string{"shop", "other"} {
		c.configMap(ns, "headers", map[string]string{"x-frame-options": "DENY", "Server": "", "Connection": "close", "bad name": "x"})
	}
	kind := "Prefix"
	if strings.Contains(annotations["rewrite-target"], "$") {
		kind = "ImplementationSpecific"
	}
	path := "/app"
	if kind != "Prefix" {
		path = "/app(.*)"
	}
	b := serve(t, c, one("a", annotations, "a.x "+path+" "+kind+" web")+"  tls: [{hosts: [a.x]}]\n")
	r := b.rule(t, "http://a.x/app", asked{})
	if r == nil {
		t.Fatalf("%v: nothing is served", annotations)
	}
	return r
}

// wrongs are values that are refused.
var wrongs = map[string][]string{
	"rewrite-target": {"", "x", "https://b.x/", "/x?y=$1"}, "use-regex": {"yes", ""}, "app-root": {"x", "/$a"}, "server-alias": {"~^x", "A.x", ",", "*"},
	"x-forwarded-prefix": {"", "a b"}, "upstream-vhost": {"$service_name", ""}, "mirror-target": {"https://test.env.com/$request_uri", "http://a.b"},
	"ssl-redirect": {"on"}, "permanent-redirect": {"b.x", "ftp://b.x", "https://b.x/$nope", "https://b.x/\nx"}, "permanent-redirect-code": {"200", "x", "300", "309"},
	"backend-protocol": {"FCGI", "AUTO_HTTP", ""}, "proxy-body-size": {"1t", "", "-1", "m", "99999999999999999999", "9223372036854775807k"},
	"proxy-connect-timeout": {"5s", "0", "-1"}, "proxy-next-upstream": {"", "error sometimes"}, "proxy-next-upstream-tries": {"-1"}, "proxy-buffering": {"true"},
	"upstream-hash-by": {"", "$nope"}, "load-balance": {"ip_hash", "EWMA"}, "affinity": {"ip"}, "affinity-mode": {"x"}, "session-cookie-name": {"a b", "a=b"},
	"session-cookie-samesite": {"lax"}, "session-cookie-max-age": {"-1", "1h"}, "whitelist-source-range": {"10.0.0.0/33", "x", "", "fe80::1%eth0"},
	"denylist-source-range": {"nonsense"}, "limit-rps": {"many", "-3"}, "cors-allow-origin": {"b.x", "null", "https://*"}, "cors-allow-headers": {"a b"},
	"auth-type": {"digest"}, "auth-secret": {"a/b/c", "UPPER"}, "auth-secret-type": {"x"}, "auth-realm": {`a"b`}, "auth-url": {"x", "http://", "http://a..b/", "https://$nope/", "http://127.0.0.1:10250/", "http://[::1]/", "http://localhost/", "http://169.254.169.254/latest", "http://0.0.0.0/", "http://[::ffff:127.0.0.1]/"},
	"auth-method": {"get"}, "canary": {"1.5"}, "canary-by-header": {"a b"}, "canary-by-header-pattern": {"(", "(?=x)"}, "canary-weight": {"-1", "half"},
	"canary-weight-total": {"0"}, "proxy-ssl-verify": {"true"}, "proxy-ssl-secret": {"a b"}, "custom-headers": {"a/b/c", ""}, "ssl-passthrough": {"on"}, "default-backend": {"shop/api", ""}, "custom-http-errors": {"404,x", "99", "600"}, "disable-proxy-intercept-errors": {"on"},
	"auth-tls-secret": {"a b", ""}, "auth-tls-verify-client": {"true"}, "auth-tls-verify-depth": {"0", "-1", "deep"}, "auth-tls-error-page": {"@page", "x"}, "auth-tls-pass-certificate-to-upstream": {"on"},
}

// TestWrongValues: a wrong value is said to be, and what guards closes.
func TestWrongValues(t *testing.T) {
	for name, values := range wrongs {
		for _, value := range values {
			ing := parse(t, one("a", nil, "a.x / web"))
			ing.Annotations[Prefix+name] = value
			lines := Annotations(ing)
			if len(lines) == 0 || lines[0].Annotation != name || lines[0].Level != Wrong || lines[0].Text == "" {
				t.Errorf("%s: %q is %+v", name, value, lines)
			}
			s, _ := read(ing)
			if all[name].guard != (s.closed != "") {
				t.Errorf("%s: %q closes: %v", name, value, s.closed != "")
			}
		}
	}
}

// TestUnsupported: each annotation that is not supported is said to be, with another way, and what guards closes.
func TestUnsupported(t *testing.T) {
	for _, r := range rowsNotSupported {
		rule := actionWith(t, map[string]string{r.name: "on"})
		if closed := rule.Action.Respond != nil && rule.Action.Respond.Status == 503; closed != r.guard {
			t.Errorf("%s: closed is %v", r.name, closed)
		}
		if r.note == "" {
			t.Errorf("%s: no other way is said", r.name)
		}
		for _, idle := range r.idle {
			ing := parse(t, one("a", map[string]string{r.name: idle}, "a.x / web"))
			if lines := Annotations(ing); lines[0].Level != Same {
				t.Errorf("%s: %s is %+v", r.name, idle, lines[0])
			}
		}
	}
	for snippet, closed := range map[string]bool{"more_set_headers \"X-Deny: x\";": false, "deny all;": true, "if ($x) { return  403; }": true, "return 301 https://b.x;": false, "auth_request /x;": true, "denying": false} {
		for _, name := range []string{"server-snippet", "configuration-snippet"} {
			if r := actionWith(t, map[string]string{name: snippet}); (r.Action.Respond != nil) != closed {
				t.Errorf("%s: %s closes: %v", name, snippet, !closed)
			}
		}
	}
	b := serve(t, newCluster(), one("a", map[string]string{"server-snippet": "deny all;", "cors-alow-origin": "x", "canary-wait": "3"}, "a.x / web"))
	expect(t, "findings", b.said("a"), "AnnotationUnknown canary-wait, AnnotationUnknown cors-alow-origin, AnnotationNotSupported server-snippet")
	expect(t, "nearest", nearest("cors-alow-origin")+" "+nearest("canary-wait")+" "+nearest("something-else-entirely"), "cors-allow-origin canary-weight ")
}

// TestRewriting holds the pairs of path and rewrite-target that people have, and what they match.
func TestRewriting(t *testing.T) {
	rewrite := func(target string) map[string]string { return map[string]string{"rewrite-target": target} }
	for _, c := range []struct {
		rule, target, yes, no, to string
	}{
		{"a.x /something(/|$)(.*) ImplementationSpecific web", "/$2", "/SOMETHING/new", "/somethingelse", "/new"},
		{"a.x /something(/|$)(.*) Prefix web", "/$2", "/something", "/some", "/"},
		{"a.x /foo Prefix web", "/", "/foo/bar", "/foobar", "/"},
		{"a.x /foo ImplementationSpecific web", "/x", "/foobar", "/fo", "/x"},
		{"a.x /foo Exact web", "/x", "/foo", "/foo/", "/x"},
		{"a.x /(api|v1)/(.+) ImplementationSpecific web", "/$2", "/v1/a/b", "/v2/a", "/a/b"},
	} {
		b := serve(t, newCluster(), one("a", rewrite(c.target), c.rule))
		expect(t, c.no, b.ask(t, "http://a.x"+c.no), "404")
		r := b.rule(t, "http://a.x"+c.yes, asked{})
		if r == nil {
			t.Errorf("%s is not met by %s", c.rule, c.yes)
			continue
		}
		got, p := "", r.Action.Rewrite.Path
		switch {
		case p.Full != nil:
			got = *p.Full
		case p.Captures != nil:
			match := r.Match.Path.Pattern.FindStringSubmatch(c.yes)
			got = *p.Captures
			for i, group := range match {
				got = strings.ReplaceAll(got, fmt.Sprint("$", i), group)
			}
		}
		expect(t, c.rule+" "+c.yes, got, c.to)
	}
	b := serve(t, newCluster(), one("a", rewrite("/$3"), "a.x /x(/|$)(.*) ImplementationSpecific web"), one("b", rewrite("/"), "b.x / web"))
	expect(t, "too few groups", b.said("a"), "AnnotationInvalid rewrite-target")
	if r := b.rule(t, "http://b.x/kept", asked{}); r.Action.Rewrite != nil {
		t.Error("/ for / is a rewrite")
	}
}

// TestExpressions: what RE2 lacks and what explodes is refused, the longest comes first, and letters have no case.
func TestExpressions(t *testing.T) {
	regex := map[string]string{"use-regex": "true"}
	b := serve(t, newCluster(), one("a", regex, "a.x /foo/.* ImplementationSpecific web", "a.x /foo/bar/.+ ImplementationSpecific api", "a.x /foo/bar Exact old"))
	answers(t, b, "http://a.x/foo/bar old:80", "http://a.x/FOO/BAR web:80", "http://a.x/foo/BAR/x api:80", "http://a.x/fo 404")
	// Of the same length, in the reverse order of their text, whichever Ingress is the elder.
	b = serve(t, newCluster(), one("a", regex, "a.x /a.+ ImplementationSpecific web"), one("b", regex, "a.x /a.* ImplementationSpecific api"))
	answers(t, b, "http://a.x/ab web:80", "http://a.x/a api:80")
	b = serve(t, newCluster(), one("a", regex, "a.x /a.* ImplementationSpecific api"), one("b", regex, "a.x /a.+ ImplementationSpecific web"))
	answers(t, b, "http://a.x/ab web:80", "http://a.x/a api:80")
	for name, text := range map[string]string{
		"look-ahead": `/(?!admin).*`, "back-reference": `/(a)\1`, "unclosed": `/(a`, "long": "/" + strings.Repeat("a", 2000),
		"exploding": `/((((a{100}){100}){10}){10})`, "many": `/(a{1000})*`, "nested": "/" + strings.Repeat("(", 1010) + strings.Repeat(")", 13),
	} {
		b := serve(t, newCluster(), one("a", regex, "a.x '' ImplementationSpecific web"), one("b", nil, "a.x /ok api"))
		ing := b.world.Ingress(types.NamespacedName{Namespace: "shop", Name: "a"}).DeepCopy()
		ing.Spec.Rules[0].HTTP.Paths[0].Path = text
		b.world.Ingress(types.NamespacedName{Namespace: "shop", Name: "a"}).Spec = ing.Spec
		b.Update(Changes{Ingresses: []types.NamespacedName{{Namespace: "shop", Name: "a"}}})
		expect(t, name, b.said("a"), "PathInvalid spec.rules[0].http.paths[0].path")
		answers(t, b, "http://a.x/ok api:80", "http://a.x/aaaa 404")
	}
	// One that never ends elsewhere: here its time is linear.
	b = serve(t, newCluster(), one("a", regex, "a.x /(a+)+$ ImplementationSpecific web"))
	expect(t, "catastrophe", b.ask(t, "http://a.x/"+strings.Repeat("a", 5000)+"b"), "404")
}

func TestAppRoot(t *testing.T) {
	b := serve(t, newCluster(), one("a", map[string]string{"app-root": "/app"}, "a.x / web", "a.x / Exact api"))
	answers(t, b, "http://a.x/ 302 /app", "https://a.x/ 302 /app", "http://a.x/app web:80")
}

func TestRedirectsToHTTPS(t *testing.T) {
	tls := "  tls: [{hosts: [a.x]}]\n"
	nginx := func(m map[string]string) map[string]string { m["kubernetes.io/ingress.class"] = "nginx"; return m }
	for _, c := range []struct {
		annotations map[string]string
		tls, want   string
	}{
		{map[string]string{}, tls, "web:80"},
		{map[string]string{"ssl-redirect": "true"}, tls, "308 https"},
		{map[string]string{"ssl-redirect": "true"}, "", "web:80"},
		{map[string]string{"force-ssl-redirect": "true"}, "", "308 https"},
		{nginx(map[string]string{}), tls, "308 https"},
		{nginx(map[string]string{}), "", "web:80"},
		{nginx(map[string]string{"ssl-redirect": "false"}), tls, "web:80"},
		{nginx(map[string]string{"permanent-redirect": "https://b.x/"}), tls, "301 https://b.x/"},
	} {
		b := serve(t, newCluster(), one("a", c.annotations, "a.x / web")+c.tls, one("acme", c.annotations, "a.x /.well-known/acme-challenge/token Exact api"))
		answers(t, b, "http://a.x/ "+c.want)
		if !strings.HasPrefix(c.want, "301") {
			answers(t, b, "https://a.x/ web:80", "http://a.x/.well-known/acme-challenge/token api:80")
		}
	}
	c := newCluster()
	b := NewBuilder(c.world(), Ports{8080, 8443})
	b.Update(Changes{Ingresses: c.put(t, one("a", map[string]string{"force-ssl-redirect": "true"}, "a.x / web"))})
	if r := b.rule(t, "http://a.x/", asked{}); r.Action.Redirect.Port != 8443 {
		t.Errorf("to port %d, want 8443", r.Action.Redirect.Port)
	}
}

func TestServerAliasAndWWW(t *testing.T) {
	c := newCluster()
	b := serve(t, c, one("a", map[string]string{"server-alias": "b.x,*.c.x,taken.x", "from-to-www-redirect": "true"}, "a.x / web", "www.d.x / web"),
		one("more", nil, "a.x /more api"), one("own", nil, "taken.x / old"))
	answers(t, b, "http://b.x/ web:80", "http://b.x/more api:80", "http://y.c.x/more api:80", "http://taken.x/ old:80",
		"http://www.a.x/x 308 //a.x", "https://d.x/ 308 //www.d.x", "http://www.d.x/ web:80")
	expect(t, "findings", b.said("a"), "HostTaken server-alias")
	// Another path of the host is one of its other names as well; a host of its own goes before both, and ends with its Ingress.
	b.Update(Changes{Ingresses: c.put(t, one("later", nil, "a.x /later old", "www.a.x / old"))})
	answers(t, b, "http://b.x/later old:80", "http://www.a.x/ old:80")
	expect(t, "findings", b.said("a"), "HostTaken from-to-www-redirect, HostTaken server-alias")
	for _, name := range []string{"own", "later"} {
		gone := types.NamespacedName{Namespace: "shop", Name: name}
		delete(c.ingresses, gone)
		b.Update(Changes{Ingresses: []types.NamespacedName{gone}})
	}
	answers(t, b, "http://taken.x/more api:80", "http://b.x/later web:80", "http://www.a.x/ 308 //a.x")
	expect(t, "findings", b.said("a"), "")
}

func TestCanaries(t *testing.T) {
	canary := func(more ...string) map[string]string {
		m := map[string]string{"canary": "true"}
		for i := 0; i+1 < len(more); i += 2 {
			m[more[i]] = more[i+1]
		}
		return m
	}
	main := one("main", map[string]string{"limit-rps": "5", "backend-protocol": "GRPC"}, "a.x / web", "a.x /x api")
	ask := func(annotations map[string]string, pairs ...string) string {
		b := serve(t, newCluster(), main, one("new", annotations, "a.x / old"))
		expect(t, "findings", b.said("new"), "")
		expect(t, "another path", b.ask(t, "http://a.x/x", pairs...), "api:80")
		r := b.rule(t, "http://a.x/", asked{})
		if r.Action.Limit.PerSecond != 5 {
			t.Error("the canary has lost what the Ingress says")
		}
		for _, to := range r.Action.Backends {
			if to.Protocol != route.HTTP2 {
				t.Error("the canary speaks another protocol than its Ingress says")
			}
		}
		return b.ask(t, "http://a.x/y", pairs...)
	}
	byHeader := canary("canary-by-header", "x-new", "canary-weight", "20")
	expect(t, "weight", ask(byHeader), "web:80*80 old:80*20")
	expect(t, "always", ask(byHeader, "X-New", "always"), "old:80")
	expect(t, "never", ask(byHeader, "X-New", "never"), "web:80")
	expect(t, "another value", ask(byHeader, "X-New", "else"), "web:80*80 old:80*20")
	byValue := canary("canary-by-header", "X-New", "canary-by-header-value", "me", "canary-by-header-pattern", ".*")
	expect(t, "value", ask(byValue, "X-New", "me"), "old:80")
	expect(t, "no other value", ask(byValue, "X-New", "always"), "web:80")
	byPattern := canary("canary-by-header", "X-New", "canary-by-header-pattern", "^v[0-9]")
	expect(t, "pattern", ask(byPattern, "X-New", "v2"), "old:80")
	expect(t, "no pattern", ask(byPattern, "X-New", "x"), "web:80")
	byCookie := canary("canary-by-cookie", "new", "canary-by-header", "X-New", "canary-weight", "3", "canary-weight-total", "1000")
	expect(t, "cookie", ask(byCookie, "cookie:new", "always"), "old:80")
	expect(t, "cookie never", ask(byCookie, "cookie:new", "never"), "web:80")
	expect(t, "header before cookie", ask(byCookie, "cookie:new", "always", "X-New", "never"), "web:80")
	expect(t, "total", ask(byCookie), "web:80*997 old:80*3")

	other := "metadata: {name: new, namespace: other, annotations: {" + Prefix + "canary: 'true', " + Prefix + "canary-weight: '50'}}\n" +
		strings.SplitAfter(one("x", nil, "a.x / old"), "a: b\n")[1]
	b := serve(t, newCluster(), main, one("alone", canary("canary-weight", "10"), "a.x /nowhere old"), other,
		one("first", canary("canary-weight", "10"), "a.x / old"), one("second", canary("canary-weight", "30"), "a.x / api"))
	answers(t, b, "http://a.x/nowhere web:80*90 old:80*10")
	expect(t, "alone", b.said("alone"), "CanaryAlone spec.rules[0].http.paths[0]")
	expect(t, "second", b.said("second"), "CanaryAlone spec.rules[0].http.paths[0]")
}

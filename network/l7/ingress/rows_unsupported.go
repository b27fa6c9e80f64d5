package ingress

import "regexp"

// rowsWithoutEffect ask for what is so anyway, or for the size of something that there is not. Their values are not looked at.
var rowsWithoutEffect = []row{
	{name: "service-upstream", level: Differs, note: "requests go to the endpoints, of which the Service's policies choose; sessions, retries and draining work, for which it is often wanted", idle: []string{"false"}},
	{name: "proxy-http-version", level: Differs, note: "always 1.1, or HTTP/2 by backend-protocol", idle: []string{"1.1"}},
	{name: "connection-proxy-header", level: Differs, note: "connections to backends are kept and upgraded as the request and its answer say", idle: []string{"keep-alive", "upgrade"}},
	{name: "proxy-buffer-size", level: Differs, note: bufferNote},
	{name: "proxy-buffers-number", level: Differs, note: bufferNote},
	{name: "proxy-busy-buffers-size", level: Differs, note: bufferNote},
	{name: "proxy-max-temp-file-size", level: Differs, note: bufferNote},
	{name: "client-body-buffer-size", level: Differs, note: bufferNote},
	{name: "use-port-in-redirects", level: Differs, note: "a redirect to HTTPS leads to port 443; others keep the port", idle: []string{"false"}},
	{name: "enable-rewrite-log", level: Differs, note: "the access log has the rule that a request met", idle: []string{"false"}},
	{name: "enable-global-auth", level: Differs, note: "there is no authentication for all Ingresses: say auth-url on each", idle: []string{"false"}},
	{name: "upstream-hash-by-subset", level: Differs, note: "a value always goes to one endpoint", idle: []string{"false"}},
	{name: "upstream-hash-by-subset-size", level: Differs, note: "a value always goes to one endpoint", idle: []string{"1"}},
	{name: "session-cookie-conditional-samesite-none", level: Differs, note: "SameSite is said to every browser: those that misread it are gone", idle: []string{"false"}},
	{name: "auth-cache-key", level: Differs, note: authCacheNote},
	{name: "auth-cache-duration", level: Differs, note: authCacheNote},
	{name: "auth-keepalive", level: Differs, note: authKeepNote},
	{name: "auth-keepalive-requests", level: Differs, note: authKeepNote},
	{name: "auth-keepalive-timeout", level: Differs, note: authKeepNote},
	{name: "auth-keepalive-share-vars", level: Differs, note: authKeepNote, idle: []string{"false"}},
	{name: "auth-always-set-cookie", level: Differs, note: "cookies of the server that is asked always reach the client", idle: []string{"true"}},
	{name: "proxy-ssl-verify-depth", level: Differs, note: "chains of any length are verified"},
	{name: "proxy-ssl-ciphers", level: Differs, note: cipherNote},
	{name: "proxy-ssl-protocols", level: Differs, note: "TLS 1.2 and 1.3"},
	{name: "ssl-ciphers", level: Differs, note: cipherNote},
	{name: "ssl-prefer-server-ciphers", level: Differs, note: cipherNote},
	{name: "http2-push-preload", level: Differs, note: "there is no push: browsers have given it up, and read the Link header themselves", idle: []string{"false"}},
	{name: "mirror-request-body", level: Differs, note: "the copy has the body", idle: []string{"on"}},
	{name: "satisfy", level: Differs, note: "all that guards has to be satisfied, never any of it", idle: []string{"all"}},
}

const (
	bufferNote    = "bodies stream through memory of a fixed size, and nothing is written to a file"
	authCacheNote = "every request is asked about: nobody is let in by an older answer"
	authKeepNote  = "connections to the server that is asked are kept as those to backends"
	cipherNote    = "the cipher suites are those of Go, in its order: no weak one is among them"
	snippetNote   = "no configuration is taken from objects: whoever may write an Ingress could read every Secret (CVE-2021-25742, CVE-2025-1974). "
	wafNote       = "there is no web application firewall here: put one between as a Service, or its check as auth-url"
	tlsNote       = "have the backend look at ssl-client-subject-dn, which auth-tls-secret has it told"
	traceNote     = "no spans are sent; the headers of traces go through to the backend"
)

// guardingSnippet finds what keeps people out in a snippet.
var guardingSnippet = regexp.MustCompile(`\b(deny|auth_basic|auth_request|auth_jwt|secure_link|ssl_verify_client|access_by_lua\w*|modsecurity\w*)\b|\breturn\s+(401|403|404|444)\b`)

// rowsNotSupported are left out. Each says how to have it otherwise.
var rowsNotSupported = []row{
	{name: "configuration-snippet", level: Unsupported, guarding: guardingSnippet, note: snippetNote + "Headers: fairlead.dev/request-headers and fairlead.dev/response-headers; redirects, limits and lists of addresses have annotations"},
	{name: "server-snippet", level: Unsupported, guarding: guardingSnippet, note: snippetNote + "Redirects, limits and lists of addresses have annotations; conditions on headers: an HTTPRoute"},
	{name: "stream-snippet", level: Unsupported, note: snippetNote + "TCP and UDP: a Service of type LoadBalancer, or a TCPRoute or UDPRoute"},
	{name: "auth-snippet", level: Unsupported, note: snippetNote + "The server that is asked gets every header of the request"},
	{name: "modsecurity-snippet", level: Unsupported, guard: true, note: wafNote},
	{name: "enable-modsecurity", level: Unsupported, guard: true, note: wafNote, idle: []string{"false"}},
	{name: "enable-owasp-core-rules", level: Unsupported, guard: true, note: wafNote, idle: []string{"false"}},
	{name: "modsecurity-transaction-id", level: Unsupported, note: wafNote},
	{name: "auth-tls-match-cn", level: Unsupported, guard: true, note: tlsNote},
	{name: "auth-proxy-set-headers", level: Unsupported, note: "the server that is asked gets every header of the request"},
	{name: "proxy-cookie-domain", level: Unsupported, note: cookieNote, idle: []string{"off"}},
	{name: "proxy-cookie-path", level: Unsupported, note: cookieNote, idle: []string{"off"}},
	{name: "proxy-redirect-from", level: Unsupported, note: redirectNote, idle: []string{"off"}},
	{name: "proxy-redirect-to", level: Unsupported, note: redirectNote, idle: []string{"off"}},
	{name: "session-cookie-partitioned", level: Unsupported, note: "the cookie has no attribute Partitioned", idle: []string{"false"}},
	{name: "mirror-host", level: Unsupported, note: "the copy has the request's host"},
	{name: "limit-rate", level: Unsupported, note: rateNote, idle: []string{"0"}},
	{name: "limit-rate-after", level: Unsupported, note: rateNote, idle: []string{"0"}},
	{name: "global-rate-limit", level: Unsupported, note: globalNote},
	{name: "global-rate-limit-window", level: Unsupported, note: globalNote},
	{name: "global-rate-limit-key", level: Unsupported, note: globalNote},
	{name: "global-rate-limit-ignored-cidrs", level: Unsupported, note: globalNote},
	{name: "fastcgi-index", level: Unsupported, note: fastNote},
	{name: "fastcgi-params-configmap", level: Unsupported, note: fastNote},
	{name: "enable-opentelemetry", level: Unsupported, note: traceNote, idle: []string{"false"}},
	{name: "opentelemetry-operation-name", level: Unsupported, note: traceNote},
	{name: "opentelemetry-trust-incoming-span", level: Unsupported, note: traceNote},
	{name: "enable-opentracing", level: Unsupported, note: traceNote, idle: []string{"false"}},
	{name: "opentracing-operation-name", level: Unsupported, note: traceNote},
	{name: "opentracing-trust-incoming-span", level: Unsupported, note: traceNote},
	{name: "enable-influxdb", level: Unsupported, note: influxNote, idle: []string{"false"}},
	{name: "influxdb-measurement", level: Unsupported, note: influxNote},
	{name: "influxdb-port", level: Unsupported, note: influxNote},
	{name: "influxdb-host", level: Unsupported, note: influxNote},
	{name: "influxdb-server-name", level: Unsupported, note: influxNote},
	{name: "secure-backends", level: Unsupported, note: "long gone from ingress-nginx: say backend-protocol: HTTPS", idle: []string{"false"}},
	{name: "base-url-scheme", level: Unsupported, note: "long gone from ingress-nginx: there is nothing in its place"},
	{name: "session-cookie-hash", level: Unsupported, note: "long gone from ingress-nginx: the cookie names an endpoint"},
}

const (
	cookieNote   = "cookies of backends go to clients as they are: have the backend set the domain and path that clients see"
	redirectNote = "redirects of backends go to clients as they are: have the backend use X-Forwarded-Host, -Proto and -Prefix"
	rateNote     = "the bytes a second are not bounded: limit-rps and limit-connections bound requests"
	globalNote   = "long gone from ingress-nginx: nodes count by themselves, with limit-rps and limit-rpm"
	fastNote     = "FastCGI is not spoken: put a server that speaks HTTP beside the program, in its pod"
	influxNote   = "long gone from ingress-nginx: /metrics has the figures for Prometheus"
)

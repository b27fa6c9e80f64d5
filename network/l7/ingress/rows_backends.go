package ingress

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"fairlead.dev/fairlead/network/l7/route"
)

// retryCodes are the answers that proxy-next-upstream can have tried again.
var retryCodes = map[string]int{
	"http_403": 403, "http_404": 404, "http_429": 429, "http_500": 500, "http_502": 502, "http_503": 503, "http_504": 504,
}

// rowsOfBackends say how backends are spoken to, and which endpoint is.
var rowsOfBackends = []row{
	{name: "backend-protocol", level: Differs, note: "HTTP, HTTPS, GRPC and GRPCS; AUTO_HTTP, FCGI and AJP are refused, and such backends answer 503", idle: []string{"http", "https", "grpc", "grpcs"}, set: protocol, otherwise: "its backends answer 503"},
	{name: "proxy-body-size", note: "without it there is no limit; ingress-nginx has 1m then", set: size(func(s *settings) *int64 { return &s.maxBody })},
	{name: "proxy-connect-timeout", set: number(1, 75, func(s *settings) *int { return &s.connect })},
	{name: "proxy-send-timeout", note: "without it there is none; ingress-nginx has 60 seconds then", set: number(1, 1<<30, func(s *settings) *int { return &s.send })},
	{name: "proxy-read-timeout", note: "without it there is none; ingress-nginx has 60 seconds then", set: number(1, 1<<30, func(s *settings) *int { return &s.read })},
	{name: "proxy-next-upstream", set: nextUpstream},
	{name: "proxy-next-upstream-tries", level: Differs, note: fmt.Sprintf("0 is %d tries instead of any number", manyTries+1), set: number(0, 1000, func(s *settings) *int { return &s.retryTries })},
	{name: "proxy-next-upstream-timeout", set: number(0, 1<<30, func(s *settings) *int { return &s.retryTimeout })},
	{name: "proxy-buffering", level: Differs, note: "on holds an answer back until it is complete, or larger than what is kept in memory; nothing is written to a file", idle: []string{"off"}, set: onOff(func(s *settings) *bool { return &s.bufferResponse })},
	{name: "proxy-request-buffering", level: Differs, note: "the default is off, and bodies stream; on holds a body back until it is complete, or larger than what is kept in memory", idle: []string{"off"}, set: onOff(func(s *settings) *bool { return &s.bufferRequest })},
	{name: "upstream-hash-by", set: func(s *settings, value string) string {
		if problem := variables(value); problem != "" {
			return problem
		}
		if value == "" {
			return "is empty"
		}
		s.balance = route.Balance{Kind: route.Hashed, HashBy: value}
		return ""
	}},
	{name: "load-balance", level: Differs, note: "ewma is least request: of two endpoints the one with fewer requests under way", idle: []string{"round_robin"}, set: func(s *settings, value string) string {
		kind, is := map[string]route.BalanceKind{"round_robin": route.RoundRobin, "ewma": route.LeastRequest}[value]
		if !is {
			return "is neither round_robin nor ewma"
		}
		if s.balance.Kind != route.Hashed { // upstream-hash-by goes before
			s.balance.Kind = kind
		}
		return ""
	}},
	{name: "enable-access-log", set: func(s *settings, value string) string {
		logged := true
		problem := flag(func(*settings) *bool { return &logged })(s, value)
		s.quiet = !logged
		return problem
	}},
	{name: "default-backend", level: Differs, note: "gets the requests for Services of the Ingress that do not exist or have no ready endpoint, at its first port; for paths that no rule has: spec.defaultBackend", set: matching(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`, "is no name of a Service", func(s *settings) *string { return &s.instead })},
	{name: "custom-http-errors", level: Differs, note: "only with default-backend, which a GET of / asks for the page; of codes by which the Ingress itself refuses, as 401 and 403 are, the answer stays", idle: []string{""}, set: codes},
	{name: "disable-proxy-intercept-errors", level: Differs, note: "has custom-http-errors count as not written", idle: []string{"false"}, set: flag(func(s *settings) *bool { return &s.keepErrors })},
	{name: "ssl-passthrough", level: Differs, note: "connections to port 443 for the Ingress's hosts go as bytes to the backend of the path /, which each has to have, and no wildcard; what else guards the Ingress closes it. Of several Ingresses with the host the eldest decides", guard: true, idle: []string{"false"}, set: flag(func(s *settings) *bool { return &s.passthrough })},
	{name: "custom-headers", level: Differs, note: "of the Ingress's own namespace only, and all that the ConfigMap has: there is no list of headers that are allowed; one with an empty value is taken out", set: matching(secretRef, "is no name of a ConfigMap", func(s *settings) *string { return &s.headersFrom })},
	{name: "proxy-ssl-verify", level: Differs, note: "against ca.crt of proxy-ssl-secret, and the name in proxy-ssl-name, which is required", guard: true, idle: []string{"off"}, set: onOff(func(s *settings) *bool { return &s.sslVerify })},
	{name: "proxy-ssl-name", set: matching(`^[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$`, "is no DNS name", func(s *settings) *string { return &s.sslName })},
	{name: "proxy-ssl-server-name", set: onOff(func(s *settings) *bool { return &s.sslSNI })},
	{name: "proxy-ssl-secret", level: Differs, note: "of the Ingress's own namespace only", guard: true, set: matching(`^([-a-z0-9]+/)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`, "is no name of a Secret", func(s *settings) *string { return &s.sslSecret })},
}

func protocol(s *settings, value string) string {
	switch strings.ToUpper(value) {
	case "HTTP":
	case "HTTPS":
		s.secure = true
	case "GRPC":
		s.protocol = route.HTTP2
	case "GRPCS":
		s.protocol, s.secure = route.HTTP2, true
	default:
		s.foreign = value
		return "is none of HTTP, HTTPS, GRPC, GRPCS"
	}
	return ""
}

func codes(s *settings, value string) string {
	var list []int
	for _, text := range members(value) {
		code, err := strconv.Atoi(text)
		if err != nil || code < 300 || code > 599 {
			return fmt.Sprintf("has %q, which is no code from 300 to 599", shortened(text))
		}
		list = append(list, code)
	}
	s.errors = list
	return ""
}

func nextUpstream(s *settings, value string) string {
	words := strings.Fields(value)
	for _, word := range words {
		if retryCodes[word] == 0 && !slices.Contains([]string{"error", "timeout", "invalid_header", "non_idempotent", "off"}, word) {
			return fmt.Sprintf("has %q, which is none of error, timeout, invalid_header, non_idempotent, off, http_403, http_404, http_429, http_500, http_502, http_503, http_504", shortened(word))
		}
	}
	if len(words) == 0 {
		return "is empty"
	}
	s.retries = words
	return ""
}

// rowsOfSessions keep a client at an endpoint.
var rowsOfSessions = []row{
	{name: "affinity", set: func(s *settings, value string) string {
		if value != "cookie" {
			return "is not cookie, the only kind there is"
		}
		s.sticky = true
		return ""
	}},
	{name: "affinity-mode", level: Differs, note: "sessions stay when endpoints are added, as with persistent", idle: []string{"persistent"}, set: oneOf(nil, "balanced", "persistent")},
	{name: "affinity-canary-behavior", level: Differs, note: "a session stays where it is, canary or not, as with sticky", idle: []string{"sticky"}, set: oneOf(nil, "sticky", "legacy")},
	{name: "session-cookie-name", set: matching("^[-!#$%&'*+.^_`|~0-9A-Za-z]+$", "is no name of a cookie", func(s *settings) *string { return &s.affinity.Cookie }), otherwise: "INGRESSCOOKIE is used"},
	{name: "session-cookie-path", set: matching(`^/[^\s;]*$`, "is no path", func(s *settings) *string { return &s.affinity.Path })},
	{name: "session-cookie-domain", set: matching(`^\.?[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?$`, "is no domain", func(s *settings) *string { return &s.affinity.Domain })},
	{name: "session-cookie-max-age", set: number(0, 1<<31-1, func(s *settings) *int { return &s.cookieAge })},
	{name: "session-cookie-expires", level: Differs, note: "said as Max-Age, which every browser knows; session-cookie-max-age goes before", set: number(0, 1<<31-1, func(s *settings) *int { return &s.cookieExpire })},
	{name: "session-cookie-change-on-failure", set: flag(func(s *settings) *bool { return &s.affinity.Rebalance })},
	{name: "session-cookie-samesite", set: oneOf(func(s *settings) *string { return &s.affinity.SameSite }, "Strict", "Lax", "None")},
	{name: "session-cookie-secure", set: flag(func(s *settings) *bool { return &s.affinity.Secure })},
}

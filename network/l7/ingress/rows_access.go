package ingress

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
)

const (
	token     = "^[-!#$%&'*+.^_`|~0-9A-Za-z]+$"
	secretRef = `^([-a-z0-9]+/)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
)

// rowsOfAccess say who may come, how often, and from pages of whom.
var rowsOfAccess = []row{
	{name: "whitelist-source-range", guard: true, set: ranges(func(s *settings) *[]netip.Prefix { return &s.allow })},
	{name: "allowlist-source-range", guard: true, set: ranges(func(s *settings) *[]netip.Prefix { return &s.allow })},
	{name: "denylist-source-range", guard: true, set: ranges(func(s *settings) *[]netip.Prefix { return &s.deny })},
	{name: "limit-rps", level: Differs, note: limitNote, set: number(0, 1_000_000, func(s *settings) *int { return &s.perSecond })},
	{name: "limit-rpm", level: Differs, note: limitNote, set: number(0, 1_000_000, func(s *settings) *int { return &s.perMinute })},
	{name: "limit-connections", level: Differs, note: "counts requests under way, on each node by itself; more get 503", set: number(0, 1_000_000, func(s *settings) *int { return &s.atOnce })},
	{name: "limit-burst-multiplier", set: number(1, 1000, func(s *settings) *int { return &s.burst }), otherwise: "5 is used"},
	{name: "limit-whitelist", set: ranges(func(s *settings) *[]netip.Prefix { return &s.unlimited })},
	{name: "limit-allowlist", set: ranges(func(s *settings) *[]netip.Prefix { return &s.unlimited })},
	{name: "enable-cors", set: flag(func(s *settings) *bool { return &s.cors })},
	{name: "cors-allow-origin", level: Differs, note: "a wildcard covers labels of any number", otherwise: "no origin is allowed", set: orNothing(func(s *settings) { s.corsSet.Origins = nil }, listOf(`^(\*|https?://(\*\.)?[A-Za-z0-9]([-A-Za-z0-9.]*[A-Za-z0-9])?(:[0-9]+)?)$`, "is no origin like https://example.org:8443 or https://*.example.org", func(s *settings) *[]string { return &s.corsSet.Origins }))},
	{name: "cors-allow-methods", set: listOf(`^([A-Za-z]+|\*)$`, "is no method", func(s *settings) *[]string { return &s.corsSet.Methods })},
	{name: "cors-allow-headers", set: listOf(token, "is no name of a header", func(s *settings) *[]string { return &s.corsSet.Headers })},
	{name: "cors-expose-headers", set: listOf(token, "is no name of a header", func(s *settings) *[]string { return &s.corsSet.Expose })},
	{name: "cors-allow-credentials", note: "the default is true, but browsers take none where the origin is *", otherwise: "none are allowed", set: orNothing(func(s *settings) { s.corsSet.Credentials = false }, flag(func(s *settings) *bool { return &s.corsSet.Credentials }))},
	{name: "cors-max-age", set: number(0, 1<<31-1, func(s *settings) *int { return &s.corsAge })},
}

// orNothing has a wrong value allow less than no value does.
func orNothing(nothing func(*settings), set func(*settings, string) string) func(*settings, string) string {
	return func(s *settings, value string) string {
		problem := set(s, value)
		if problem != "" {
			nothing(s)
		}
		return problem
	}
}

const limitNote = "counted on each node by itself; of limit-rps and limit-rpm the stricter holds"

// rowsOfAuthentication say who somebody is.
var rowsOfAuthentication = []row{
	{name: "auth-tls-secret", level: Differs, note: "of the Ingress's own namespace only, with ca.crt; each of its certificates is trusted as it is, and with ca.crl nothing is served. Without TLS there is a 400 as well", guard: true, set: matching(secretRef, "is no name of a Secret", func(s *settings) *string { return &s.clientSecret })},
	{name: "auth-tls-verify-client", guard: true, idle: []string{"off"}, set: oneOf(func(s *settings) *string { return &s.clientVerify }, "on", "off", "optional", "optional_no_ca")},
	{name: "auth-tls-verify-depth", level: Differs, note: "counts the authorities between one of ca.crt and the certificate, and no authority is looked for beyond those of ca.crt", set: number(1, 100, func(s *settings) *int { return &s.clientDepth }), otherwise: "1 is used"},
	{name: "auth-tls-error-page", level: Differs, note: "an address, to which who is not let in is sent by a 302; not a named location", set: place(func(s *settings) *string { return &s.clientError })},
	{name: "auth-tls-pass-certificate-to-upstream", set: flag(func(s *settings) *bool { return &s.clientPass })},
	{name: "auth-type", guard: true, set: oneOf(func(s *settings) *string { return &s.authType }, "basic")},
	{name: "auth-secret", level: Differs, note: "of the Ingress's own namespace only, with hashes of bcrypt ($2y$), apr1 and SHA-1 ({SHA})", guard: true, set: matching(secretRef, "is no name of a Secret", func(s *settings) *string { return &s.authSecret })},
	{name: "auth-secret-type", guard: true, set: func(s *settings, value string) string {
		s.authByUser = value == "auth-map"
		return oneOf(nil, "auth-file", "auth-map")(s, value)
	}},
	{name: "auth-realm", set: matching(`^[^"\\\x00-\x1f\x7f]+$`, "has characters that a realm cannot", func(s *settings) *string { return &s.authRealm })},
	{name: "auth-url", level: Differs, note: "not an address that is the node's own, as 127.0.0.1 is; NAME.NAMESPACE.svc is asked by its endpoints", guard: true, set: func(s *settings, value string) string {
		if ofTheNode(value) {
			return "is the node's own address: whoever may write an Ingress must not ask there"
		}
		return authAddress(func(s *settings) *string { return &s.authURL })(s, value)
	}},
	{name: "auth-method", guard: true, set: matching(`^[A-Z]+$`, "is no method in capitals", func(s *settings) *string { return &s.authMethod })},
	{name: "auth-signin", set: authAddress(func(s *settings) *string { return &s.signIn })},
	{name: "auth-signin-redirect-param", set: matching(`^[-A-Za-z0-9._~]+$`, "is no name of a parameter", func(s *settings) *string { return &s.signParam }), otherwise: "rd is used"},
	{name: "auth-response-headers", set: listOf(token, "is no name of a header", func(s *settings) *[]string { return &s.authCopy })},
	{name: "auth-request-redirect", set: func(s *settings, value string) string {
		if problem := variables(value); problem != "" {
			return problem
		}
		return matching(`^[^\s"\\]+$`, "is no address", func(s *settings) *string { return &s.authRedirect })(s, value)
	}},
}

var addressed = regexp.MustCompile(`^https?://[^\s"\\]+$`)

// authAddress reads the address of a server that is asked, or of a page.
func authAddress(field func(*settings) *string) func(*settings, string) string {
	return func(s *settings, value string) string {
		if problem := variables(value); problem != "" {
			return problem
		}
		plain := strings.NewReplacer("$", "", "{", "", "}", "").Replace(value)
		if u, err := url.Parse(plain); err != nil || !addressed.MatchString(value) || u.Hostname() == "" || strings.Contains(u.Hostname(), "..") {
			return "is no address that begins with http:// or https://"
		}
		*field(s) = value
		return ""
	}
}

// ofTheNode reports whether an address is written as one that nodes alone reach: of the node itself, or of its link, where clouds
// give away credentials.
func ofTheNode(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	host := strings.ToLower(strings.TrimSuffix(u.Hostname(), "."))
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return host == "localhost" || strings.HasSuffix(host, ".localhost")
	}
	addr = addr.Unmap()
	return addr.IsLoopback() || addr.IsUnspecified() || addr.IsLinkLocalUnicast() || addr.IsMulticast()
}

// rowsOfCanaries make an Ingress an alternative for some of the requests of another.
var rowsOfCanaries = []row{
	{name: "canary", set: flag(func(s *settings) *bool { return &s.canary.on })},
	{name: "canary-by-header", set: matching(token, "is no name of a header", func(s *settings) *string { return &s.canary.header })},
	{name: "canary-by-header-value", set: matching(`^[^\x00-\x1f\x7f]+$`, "is no value of a header", func(s *settings) *string { return &s.canary.value })},
	{name: "canary-by-header-pattern", level: Differs, note: "an expression of RE2", set: func(s *settings, value string) string {
		if _, problem := compile(value); problem != "" {
			return problem
		}
		s.canary.pattern = value
		return ""
	}},
	{name: "canary-by-cookie", set: matching(token, "is no name of a cookie", func(s *settings) *string { return &s.canary.cookie })},
	{name: "canary-weight", set: number(0, 1_000_000, func(s *settings) *int { return &s.canary.weight })},
	{name: "canary-weight-total", set: number(1, 1_000_000, func(s *settings) *int { return &s.canary.total }), otherwise: "100 is used"},
}

// together says what is wrong with annotations only beside each other.
func (s *settings) together(namespace string) []Line {
	var lines []Line
	say := func(guard bool, name, format string, args ...any) {
		line := Line{Annotation: name, Level: Wrong, Text: fmt.Sprintf(format, args...)}
		if guard {
			s.close(&line)
		}
		lines = append(lines, line)
	}
	foreign := func(ref string) bool {
		ns, _, qualified := strings.Cut(ref, "/")
		return qualified && ns != namespace
	}
	if s.authType != "" && s.authSecret == "" && s.closed == "" {
		say(true, "auth-type", "has no auth-secret with the users beside it")
	}
	if foreign(s.authSecret) {
		say(true, "auth-secret", "names a Secret of another namespace, which whoever may write an Ingress here must not use")
	}
	if foreign(s.headersFrom) {
		say(false, "custom-headers", "names a ConfigMap of another namespace, which whoever may write an Ingress here must not use; answers have none of its headers")
	}
	if foreign(s.clientSecret) {
		say(true, "auth-tls-secret", "names a Secret of another namespace, which whoever may write an Ingress here must not use")
	}
	if s.clientVerify != "" && s.clientVerify != "off" && s.clientSecret == "" && s.closed == "" {
		say(true, "auth-tls-verify-client", "has no auth-tls-secret with the authorities beside it")
	}
	if len(s.errors) > 0 && s.instead == "" {
		say(false, "custom-http-errors", "has no default-backend beside it, which would have the pages: answers go to clients as they are")
	}
	if guard := s.guard(); s.passthrough && guard != "" {
		say(true, "ssl-passthrough", "is beside %s, which cannot be kept where connections pass as bytes", guard)
	}
	if foreign(s.sslSecret) {
		say(true, "proxy-ssl-secret", "names a Secret of another namespace, which whoever may write an Ingress here must not use")
	}
	if s.secure && s.sslVerify && (s.sslName == "" || s.sslSecret == "") {
		say(true, "proxy-ssl-verify", "has no proxy-ssl-name and proxy-ssl-secret beside it: there is nothing to verify against")
	}
	if s.canary.on && s.canary.header == "" && (s.canary.value != "" || s.canary.pattern != "") {
		say(false, "canary-by-header", "is missing: a value or pattern without the header's name says nothing")
	}
	if s.canary.weight > s.canary.total {
		say(false, "canary-weight", "is %d of %d: all requests go to the canary", s.canary.weight, s.canary.total)
		s.canary.weight = s.canary.total
	}
	if s.regex && s.sticky && s.affinity.Path == "" {
		say(false, "session-cookie-path", "is missing: a cookie has no expression as its path, so / is used")
		s.affinity.Path = "/"
	}
	return lines
}

package ingress

import (
	"fmt"
	"strings"

	"fairlead.dev/fairlead/network/l7/route"
)

// rowsOfPaths say which requests are meant, and what path they go on with.
var rowsOfPaths = []row{
	{name: "rewrite-target", level: Differs, note: "for the paths of this Ingress, which are read as with use-regex; paths of other Ingresses of the host stay as their pathType says",
		set: matching(`^[/$][^\s?]*$`, "is no path, which begins with / or a group like $1; an address is given with permanent-redirect or temporal-redirect", func(s *settings) *string { return &s.rewrite })},
	{name: "use-regex", level: Differs, note: "for the paths of this Ingress that are of type ImplementationSpecific, or of type Prefix with characters that only an expression has; Exact stays exact. Expressions are RE2's",
		idle: []string{"false"}, set: flag(func(s *settings) *bool { return &s.regex })},
	{name: "app-root", set: matching(`^/[^\s$]*$`, "is no path that begins with /", func(s *settings) *string { return &s.appRoot })},
	{name: "server-alias", level: Differs, note: "names and wildcards like *.example.org; expressions (~...) are refused. As there, a host that an Ingress has as its own goes before",
		set: listOf(`^(\*\.)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`, "is no host name in lower case", func(s *settings) *[]string { return &s.aliases })},
	{name: "x-forwarded-prefix", set: matching(`^[^\s$]+$`, "is no text for a header", func(s *settings) *string { return &s.forwardedPrefix })},
	{name: "upstream-vhost", level: Differs, note: "a name, without variables",
		set: matching(`^[A-Za-z0-9]([-A-Za-z0-9._:]*[A-Za-z0-9])?$`, "is no host name", func(s *settings) *string { return &s.vhost })},
	{name: "mirror-target", level: Differs, note: "to a Service of the namespace or another by its name in the cluster, http://NAME.NAMESPACE.svc[:PORT]; the copy has the path of the request",
		set: matching(`^https?://[a-z0-9][-a-z0-9.]*\.svc(\.[-a-z0-9.]+)?(:[0-9]+)?(/?\$request_uri|/)?$`, "is no http://NAME.NAMESPACE.svc:PORT$request_uri: copies go to Services", func(s *settings) *string { return &s.mirror })},
}

// rowsOfRedirects answer with another place.
var rowsOfRedirects = []row{
	{name: "ssl-redirect", note: "the default is true with the class nginx only: with others, HTTP goes on being served, as the specification of Ingress has it",
		set: func(s *settings, value string) string {
			var b bool
			problem := flag(func(*settings) *bool { return &b })(s, value)
			if problem == "" {
				s.sslRedirect = &b
			}
			return problem
		}},
	{name: "force-ssl-redirect", set: flag(func(s *settings) *bool { return &s.forceSSL })},
	{name: "preserve-trailing-slash", note: "redirects keep the path as it is", set: flag(func(*settings) *bool { return new(bool) })},
	{name: "permanent-redirect", set: place(func(s *settings) *string { return &s.permanent })},
	{name: "permanent-redirect-code", set: number(301, 308, func(s *settings) *int { return &s.permanentCode }), otherwise: "301 is used"},
	{name: "temporal-redirect", set: place(func(s *settings) *string { return &s.temporal })},
	{name: "temporal-redirect-code", set: number(301, 308, func(s *settings) *int { return &s.temporalCode }), otherwise: "302 is used"},
	{name: "from-to-www-redirect", set: flag(func(s *settings) *bool { return &s.www })},
}

// place reads where a redirect leads to.
func place(field func(*settings) *string) func(*settings, string) string {
	form := matching(`^(https?://|/|\$scheme://|\$request_uri)[^\s"\\]*$`, "is no address that begins with http://, https:// or /", field)
	return func(s *settings, value string) string {
		if problem := variables(value); problem != "" {
			return problem
		}
		return form(s, value)
	}
}

// variables says which of the variables in a text there is not.
func variables(value string) string {
	for _, name := range route.Variables(value) {
		if !route.IsVariable(name) {
			return fmt.Sprintf("has $%s: there is no such variable here", name)
		}
	}
	return ""
}

// isExpression reports whether a path has characters that only an expression has.
func isExpression(path string) bool { return strings.ContainsAny(path, `\+*?()|[]{}^$`) }

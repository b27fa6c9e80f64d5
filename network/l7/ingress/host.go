package ingress

import (
	"cmp"
	"fmt"
	"strings"

	"fairlead.dev/fairlead/network/l7/route"
)

// otherNames are the hosts that stand for those of the rules: server-alias, and the other half of from-to-www-redirect.
func (d *derivation) otherNames() {
	if d.canary != nil {
		return
	}
	var first string
	for _, r := range d.ing.Spec.Rules {
		if r.Host == "" {
			continue
		}
		if first == "" {
			first = r.Host
		}
		if d.settings.www && !strings.HasPrefix(r.Host, "*") {
			d.www = append(d.www, r.Host)
		}
	}
	if first == "" && len(d.settings.aliases) > 0 {
		d.find(HostTaken, Wrong, "server-alias", "no rule has a host that it could be another name of", "Write the names as hosts of rules")
		return
	}
	if len(d.settings.aliases) > 0 {
		d.aliases = map[string]string{}
	}
	for _, alias := range d.settings.aliases {
		d.aliases[alias] = first
	}
}

// otherHalf is a host with www. if it is without, and without if it is with.
func otherHalf(host string) string {
	if rest, is := strings.CutPrefix(host, "www."); is {
		return rest
	}
	return "www." + host
}

// merged are the rules of one host.
type merged struct {
	plain, secure *route.Host     // of port 80 and 443; the same where nothing is sent to HTTPS. nil: there are no rules
	through       *route.Listener // has connections to 443 pass as bytes; nil: TLS ends here
	findings      []Finding
}

// merge makes the rules of a host, under a name that may be another than its own, of all paths for it. Where two hold for the same
// requests, the elder Ingress has it (I52). HTTPS is at a port, 0 for its own.
func merge(as, name string, s *state, port int) merged {
	var m merged
	used := map[*path]bool{}
	differ := false
	plain, secure := make([]*route.Rule, 0, len(s.paths)), make([]*route.Rule, 0, len(s.paths))
	var last *path
	for _, p := range s.paths {
		if last != nil && last.same(p) {
			m.find(p, PathTaken, fmt.Sprintf("has the same host and path as %s of Ingress %s, which is older or comes first, and has them", last.where, last.part.age.Name), "Remove one of them")
			continue
		}
		last = p
		from := len(secure)
		secure = m.withCanary(secure, p, s.canaries, used)
		if !p.plain && (p.part.toHTTPS == always || s.secured > 0 && p.part.toHTTPS == withTLS) {
			plain, differ = append(plain, toHTTPS(p.rule, port)), true
		} else {
			plain = append(plain, secure[from:]...)
		}
	}
	for _, c := range s.canaries {
		if !used[c] {
			m.find(c, CanaryAlone, "is a canary of no path: no other Ingress of the namespace has host "+shown(name)+" with this path, or another is its canary already",
				"Write an Ingress without canary for it, or correct host and path")
		}
	}
	if len(secure) == 0 {
		return m
	}
	m.secure = &route.Host{Name: as, OneLabel: true, Final: true, Rules: secure}
	m.plain = m.secure
	if differ {
		m.plain = &route.Host{Name: as, OneLabel: true, Final: true, Rules: plain}
	}
	return m
}

func shown(host string) string {
	if host == "" {
		return "*"
	}
	return host
}

// wildcardOf is the wildcard that covers a host.
func wildcardOf(host string) string {
	_, rest, _ := strings.Cut(host, ".")
	return "*." + rest
}

// precedence orders the paths of a host (I36-I37). Expressions of one length are in the reverse of their order as text, as in
// ingress-nginx; other paths of one kind and length never hold for the same request unless they are the same.
func precedence(a, b *path) int {
	if c := cmp.Or(cmp.Compare(a.rank, b.rank), -cmp.Compare(a.length(), b.length())); c != 0 {
		return c
	}
	return cmp.Or(cmp.Compare(kindOrder[a.rule.Match.Path.Kind], kindOrder[b.rule.Match.Path.Kind]), -cmp.Compare(a.value(), b.value()), seniority(a, b))
}

// seniority orders paths by the age of their Ingress, and then by their place in it.
func seniority(a, b *path) int {
	return cmp.Or(a.part.age.Compare(b.part.age), cmp.Compare(a.place, b.place))
}

// same reports whether two paths hold for the same requests.
func (p *path) same(o *path) bool {
	return p.rank == o.rank && p.rule.Match.Path.Kind == o.rule.Match.Path.Kind && p.value() == o.value()
}

var kindOrder = [...]int{route.Exact: 0, route.Prefix: 1, route.Start: 2, route.Regex: 3}

// length is how long a path is to the specification: a slash at the end of a prefix does not count.
func (p *path) length() int { return len(p.value()) }

func (p *path) value() string {
	m := &p.rule.Match.Path
	if m.Kind == route.Prefix {
		return strings.TrimSuffix(m.Value, "/")
	}
	return m.Value
}

func (m *merged) find(p *path, code, sentence, remedy string) {
	m.findings = append(m.findings, Finding{Ingress: p.part.age.Name, Code: code, Level: Wrong, Where: p.where, Sentence: sentence, Remedy: remedy})
}

// redirection is when requests without TLS are sent to HTTPS.
type redirection uint8

const (
	never   redirection = iota
	withTLS             // of hosts that have TLS
	always
)

// redirection is as it is asked for, and by default with TLS for the class nginx.
func (s *settings) redirection(class string) redirection {
	switch {
	case s.forceSSL:
		return always
	case s.sslRedirect == nil && class == ClassNginx, s.sslRedirect != nil && *s.sslRedirect:
		return withTLS
	}
	return never
}

// ClassNginx is the name of the class whose Ingresses were written for ingress-nginx.
const ClassNginx = "nginx"

// toHTTPS is a rule that sends what another would take to the same place with TLS.
func toHTTPS(rule *route.Rule, port int) *route.Rule {
	return &route.Rule{Source: rule.Source, Match: rule.Match, Action: route.Action{
		Quiet: rule.Action.Quiet, Redirect: &route.Redirect{Status: 308, Scheme: "https", Port: port},
	}}
}

// toOtherHalf has a host send everything to the one with, or without, www.
func toOtherHalf(name, to string, source route.Source) *route.Host {
	return &route.Host{Name: name, OneLabel: true, Final: true, Rules: []*route.Rule{{
		Source: source, Match: route.Match{Path: route.Path{Kind: route.Prefix, Value: "/"}},
		Action: route.Action{Redirect: &route.Redirect{Status: 308, Host: to}},
	}}}
}

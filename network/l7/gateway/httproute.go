package gateway

import (
	"fmt"
	"net/textproto"
	"regexp"
	"slices"
	"strconv"
	"time"

	gw "sigs.k8s.io/gateway-api/apis/v1"

	"fairlead.dev/fairlead/network/l7/route"
)

// httpRoute translates the rules of an HTTPRoute.
func (w *translator) httpRoute(o *gw.HTTPRoute) {
	for i := range o.Spec.Rules {
		rule := &o.Spec.Rules[i]
		action, err := w.httpAction(rule)
		matches := make([]route.Match, len(rule.Matches))
		for j := range rule.Matches {
			if err == nil {
				matches[j], err = httpMatch(&rule.Matches[j])
			}
		}
		if len(matches) == 0 {
			matches = []route.Match{{Path: route.Path{Value: "/"}}}
		}
		w.add(i, text(rule.Name), matches, action, err)
	}
	w.judge(len(o.Spec.Rules))
}

// add takes a rule with each of its matches. One that says what is not supported is left out, and said so.
func (w *translator) add(place int, name string, matches []route.Match, action route.Action, err error) {
	if err != nil {
		v := no(gw.RouteReasonUnsupportedValue, fmt.Sprintf("rules[%d]: %v", place, err))
		w.partly = &v
		return
	}
	source := w.source
	if source.Rule = name; name == "" {
		source.Rule = strconv.Itoa(place)
	}
	for _, m := range matches {
		w.rules = append(w.rules, ordered{&route.Rule{Source: source, Match: m, Action: action}, precedence(&m)})
	}
}

// judge says what becomes of a route some of whose rules are not supported.
func (w *translator) judge(rules int) {
	switch {
	case w.partly == nil:
	case len(w.rules) == 0 && rules > 0:
		w.accepted, w.partly = *w.partly, nil
	default:
		w.partly.no, w.partly.message = false, "Dropped rule: "+w.partly.message
	}
}

// precedence puts matches in order, as HTTPRoute does it: exact paths, then longer ones, those with a method, with more headers, with
// more parameters. Regular expressions are between exact paths and prefixes.
func precedence(m *route.Match) uint64 {
	kind := map[route.PathKind]uint64{route.Exact: 2, route.Regex: 1}[m.Path.Kind]
	p := kind<<40 | uint64(len(m.Path.Value))<<20 | uint64(len(m.Headers))<<8 | uint64(len(m.Query))
	if m.Method != "" {
		p |= 1 << 19
	}
	return p
}

// httpMatch is what a match asks for. Of several conditions on the same name the first counts.
func httpMatch(m *gw.HTTPRouteMatch) (route.Match, error) {
	out := route.Match{Method: text(m.Method), Path: route.Path{Value: "/"}}
	if m.Path != nil {
		path, err := httpPath(or(m.Path.Type, string(gw.PathMatchPathPrefix)), or(m.Path.Value, "/"))
		if err != nil {
			return out, err
		}
		out.Path = path
	}
	for _, h := range m.Headers {
		c, err := valueMatch(textproto.CanonicalMIMEHeaderKey(string(h.Name)), h.Value, text(h.Type) == string(gw.HeaderMatchRegularExpression))
		if err != nil {
			return out, err
		}
		out.Headers = addFirst(out.Headers, c)
	}
	for _, q := range m.QueryParams {
		c, err := valueMatch(string(q.Name), q.Value, text(q.Type) == string(gw.QueryParamMatchRegularExpression))
		if err != nil {
			return out, err
		}
		out.Query = addFirst(out.Query, c)
	}
	return out, nil
}

func httpPath(kind, value string) (route.Path, error) {
	normal, ok := route.NormalPath(value)
	switch gw.PathMatchType(kind) {
	case gw.PathMatchExact, gw.PathMatchPathPrefix:
		if !ok {
			return route.Path{}, fmt.Errorf("%q is not a path", value)
		}
		if kind == string(gw.PathMatchExact) {
			return route.Path{Kind: route.Exact, Value: normal}, nil
		}
		return route.Path{Kind: route.Prefix, Value: normal}, nil
	case gw.PathMatchRegularExpression:
		pattern, err := whole(value)
		return route.Path{Kind: route.Regex, Value: value, Pattern: pattern}, err
	}
	return route.Path{}, fmt.Errorf("paths of type %s are not supported: use Exact, PathPrefix or RegularExpression", kind)
}

// whole is a regular expression (RE2) that has to match the whole of what is compared.
func whole(expression string) (*regexp.Regexp, error) {
	pattern, err := regexp.Compile(`^(?:` + expression + `)$`)
	if err != nil {
		return nil, fmt.Errorf("regular expression %q: %w", expression, err)
	}
	return pattern, nil
}

func valueMatch(name, value string, regular bool) (route.ValueMatch, error) {
	c := route.ValueMatch{Name: name, Value: value}
	if !regular {
		return c, nil
	}
	var err error
	c.Pattern, err = whole(value)
	return c, err
}

func addFirst(list []route.ValueMatch, c route.ValueMatch) []route.ValueMatch {
	if slices.ContainsFunc(list, func(other route.ValueMatch) bool { return other.Name == c.Name }) {
		return list
	}
	return append(list, c)
}

// httpAction is what a rule does.
func (w *translator) httpAction(rule *gw.HTTPRouteRule) (route.Action, error) {
	var a route.Action
	f, err := w.filters(rule.Filters)
	if err != nil {
		return a, err
	}
	a.CORS, a.Redirect, a.Respond, a.Rewrite, a.Request, a.Response, a.Mirrors = f.cors, f.redirect, f.respond, f.rewrite, f.request, f.response, f.mirrors
	for _, ref := range rule.BackendRefs {
		b := w.backend(ref.BackendObjectReference, ref.Weight)
		f, err := w.filters(ref.Filters)
		switch {
		case err != nil:
			return a, err
		case f.redirect != nil || f.cors != nil:
			return a, fmt.Errorf("filters RequestRedirect and CORS are for rules, not for one of their backends")
		case f.respond != nil:
			b.Broken = f.respond.Body
		}
		b.Request, b.Response, b.Rewrite, b.Mirrors = f.request, f.response, f.rewrite, f.mirrors
		a.Backends = append(a.Backends, b)
	}
	if t := rule.Timeouts; t != nil {
		a.Timeouts.Request, a.Timeouts.Backend = duration(t.Request), duration(t.BackendRequest)
	}
	if r := rule.Retry; r != nil {
		a.Retry = retry(r)
	}
	if s := rule.SessionPersistence; s != nil {
		a.Affinity, err = affinity(s)
	}
	return a, err
}

// retry is when a request is tried again. Whoever asks for it wants it for connections that break and tries that time out as well.
func retry(r *gw.HTTPRouteRetry) route.Retry {
	out := route.Retry{Tries: 1, Backoff: duration(r.Backoff), OnError: true, OnSlow: true}
	if r.Attempts != nil {
		out.Tries = *r.Attempts
	}
	for _, c := range r.Codes {
		out.Codes = append(out.Codes, int(c))
	}
	return out
}

func affinity(s *gw.SessionPersistence) (*route.Affinity, error) {
	if text(s.Type) == string(gw.HeaderBasedSessionPersistence) {
		return nil, fmt.Errorf("session persistence by a header is not supported: use Cookie")
	}
	a := &route.Affinity{Cookie: or(s.SessionName, "fairlead-session"), Absolute: duration(s.AbsoluteTimeout)}
	if c := s.CookieConfig; c != nil && text(c.LifetimeType) == string(gw.PermanentCookieLifetimeType) {
		a.MaxAge = a.Absolute
	}
	return a, nil
}

// duration is a Duration of Gateway API, which is one of Go's. What the definitions let through can be read.
func duration(d *gw.Duration) time.Duration {
	value, err := time.ParseDuration(text(d))
	if err != nil {
		return 0
	}
	return value
}

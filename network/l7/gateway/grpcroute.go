package gateway

import (
	"fmt"
	"net/textproto"
	"regexp"

	gw "sigs.k8s.io/gateway-api/apis/v1"

	"fairlead.dev/fairlead/network/l7/route"
)

// grpcRoute translates the rules of a GRPCRoute: a call is a request with the path /SERVICE/METHOD.
func (w *translator) grpcRoute(o *gw.GRPCRoute) {
	for i := range o.Spec.Rules {
		rule := &o.Spec.Rules[i]
		action, err := w.grpcAction(rule)
		matches := make([]route.Match, len(rule.Matches))
		for j := range rule.Matches {
			if err == nil {
				matches[j], err = grpcMatch(&rule.Matches[j])
			}
		}
		if len(matches) == 0 {
			matches = []route.Match{{Path: route.Path{Value: "/"}}}
		}
		w.add(i, text(rule.Name), matches, action, err)
	}
	w.judge(len(o.Spec.Rules))
}

func grpcMatch(m *gw.GRPCRouteMatch) (route.Match, error) {
	out := route.Match{Path: route.Path{Value: "/"}}
	if m.Method != nil {
		path, err := grpcPath(m.Method)
		if err != nil {
			return out, err
		}
		out.Path = path
	}
	for _, h := range m.Headers {
		c, err := valueMatch(textproto.CanonicalMIMEHeaderKey(string(h.Name)), h.Value, text(h.Type) == string(gw.GRPCHeaderMatchRegularExpression))
		if err != nil {
			return out, err
		}
		out.Headers = addFirst(out.Headers, c)
	}
	return out, nil
}

// grpcPath is the path of calls to a service and a method, of which one may be left out.
func grpcPath(m *gw.GRPCMethodMatch) (route.Path, error) {
	service, method := text(m.Service), text(m.Method)
	switch gw.GRPCMethodMatchType(or(m.Type, string(gw.GRPCMethodMatchExact))) {
	case gw.GRPCMethodMatchExact:
		switch {
		case service != "" && method != "":
			return route.Path{Kind: route.Exact, Value: "/" + service + "/" + method}, nil
		case service != "":
			return route.Path{Kind: route.Prefix, Value: "/" + service + "/"}, nil
		case method != "":
			service, method = "", regexp.QuoteMeta(method)
		}
	case gw.GRPCMethodMatchRegularExpression:
	default:
		return route.Path{}, fmt.Errorf("method matches of type %s are not supported: use Exact or RegularExpression", *m.Type)
	}
	value := "/" + expression(service) + "/" + expression(method)
	pattern, err := whole(value)
	return route.Path{Kind: route.Regex, Value: value, Pattern: pattern}, err
}

// expression is one for an element of a path, any if it is empty.
func expression(element string) string {
	if element == "" {
		return "[^/]+"
	}
	return "(?:" + element + ")"
}

func (w *translator) grpcAction(rule *gw.GRPCRouteRule) (route.Action, error) {
	var a route.Action
	f, err := w.grpcFilters(rule.Filters)
	if err != nil {
		return a, err
	}
	a.Respond, a.Request, a.Response, a.Mirrors = f.respond, f.request, f.response, f.mirrors
	for _, ref := range rule.BackendRefs {
		b := w.backend(ref.BackendObjectReference, ref.Weight)
		f, err := w.grpcFilters(ref.Filters)
		if err != nil {
			return a, err
		}
		if f.respond != nil {
			b.Broken = f.respond.Body
		}
		b.Request, b.Response, b.Mirrors = f.request, f.response, f.mirrors
		a.Backends = append(a.Backends, b)
	}
	if s := rule.SessionPersistence; s != nil {
		a.Affinity, err = affinity(s)
	}
	return a, err
}

func (w *translator) grpcFilters(list []gw.GRPCRouteFilter) (filtered, error) {
	same := make([]gw.HTTPRouteFilter, len(list))
	for i, f := range list {
		same[i] = gw.HTTPRouteFilter{
			Type: gw.HTTPRouteFilterType(f.Type), RequestHeaderModifier: f.RequestHeaderModifier, ResponseHeaderModifier: f.ResponseHeaderModifier,
			RequestMirror: f.RequestMirror, ExtensionRef: f.ExtensionRef,
		}
	}
	return w.filters(same)
}

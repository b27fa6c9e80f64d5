package ingress

import (
	"net/textproto"

	"fairlead.dev/fairlead/network/l7/route"
)

// withCanary adds the rules of a path with those of its canary, if it has one: the eldest of its namespace with the same path. What is
// done with a request is as the path's own Ingress says, except for how an endpoint of the canary is chosen. A header decides before
// a cookie, and that before chance, as in ingress-nginx.
func (m *merged) withCanary(rules []*route.Rule, p *path, canaries []*path, used map[*path]bool) []*route.Rule {
	var c *path
	for _, one := range canaries {
		if one.as == p.as && one.part.age.Name.Namespace == p.part.age.Name.Namespace {
			c = one
			break
		}
	}
	if c == nil || len(p.rule.Action.Backends) == 0 {
		return append(rules, p.rule)
	}
	used[c] = true
	is, to := c.part.canary, c.rule.Action.Backends[0]
	own := p.rule.Action.Backends[0]
	to.Protocol, to.TLS = own.Protocol, own.TLS
	when := func(canary bool, header, cookie []route.ValueMatch) {
		r := *p.rule
		r.Match.Headers, r.Match.Cookies = header, cookie
		if canary {
			r.Source, r.Action.Backends = c.rule.Source, []route.Backend{to}
			if b := c.part.balance; b != (route.Balance{}) {
				r.Action.Balance = b
			}
		}
		rules = append(rules, &r)
	}
	if is.header != "" {
		name := textproto.CanonicalMIMEHeaderKey(is.header)
		switch {
		case is.value != "":
			when(true, []route.ValueMatch{{Name: name, Value: is.value}}, nil)
		case is.pattern != "":
			if re, problem := compile(is.pattern); problem == "" {
				when(true, []route.ValueMatch{{Name: name, Pattern: re}}, nil)
			}
		default:
			when(true, []route.ValueMatch{{Name: name, Value: "always"}}, nil)
			when(false, []route.ValueMatch{{Name: name, Value: "never"}}, nil)
		}
	}
	if is.cookie != "" {
		when(true, nil, []route.ValueMatch{{Name: is.cookie, Value: "always"}})
		when(false, nil, []route.ValueMatch{{Name: is.cookie, Value: "never"}})
	}
	last := *p.rule
	if is.weight > 0 {
		own.Weight, to.Weight = int32(is.total-is.weight), int32(is.weight)
		last.Action.Backends = []route.Backend{own, to}
	}
	return append(rules, &last)
}

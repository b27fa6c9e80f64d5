package route

import "strings"

// Hosts are the rules of a Listener by the host that requests are for. Make one with NewHosts or With.
type Hosts struct {
	exact names[Host]
	wild  names[Host] // by what follows the "*", with its dot
	any   *Host
}

// Host is the rules for one host name, in order of precedence.
type Host struct {
	// Name is a DNS name in lower case, "*.example.org", or empty for every host.
	Name string
	// OneLabel has a wildcard cover exactly one label, as in Ingress; otherwise one or more, as in Gateway API.
	OneLabel bool
	// Final has a request that meets none of the rules not look further at wildcards that hold for it as well.
	Final bool
	Rules []*Rule

	index *index // of Rules, once it belongs to Hosts and has more than a few
}

// Request is what rules look at. Host is in lower case and without a port, Path in its normal form (NormalPath).
type Request struct {
	Host, Method, Path string
	Values
}

// Values are the parts of a request that few rules ask for.
type Values interface {
	Header(name string) (value string, is bool) // by canonical name, the first of several
	Parameter(name string) (value string, is bool)
	Cookie(name string) (value string, is bool)
}

// NewHosts returns the rules of some hosts, whose names all differ. They belong to it from then on, and are not changed any more.
func NewHosts(all []*Host) *Hosts { return (&Hosts{}).With(all, nil) }

// With returns Hosts in which the rules of some hosts are those given, and others, by name, are gone. It shares everything else
// with h, which stays as it is: the cost is that of the change.
func (h *Hosts) With(changed []*Host, removed []string) *Hosts {
	next := *h
	exact, wild := map[string]*Host{}, map[string]*Host{}
	put := func(name string, host *Host) {
		suffix, is := strings.CutPrefix(name, "*")
		switch {
		case name == "":
			next.any = host
		case is:
			wild[suffix] = host
		default:
			exact[name] = host
		}
	}
	for _, name := range removed {
		put(name, nil)
	}
	for _, host := range changed {
		if host.index == nil && len(host.Rules) > few {
			host.index = newIndex(host.Rules)
		}
		put(host.Name, host)
	}
	next.exact, next.wild = h.exact.with(exact), h.wild.with(wild)
	return &next
}

// Each gives every host, in no order.
func (h *Hosts) Each(yield func(*Host) bool) {
	if h.any != nil && !yield(h.any) {
		return
	}
	for _, n := range []*names[Host]{&h.exact, &h.wild} {
		for _, host := range n.all {
			if !yield(host) {
				return
			}
		}
	}
}

// Since tells a table from the one that it was made from: come gets every host that is not the same in before, gone every one of before
// that is not the same any more. Of Hosts that share what has not changed, as With makes them, the cost is that of the change. Both may
// be nil.
func (h *Hosts) Since(before *Hosts, come, gone func(*Host)) {
	if h == before {
		return
	}
	if h == nil {
		h = &Hosts{}
	}
	if before == nil {
		before = &Hosts{}
	}
	if h.any != before.any {
		if before.any != nil {
			gone(before.any)
		}
		if h.any != nil {
			come(h.any)
		}
	}
	h.exact.since(&before.exact, come, gone)
	h.wild.since(&before.wild, come, gone)
}

// Find returns the rule that a request meets, nil if there is none.
func (h *Hosts) Find(r *Request) *Rule {
	if one := h.exact.get(r.Host); one != nil {
		if rule := one.find(r); rule != nil || one.Final {
			return rule
		}
	}
	first := true // of the labels
	for rest := r.Host; h.wild.count > 0; first = false {
		dot := strings.IndexByte(rest, '.')
		if dot < 0 {
			break
		}
		if one := h.wild.get(rest[dot:]); one != nil && dot > 0 && (first || !one.OneLabel) {
			if rule := one.find(r); rule != nil || one.Final {
				return rule
			}
		}
		rest = rest[dot+1:]
	}
	if h.any == nil {
		return nil
	}
	return h.any.find(r)
}

// FindSure returns the rule that a request meets, as Find does; false: with one of some other paths it would meet another one.
func (h *Hosts) FindSure(r *Request, others []string) (rule *Rule, sure bool) {
	rule = h.Find(r)
	for _, path := range others {
		other := *r
		if other.Path = path; h.Find(&other) != rule {
			return nil, false
		}
	}
	return rule, true
}

func (h *Host) find(r *Request) *Rule {
	if h.index != nil {
		return h.index.find(h.Rules, r)
	}
	for _, rule := range h.Rules {
		if rule.Match.holds(r) {
			return rule
		}
	}
	return nil
}

func (m *Match) holds(r *Request) bool {
	return m.Path.holds(r.Path) && (m.Method == "" || m.Method == r.Method) &&
		all(m.Headers, r, Values.Header) && all(m.Query, r, Values.Parameter) && all(m.Cookies, r, Values.Cookie)
}

func (p *Path) holds(path string) bool {
	switch p.Kind {
	case Exact:
		return path == p.Value
	case Start:
		return strings.HasPrefix(path, p.Value)
	case Regex:
		return p.Pattern.MatchString(path)
	}
	rest, is := strings.CutPrefix(path, strings.TrimSuffix(p.Value, "/"))
	return is && (rest == "" || rest[0] == '/')
}

func all(conditions []ValueMatch, r *Request, get func(Values, string) (string, bool)) bool {
	for i := range conditions {
		c := &conditions[i]
		value, is := get(r.Values, c.Name)
		switch {
		case c.Absent:
			is = !is
		case is && c.Pattern != nil:
			is = c.Pattern.MatchString(value)
		case is:
			is = value == c.Value
		}
		if !is {
			return false
		}
	}
	return true
}

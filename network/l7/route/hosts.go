package route

import "strings"

// Hosts are the rules of a Listener by the host that requests are for. Make one with NewHosts or With.
type Hosts struct {
	exact map[string]*Host
	wild  map[string]*Host // by what follows the "*", with its dot
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
}

// Request is what rules look at. Host is in lower case and without a port, Path as it was sent.
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

// NewHosts returns the rules of some hosts, whose names all differ.
func NewHosts(all []*Host) *Hosts {
	h := &Hosts{exact: map[string]*Host{}, wild: map[string]*Host{}}
	for _, one := range all {
		h.put(one)
	}
	return h
}

func (h *Hosts) put(one *Host) {
	suffix, wild := strings.CutPrefix(one.Name, "*")
	switch {
	case one.Name == "":
		h.any = one
	case wild:
		h.wild[suffix] = one
	default:
		h.exact[one.Name] = one
	}
}

// Find returns the rule that a request meets, nil if there is none.
func (h *Hosts) Find(r *Request) *Rule {
	if one := h.exact[r.Host]; one != nil {
		if rule := one.find(r); rule != nil || one.Final {
			return rule
		}
	}
	first := true // of the labels
	for rest := r.Host; len(h.wild) > 0; first = false {
		dot := strings.IndexByte(rest, '.')
		if dot < 0 {
			break
		}
		if one := h.wild[rest[dot:]]; one != nil && dot > 0 && (first || !one.OneLabel) {
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

func (h *Host) find(r *Request) *Rule {
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

package l7

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"fairlead.dev/fairlead/network/l7/route"
)

// serve does what the rule says, in the order of the fields of route.Action. Each step answers the request and returns false, or
// lets it go on.
func (x *exchange) serve() {
	x.w.edit = func(h http.Header) { editHeader(h, x.plan.Response) }
	if !x.admitted() || !x.fits() || !x.fromOrigin() || !x.certified() || !x.known() || !x.authorized() {
		return
	}
	switch a := x.plan.Action; {
	case a.Redirect != nil:
		x.redirect(a.Redirect)
	case a.Respond != nil:
		x.respond(a.Respond.Status, a.Respond.Body)
	default:
		x.forward()
	}
}

// admitted checks who the client is, and how much it wants.
func (x *exchange) admitted() bool {
	a, client := x.plan.Action, x.conn.client.Addr()
	if trusted(a.Deny, client) || len(a.Allow) > 0 && !trusted(a.Allow, client) {
		x.fail(http.StatusForbidden, "this address may not")
		return false
	}
	if x.plan.limiter == nil || trusted(a.Unlimited, client) {
		return true
	}
	status := x.plan.limiter.enter(client, x.begin)
	if status != 0 {
		x.fail(status, "too many requests from this address")
		return false
	}
	x.leave = x.plan.limiter.leave
	return true
}

// fits checks the length of the body, and has it end where it becomes too long.
func (x *exchange) fits() bool {
	most := x.plan.MaxBody
	if most <= 0 {
		return true
	}
	if x.r.ContentLength > most {
		x.w.Header().Set("Connection", "close")
		x.fail(http.StatusRequestEntityTooLarge, "the body of the request may have "+strconv.FormatInt(most, 10)+" bytes")
		return false
	}
	x.r.Body = http.MaxBytesReader(x.w, x.r.Body, most)
	return true
}

// fromOrigin does what CORS asks for: it answers a preflight request, and adds to the answers of others.
func (x *exchange) fromOrigin() bool {
	c, origin := x.plan.CORS, x.r.Header.Get("Origin")
	if c == nil || origin == "" {
		return true
	}
	allowed := originAllowed(c.Origins, origin)
	preflight := x.r.Method == http.MethodOptions && x.r.Header.Get("Access-Control-Request-Method") != ""
	before := x.w.edit
	x.w.edit = func(h http.Header) {
		for name := range h {
			if strings.HasPrefix(name, "Access-Control-") {
				delete(h, name) // the rule's say, not the backend's
			}
		}
		if allowed {
			corsHeaders(h, c, x.r, preflight)
		}
		if before != nil {
			before(h)
		}
	}
	if preflight {
		x.w.WriteHeader(http.StatusNoContent)
	}
	return !preflight
}

func corsHeaders(h http.Header, c *route.CORS, r *http.Request, preflight bool) {
	origin := r.Header.Get("Origin")
	if len(c.Origins) == 1 && c.Origins[0] == "*" && !c.Credentials {
		origin = "*"
	} else {
		h.Add("Vary", "Origin")
	}
	h.Set("Access-Control-Allow-Origin", origin)
	if c.Credentials {
		h.Set("Access-Control-Allow-Credentials", "true")
	}
	if len(c.Expose) > 0 { // also of a preflight, where it says nothing: Gateway API's suite asks for it
		h.Set("Access-Control-Expose-Headers", strings.Join(c.Expose, ", "))
	}
	if !preflight {
		return
	}
	// With credentials a "*" means a header of that name only (Fetch, 3.2.5): what was asked for is said instead.
	say := func(name string, list []string, asked string) {
		if len(list) == 1 && list[0] == "*" && asked != "" {
			list = []string{asked}
		}
		if len(list) > 0 {
			h.Set(name, strings.Join(list, ", "))
		}
	}
	say("Access-Control-Allow-Methods", c.Methods, r.Header.Get("Access-Control-Request-Method"))
	say("Access-Control-Allow-Headers", c.Headers, r.Header.Get("Access-Control-Request-Headers"))
	if c.MaxAge > 0 {
		h.Set("Access-Control-Max-Age", strconv.Itoa(int(c.MaxAge.Seconds())))
	}
}

func originAllowed(list []string, origin string) bool {
	for _, o := range list {
		before, after, wild := strings.Cut(o, "*")
		switch {
		case !wild && strings.EqualFold(o, origin), o == "*":
			return true
		case wild && len(origin) >= len(o) && strings.HasPrefix(strings.ToLower(origin), strings.ToLower(before)) &&
			strings.HasSuffix(strings.ToLower(origin), strings.ToLower(after)):
			return true
		}
	}
	return false
}

// redirect answers with another place.
func (x *exchange) redirect(to *route.Redirect) {
	x.w.Header().Set("Location", x.place(to))
	x.respond(to.Status, "")
}

func (x *exchange) place(to *route.Redirect) string {
	if to.URL != "" {
		return x.expand(to.URL)
	}
	scheme, host, port := x.scheme(), x.host, int(x.conn.point.Port)
	if to.Scheme != "" {
		scheme, port = strings.ToLower(to.Scheme), 0
	}
	if to.Host != "" {
		host = to.Host
	}
	if to.Port != 0 {
		port = to.Port
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port != 0 && !(scheme == "http" && port == 80) && !(scheme == "https" && port == 443) {
		host += ":" + strconv.Itoa(port)
	}
	url := scheme + "://" + host + x.rewrite(x.path, to.Path)
	if x.query != "" {
		url += "?" + x.query
	}
	return url
}

// rewrite is the path that is sent on by a rule: as the client sent it, unless there is something to change.
func (x *exchange) rewrite(path string, by *route.PathRewrite) string {
	if by == nil {
		return path
	}
	return rewritePath(x.normal, &x.rule.Match.Path, by)
}

// rewritePath is what becomes of a path in normal form that a rule has matched.
func rewritePath(path string, match *route.Path, by *route.PathRewrite) string {
	switch {
	case by.Full != nil:
		path = *by.Full
	case by.Prefix != nil && match.Kind == route.Prefix:
		path = strings.TrimSuffix(*by.Prefix, "/") + strings.TrimPrefix(path, strings.TrimSuffix(match.Value, "/"))
	case by.Prefix != nil && match.Kind == route.Start:
		path = *by.Prefix + strings.TrimPrefix(path, match.Value)
	case by.Prefix != nil:
		path = *by.Prefix
	case by.Captures != nil && match.Pattern != nil:
		path = captured(*by.Captures, match.Pattern.FindStringSubmatch(path))
	case by.Captures != nil:
		path = captured(*by.Captures, nil)
	}
	return (&url.URL{Path: rooted(path)}).EscapedPath()
}

func rooted(path string) string {
	if !strings.HasPrefix(path, "/") {
		return "/" + path
	}
	return path
}

// captured puts groups in the place of $1 to $9. One that is not there, or took no part, is empty.
func captured(text string, groups []string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '$' || i+1 == len(text) || text[i+1] < '1' || text[i+1] > '9' {
			b.WriteByte(text[i])
			continue
		}
		i++
		if n := int(text[i] - '0'); n < len(groups) {
			b.WriteString(groups[n])
		}
	}
	return b.String()
}

// editHeader removes, sets and adds.
func editHeader(h http.Header, e route.HeaderEdit) {
	for _, name := range e.Remove {
		delete(h, name)
	}
	for _, s := range e.Set {
		h[s.Name] = []string{s.Value}
	}
	for _, a := range e.Add {
		h[a.Name] = append(h[a.Name], a.Value)
	}
}
